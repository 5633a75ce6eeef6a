//! runc, with an entry of `mounts` that we render.

use super::volume::{ATTEMPTS, Nested, Volume, check_attempts, check_strict, source};
use persist::{
    AttachOptions, Attachment, ErrorKind,
    attachment::{IdMapping, MountPolicy},
    render::{
        Ids, Mode, RenderOptions, WorkloadPath,
        attached::oci::{Features, mount},
    },
};
use runtimes::{Bundle, Planned, RootFilesystem, Said, run, runc_features};
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command, thread};

pub fn trials() -> Vec<Planned> {
    let test = |name: &'static str, run: fn()| {
        Planned::new("runc", name, &["runc", "busybox"], move || {
            run();
            Ok(())
        })
    };
    vec![
        test("two_containers_share_a_volume_and_a_third_reads_it_when_both_are_gone", shared),
        test("an_operations_container_reads_while_production_writes_and_writes_by_no_path", reader),
        test("what_our_mount_forbids_the_container_is_forbidden", policy),
        test("a_reader_with_users_of_its_own_writes_by_no_path_though_it_is_root_there", reader_of_own_users),
        test("root_of_a_container_with_users_of_its_own_owns_its_files_by_an_id_map_of_our_mount", id_map),
        test("an_id_map_is_asked_of_the_runtime_only_where_it_lists_it", id_map_of_the_runtime),
    ]
}

fn shared() {
    let volume = Volume::new();
    let (first, second) = (volume.claim("first"), volume.claim("second"));
    // A pipe has two ends: neither container gets on without the other.
    run(Command::new("mkfifo").arg(first.path().join("pipe"))).and_then(Said::well).unwrap();
    thread::scope(|scope| {
        let listener = scope.spawn(|| in_container(&first, "cat /data/pipe > /data/heard"));
        in_container(&second, "echo from the second > /data/pipe");
        listener.join().unwrap();
    });
    volume.detach(&first);
    volume.detach(&second);
    assert_eq!(in_container(&volume.claim("third"), "cat /data/heard"), "from the second");
}

fn reader() {
    let volume = Volume::new();
    let (production, nested) = production(&volume);
    // Both with our own read-only mount and with the runtime's word for it over a mount that can be written.
    for attachment in [volume.reader("operations"), production.clone()] {
        let root = RootFilesystem::new().unwrap();
        let said = bundle(&root, &attachment, Mode::ReadOnly).run(ATTEMPTS).and_then(Said::well).unwrap();
        check_attempts(&said, production.path());
    }
    let reader = volume.reader("reader");
    in_container(&production, "echo more >> /data/log");
    assert_eq!(in_container(&reader, "cat /data/log"), "by production\nmore");
    drop(nested);
}

/// Only our own mount holds here: what runc mounts belongs to the container's users.
fn reader_of_own_users() {
    let volume = Volume::new();
    let (production, nested) = production(&volume);
    let root = RootFilesystem::new().unwrap();
    let mut bundle = bundle(&root, &volume.reader("operations"), Mode::AsAttached);
    bundle.with_own_users(1_000_000);
    let said = bundle.run(ATTEMPTS).and_then(Said::well).unwrap();
    check_attempts(&said, production.path());
    drop(nested);
}

/// A volume in use, with a filesystem inside, in which nobody's rights are in the way.
fn production(volume: &Volume) -> (Attachment, Nested) {
    let production = volume.claim("production");
    let nested = Nested::new(production.path());
    in_container(&production, "echo by production > /data/log; chmod 777 /data; chmod 666 /data/log");
    (production, nested)
}

fn policy() {
    let volume = Volume::new();
    let writer = volume.attach("writer", AttachOptions::default().with_target(volume.target("w")));
    for attachment in [writer, volume.reader("reader")] {
        check_strict(&in_container(&attachment, "grep ' /data ' /proc/self/mountinfo"));
    }
}

/// The host's number of root in the containers here.
const FIRST: u32 = 1_000_000;

const MAP: IdMapping = IdMapping { on_volume: 0, on_mount: FIRST, count: 65_536 };

fn id_map() {
    let volume = Volume::new();
    let policy = MountPolicy::default().with_id_map(vec![MAP]);
    let options = AttachOptions::default().with_target(volume.target("mapped")).with_policy(policy);
    let mapped = volume.attach("shop", options);
    let root = RootFilesystem::new().unwrap();
    check_owner(bundle(&root, &mapped, Mode::AsAttached));
    volume.detach(&mapped);
    check_on_volume(&volume.claim("look"));
}

fn id_map_of_the_runtime() {
    let (volume, text) = (Volume::new(), runc_features().unwrap());
    let (claim, root) = (volume.claim("shop"), RootFilesystem::new().unwrap());
    root.directory(Path::new("/data")).unwrap();
    let features: Features = serde_json::from_str(&text).unwrap();
    for ids in [Ids::OfWorkload, Ids::Mapped(vec![MAP])] {
        let options = RenderOptions::default().with_ids(ids);
        let entry = mount(&source(&claim), &WorkloadPath::new("/data").unwrap(), &options, &features);
        if text.contains("\"idmap\"") {
            let mut bundle = Bundle::new(&root).unwrap();
            bundle.mount(serde_json::to_value(entry.unwrap()).unwrap());
            check_owner(bundle);
            check_on_volume(&claim);
        } else {
            // Debian 12's.
            let refused = entry.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
            assert!(refused.to_string().contains("idmap"), "{refused}");
        }
    }
}

fn check_owner(mut bundle: Bundle) {
    bundle.with_own_users(FIRST);
    let script = "rm -f /data/file; echo mine > /data/file; stat -c %u:%g /data /data/file";
    assert_eq!(bundle.run(script).and_then(Said::well).unwrap(), "0:0\n0:0");
}

fn check_on_volume(claim: &Attachment) {
    let found = fs::metadata(claim.path().join("file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (0, 0), "not those of the host's number a million");
}

/// What `script` says in a container that sees the attachment at `/data`.
#[track_caller]
fn in_container(attachment: &Attachment, script: &str) -> String {
    let root = RootFilesystem::new().unwrap();
    bundle(&root, attachment, Mode::AsAttached).run(script).and_then(Said::well).unwrap()
}

fn bundle(root: &RootFilesystem, attachment: &Attachment, mode: Mode) -> Bundle {
    let features: Features = serde_json::from_str(&runc_features().unwrap()).unwrap();
    // Root of a container with users of its own could not make it: the root filesystem is the host's.
    root.directory(Path::new("/data")).unwrap();
    let target = WorkloadPath::new("/data").unwrap();
    let options = RenderOptions::default().with_mode(mode);
    let entry = mount(&source(attachment), &target, &options, &features).unwrap();
    let mut bundle = Bundle::new(root).unwrap();
    bundle.mount(serde_json::to_value(entry).unwrap());
    bundle
}
