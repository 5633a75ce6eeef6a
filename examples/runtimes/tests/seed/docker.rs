//! A Docker daemon of our own.

use super::volume::{ATTEMPTS, Nested, Volume, check_attempts, check_denied_to_others, check_strict, source};
use persist::{
    AttachOptions, Attachment, VolumeSpec,
    attachment::{IdMapping, MountPolicy, Mounted},
    render::{Arguments, RenderOptions, WorkloadPath, attached::docker},
    volume::RootSpec,
};
use runtimes::{Dockerd, IMAGE, Planned, SHELL, Said, run};
use std::{fs, os::unix::fs::MetadataExt, thread};

pub fn trials() -> Vec<Planned> {
    let test = |name: &'static str, run: fn()| {
        Planned::new("docker", name, &["dockerd", "docker", "busybox"], move || {
            run();
            Ok(())
        })
    };
    vec![
        test("a_daemon_runs_its_image_also_after_it_was_killed_and_started_again", daemon),
        test("two_containers_share_a_volume_and_a_third_reads_it_when_both_are_gone", shared),
        test("an_operations_container_reads_while_production_writes_and_writes_by_no_path", reader),
        test("another_user_of_the_host_is_denied_the_data", others),
        test("a_container_user_that_is_not_root_owns_its_files_on_a_volume_created_for_it", owner),
        test("a_container_user_that_is_not_root_owns_its_files_by_an_id_map", id_map),
        test("a_path_with_every_sign_of_the_syntax_arrives", odd_paths),
        test("what_our_mount_forbids_a_writer_the_container_is_forbidden", policy),
    ]
}

fn daemon() {
    let mut dockerd = Dockerd::start(&[]).unwrap();
    dockerd.kill().unwrap();
    dockerd.launch().unwrap();
    assert_eq!(run(dockerd.run().args([IMAGE, "echo", "here"])).and_then(Said::well).unwrap(), "here");
}

fn shared() {
    let (dockerd, volume) = (Dockerd::start(&[]).unwrap(), Volume::new());
    let (first, second) = (volume.claim("first"), volume.claim("second"));
    // A pipe has two ends: neither container gets on without the other.
    run(std::process::Command::new("mkfifo").arg(first.path().join("pipe"))).and_then(Said::well).unwrap();
    thread::scope(|scope| {
        let listener = scope.spawn(|| in_container(&dockerd, &first, "cat /data/pipe > /data/heard"));
        in_container(&dockerd, &second, "echo from the second > /data/pipe");
        listener.join().unwrap();
    });
    volume.detach(&first);
    volume.detach(&second);
    assert_eq!(dockerd.call(["ps", "--all", "--quiet"]).and_then(Said::well).unwrap(), "");
    let third = volume.claim("third");
    assert_eq!(in_container(&dockerd, &third, "cat /data/heard"), "from the second");
}

fn reader() {
    let (dockerd, volume) = (Dockerd::start(&[]).unwrap(), Volume::new());
    let production = volume.claim("production");
    let nested = Nested::new(production.path());
    in_container(&dockerd, &production, "echo by production > /data/log");
    let operations = volume.reader("operations");
    for words in [mount(&dockerd, &operations), short(&operations)] {
        let mut command = dockerd.run();
        let said =
            run(command.args(words).args([IMAGE, SHELL, "-c", ATTEMPTS])).and_then(Said::well).unwrap();
        check_attempts(&said, production.path());
        assert_eq!(in_container(&dockerd, &operations, "cat /data/log"), "by production");
    }
    in_container(&dockerd, &production, "echo more >> /data/log");
    assert_eq!(in_container(&dockerd, &operations, "cat /data/log"), "by production\nmore");
    volume.detach(&operations);
    drop(nested);
}

fn others() {
    let (dockerd, volume) = (Dockerd::start(&[]).unwrap(), Volume::new());
    let claim = volume.claim("shop");
    in_container(&dockerd, &claim, "echo secret > /data/secret; chmod 644 /data/secret");
    check_denied_to_others(claim.path());
}

