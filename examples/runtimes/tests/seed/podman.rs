//! Podman.

use super::volume::{ATTEMPTS, Nested, Volume, check_attempts, source};
use persist::{
    Attachment,
    render::{Arguments, RenderOptions, WorkloadPath, attached::podman},
};
use runtimes::{IMAGE, Planned, Podman, SHELL, Said, run};
use std::{process::Command, thread};

pub fn trials() -> Vec<Planned> {
    let test = |name: &'static str, run: fn()| {
        Planned::new("podman", name, &["podman", "runc", "busybox"], move || {
            run();
            Ok(())
        })
    };
    vec![
        test("two_containers_share_a_volume_and_a_third_reads_it_when_both_are_gone", shared),
        test("an_operations_container_reads_while_production_writes_and_writes_by_no_path", reader),
    ]
}

fn shared() {
    let (podman, volume) = (Podman::new().unwrap(), Volume::new());
    let (first, second) = (volume.claim("first"), volume.claim("second"));
    // A pipe has two ends: neither container gets on without the other.
    run(Command::new("mkfifo").arg(first.path().join("pipe"))).and_then(Said::well).unwrap();
    thread::scope(|scope| {
        let listener = scope.spawn(|| in_container(&podman, long(&first), "cat /data/pipe > /data/heard"));
        in_container(&podman, short(&second), "echo from the second > /data/pipe");
        listener.join().unwrap();
    });
    volume.detach(&first);
    volume.detach(&second);
    assert_eq!(podman.containers().unwrap(), "");
    let third = volume.claim("third");
    assert_eq!(in_container(&podman, long(&third), "cat /data/heard"), "from the second");
}

fn reader() {
    let (podman, volume) = (Podman::new().unwrap(), Volume::new());
    let production = volume.claim("production");
    let nested = Nested::new(production.path());
    in_container(&podman, long(&production), "echo by production > /data/log");
    let operations = volume.reader("operations");
    for words in [long(&operations), short(&operations)] {
        check_attempts(&in_container(&podman, words, ATTEMPTS), production.path());
    }
    in_container(&podman, long(&production), "echo more >> /data/log");
    assert_eq!(in_container(&podman, long(&operations), "cat /data/log"), "by production\nmore");
    drop(nested);
}

/// What `script` says in a container with these options.
#[track_caller]
fn in_container(podman: &Podman, words: Arguments, script: &str) -> String {
    let mut command = podman.run();
    run(command.args(words).args([IMAGE, SHELL, "-c", script])).and_then(Said::well).unwrap()
}

fn long(attachment: &Attachment) -> Arguments {
    podman::mount(&source(attachment), &data(), &RenderOptions::default()).unwrap()
}

fn short(attachment: &Attachment) -> Arguments {
    podman::volume(&source(attachment), &data(), &RenderOptions::default()).unwrap()
}

fn data() -> WorkloadPath {
    WorkloadPath::new("/data").unwrap()
}
