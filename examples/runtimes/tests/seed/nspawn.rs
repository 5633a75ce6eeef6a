//! systemd-nspawn.

use super::volume::{ATTEMPTS, Nested, Volume, check_attempts, check_denied_to_others, check_strict, source};
use persist::{
    Attachment,
    render::{
        Arguments, Ids, RenderOptions, WorkloadPath,
        attached::nspawn::{Users, bind},
    },
};
use runtimes::{Planned, RootFilesystem, Said, nspawn, run};
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command, thread};

pub fn trials() -> Vec<Planned> {
    let test = |name: &'static str, run: fn()| {
        Planned::new("nspawn", name, &["systemd-nspawn", "busybox"], move || {
            run();
            Ok(())
        })
    };
    vec![
        test("two_containers_share_a_volume_and_a_third_reads_it_when_both_are_gone", shared),
        test("an_operations_container_reads_while_production_writes_and_writes_by_no_path", reader),
        test("a_reader_with_users_of_its_own_writes_by_no_path_though_it_is_root_there", reader_of_own_users),
        test("another_user_of_the_host_is_denied_the_data", others),
        test("root_of_a_container_with_users_of_its_own_owns_its_files_by_an_id_map", id_map),
        test("a_path_with_every_sign_of_the_syntax_arrives", odd_paths),
    ]
}

/// With users of its own: the host's from a million on.
const OWN_USERS: [&str; 2] = ["--private-users=1000000:65536", "--private-users-ownership=map"];

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
    reads_and_writes_nothing(Users::OfHost, &[]);
}

fn reader_of_own_users() {
    reads_and_writes_nothing(Users::Private, &OWN_USERS);
}

fn reads_and_writes_nothing(users: Users, options: &[&str]) {
    let volume = Volume::new();
    let production = volume.claim("production");
    let nested = Nested::new(production.path());
    in_container(&production, "echo by production > /data/log; chmod 777 /data; chmod 666 /data/log");
    for attachment in [volume.reader("operations"), production.clone()] {
        let read_only = RenderOptions::default().with_mode(persist::render::Mode::ReadOnly);
        let words = bind(&source(&attachment), &data(), &read_only, users).unwrap();
        let root = RootFilesystem::new().unwrap();
        let given = options.iter().map(|&word| word.to_owned()).chain(words);
        let said = nspawn(&root, given, ATTEMPTS).unwrap();
        check_attempts(&said.out, production.path());
    }
    let reader = volume.reader("reader");
    in_container(&production, "echo more >> /data/log");
    assert_eq!(in_container(&reader, "cat /data/log"), "by production\nmore");
    check_strict(&in_container(&reader, "grep ' /data ' /proc/self/mountinfo"));
    drop(nested);
}

fn others() {
    let volume = Volume::new();
    let claim = volume.claim("shop");
    in_container(&claim, "echo secret > /data/secret; chmod 644 /data/secret");
    check_denied_to_others(claim.path());
}

fn id_map() {
    let volume = Volume::new();
    let claim = volume.claim("shop");
    for ids in [Ids::OfWorkload, Ids::OwnerIsRoot] {
        let options = RenderOptions::default().with_ids(ids);
        let words = bind(&source(&claim), &data(), &options, Users::Private).unwrap();
        let root = RootFilesystem::new().unwrap();
        let script = "rm -f /data/file; echo mine > /data/file; stat -c %u:%g /data /data/file";
        let given = OWN_USERS.iter().map(|&word| word.to_owned()).chain(words);
        assert_eq!(nspawn(&root, given, script).and_then(Said::well).unwrap(), "0:0\n0:0");
        let found = fs::metadata(claim.path().join("file")).unwrap();
        assert_eq!((found.uid(), found.gid()), (0, 0), "not those of the host's number a million");
    }
}

fn odd_paths() {
    let volume = Volume::with("we,ird \"it's: \\ ${HOME} %n", persist::VolumeSpec::default());
    let claim = volume.claim("shop");
    let target = WorkloadPath::new("/da:ta \\it's").unwrap();
    let words = bind(&source(&claim), &target, &RenderOptions::default(), Users::OfHost).unwrap();
    let root = RootFilesystem::new().unwrap();
    nspawn(&root, words, "echo here > \"/da:ta \\\\it's/file\"").and_then(Said::well).unwrap();
    assert_eq!(fs::read_to_string(claim.path().join("file")).unwrap(), "here\n");
}

/// What `script` says in a container that sees the attachment at `/data`.
#[track_caller]
fn in_container(attachment: &Attachment, script: &str) -> String {
    let root = RootFilesystem::new().unwrap();
    root.directory(Path::new("/data")).unwrap();
    nspawn(&root, words(attachment), script).and_then(Said::well).unwrap()
}

fn words(attachment: &Attachment) -> Arguments {
    bind(&source(attachment), &data(), &RenderOptions::default(), Users::OfHost).unwrap()
}

fn data() -> WorkloadPath {
    WorkloadPath::new("/data").unwrap()
}