fn owner() {
    let root = RootSpec::default().with_uid(1000_u32).with_gid(1000_u32).with_mode(0o700_u32);
    let volume = Volume::with("persist-runtimes-", VolumeSpec::default().with_root(root));
    let (dockerd, claim) = (Dockerd::start(&[]).unwrap(), volume.claim("shop"));
    let mut command = dockerd.run();
    command.args(["--user", "1000:1000"]).args(mount(&dockerd, &claim));
    let script = "echo mine > /data/file; stat -c %u:%g /data/file";
    assert_eq!(run(command.args([IMAGE, SHELL, "-c", script])).and_then(Said::well).unwrap(), "1000:1000");
    let found = fs::metadata(claim.path().join("file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (1000, 1000));
}

fn id_map() {
    let (dockerd, volume) = (Dockerd::start(&[]).unwrap(), Volume::new());
    let map = IdMapping { on_volume: 0, on_mount: 1000, count: 1 };
    let policy = MountPolicy::default().with_id_map(vec![map]);
    let target = volume.target("mapped");
    let options = AttachOptions::default().with_target(target).with_policy(policy);
    let mapped = volume.attach("shop", options);
    let mut command = dockerd.run();
    command.args(["--user", "1000:1000"]).args(mount(&dockerd, &mapped));
    let script = "echo mine > /data/file; stat -c %u:%g /data /data/file";
    let said = run(command.args([IMAGE, SHELL, "-c", script])).and_then(Said::well).unwrap();
    assert_eq!(said, "1000:1000\n1000:1000");
    volume.detach(&mapped);
    let found = fs::metadata(volume.claim("look").path().join("file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (0, 0), "root's on the volume");
}

fn odd_paths() {
    let volume = Volume::with("we,ird \"it's: ${HOME} %n", VolumeSpec::default());
    let (dockerd, claim) = (Dockerd::start(&[]).unwrap(), volume.claim("shop"));
    let target = WorkloadPath::new("/da,ta \"it's").unwrap();
    let words = docker::mount(&source(&claim), &target, &RenderOptions::default(), api(&dockerd)).unwrap();
    let script = "echo here > \"/da,ta \\\"it's/file\"";
    run(dockerd.run().args(words).args([IMAGE, SHELL, "-c", script])).and_then(Said::well).unwrap();
    assert_eq!(fs::read_to_string(claim.path().join("file")).unwrap(), "here\n");
}

fn policy() {
    let (dockerd, volume) = (Dockerd::start(&[]).unwrap(), Volume::new());
    let writer = volume.attach("writer", AttachOptions::default().with_target(volume.target("w")));
    assert_eq!(writer.report().mounted, Mounted::ReadWrite);
    check_strict(&in_container(&dockerd, &writer, "grep ' /data ' /proc/self/mountinfo"));
}

/// What `script` says in a container that sees the attachment at `/data`.
#[track_caller]
fn in_container(dockerd: &Dockerd, attachment: &Attachment, script: &str) -> String {
    let mut command = dockerd.run();
    command.args(mount(dockerd, attachment)).args([IMAGE, SHELL, "-c", script]);
    run(&mut command).and_then(Said::well).unwrap()
}

fn mount(dockerd: &Dockerd, attachment: &Attachment) -> Arguments {
    docker::mount(&source(attachment), &data(), &RenderOptions::default(), api(dockerd)).unwrap()
}

fn short(attachment: &Attachment) -> Arguments {
    docker::volume(&source(attachment), &data(), &RenderOptions::default()).unwrap()
}

fn api(dockerd: &Dockerd) -> docker::ApiVersion {
    dockerd.api_version().unwrap().parse().unwrap()
}

fn data() -> WorkloadPath {
    WorkloadPath::new("/data").unwrap()
}
