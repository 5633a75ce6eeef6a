//! The server goes: for a while, and for good.

use super::{hosts::Host, shell};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 4] = [
        ("a_server_that_restarts_in_mid_write_loses_nothing", restarted),
        ("a_server_that_restarts_in_mid_snapshot_leaves_a_whole_one_or_none", restarted_in_snapshot),
        ("a_thread_that_was_inside_a_call_when_the_server_went_is_back_when_it_is", inside),
        ("with_a_server_that_is_gone_every_call_is_refused_in_time_and_none_waits", gone),
    ];
    super::planned(&tests)
}

fn stop() {
    shell("rpc.nfsd 0");
}

fn start() {
    shell("rpc.nfsd -N 3 -U 4");
}

fn restarted() {
    let (mut one, mut two) = (Host::start(1, "o/restart"), Host::start(2, "o/restart"));
    one.must("create v");
    let [id, _, path] = one.attach("attach v w write");
    let _ = std::fs::remove_file("/tmp/filling");
    one.tell(&format!("fill {path}/f 64"));
    while !std::path::Path::new("/tmp/filling").exists() {
        std::thread::yield_now();
    }
    stop();
    two.refused("Unavailable", "get v");
    start();
    assert_eq!(one.done(), "filled");
    one.must(&format!("sync {id}"));
    one.must("snapshot v s");
    let sums = shell("find /srv/o/restart -name f -type f | xargs md5sum | cut -d' ' -f1 | sort | uniq -c");
    let expected: Vec<u8> = (0..64_u8).flat_map(|block| vec![block; 1 << 16]).collect();
    std::fs::write("/tmp/expected", expected).unwrap();
    let sum = shell("md5sum < /tmp/expected | cut -d' ' -f1");
    assert_eq!(sums.split_whitespace().collect::<Vec<_>>(), ["2", sum.trim()], "the file and its snapshot");
    two.must("get v");
}

/// How many files a snapshot has to go through: so many that a stop of the server comes before its end.
const FILES: u32 = 300;

fn restarted_in_snapshot() {
    let (mut one, mut two) = (Host::start(1, "o/snapshot"), Host::start(2, "o/snapshot"));
    one.must("create v");
    let [id, _, path] = one.attach("attach v w write");
    assert_eq!(one.must(&format!("plant {path} {FILES}")), "planted");
    one.must(&format!("sync {id}"));
    one.must("snapshot v kept");
    one.tell("snapshot v torn");
    // The third tree is being made; its record comes last.
    let begun = "ls /srv/o/snapshot/volumes/*/data/*/f5 2>/dev/null | wc -l";
    while shell(begun).trim() != "3" {
        std::thread::yield_now();
    }
    stop();
    assert_eq!(shell("ls /srv/o/snapshot/volumes/*/snapshots"), "kept\n", "it was over too soon to be torn");
    two.refused("Unavailable", "snapshots v");
    let answer = one.answer();
    assert!(answer.starts_with("err Unavailable "), "{answer}");
    start();
    // A repeat gives a whole one, and what the first one left goes with prune.
    one.must("snapshot v torn");
    two.must("snapshots v");
    // What a thread of the first call still holds, on its way to its next safe point, is not pruned.
    while shell("ls -d /srv/o/snapshot/volumes/*/data/* | wc -l").trim() != "3" {
        two.must("prune");
    }
    let sums = "cat $(ls -v $tree/f*) | md5sum | cut -d' ' -f1";
    let trees = shell(&format!("for tree in /srv/o/snapshot/volumes/*/data/*; do {sums}; done"));
    let expected: String = (0..FILES).map(|n| format!("{n:08}").repeat(512)).collect();
    std::fs::write("/tmp/expected", expected).unwrap();
    let expected = shell("md5sum < /tmp/expected | cut -d' ' -f1");
    let trees: Vec<&str> = trees.lines().collect();
    assert_eq!(trees, vec![expected.trim(); 3], "the volume, and two snapshots");
    two.must("create-from v torn again");
    one.must(&format!("detach {id}"));
}

/// The caller is not held up, and what its thread was at is finished or undone.
fn inside() {
    let mut one = Host::start(1, "o/inside");
    one.must("create v");
    let _ = std::fs::remove_file("/tmp/churning");
    one.tell("churn v");
    while !std::path::Path::new("/tmp/churning").exists() {
        std::thread::yield_now();
    }
    stop();
    let answer = one.answer();
    assert!(answer.starts_with("err Unavailable "), "{answer}");
    let waiting: u32 = one.must("waiting").parse().unwrap();
    println!("threads inside the call that the server left: {waiting}");
    assert!(waiting <= 1, "one call has one thread");
    one.refused("Unavailable", "attach v w write");
    assert_eq!(one.must("waiting"), waiting.to_string(), "no later call adds one");
    start();
    while one.must("waiting") != "0" {
        std::thread::yield_now();
    }
    let answer = loop {
        let answer = one.ask("attach v churning write");
        if !answer.starts_with("err Unavailable ") {
            break answer;
        }
    };
    assert!(answer.starts_with("ok "), "{answer}");
    let records = shell("find /srv/o/inside/volumes/*/attachments -type f | wc -l");
    assert_eq!(records.trim(), "1");
}

fn gone() {
    let mut one = Host::start(1, "o/gone");
    one.must("create v");
    one.must("create u");
    let [id, _, path] = one.attach("attach v w write");
    std::fs::create_dir_all("/tmp/shown").unwrap();
    let [shown, _, _] = one.attach("attach-at u w /tmp/shown");
    // What nobody has flushed must not hold up what is done without the server.
    one.must(&format!("dirty {path}/d"));
    stop();
    one.refused("Unavailable", "get v");
    // The store's own look may just have been inside.
    let inside = one.must("waiting");
    assert!(["0", "1"].contains(&&*inside), "{inside} threads wait in the kernel");
    for line in ["get v", "list", "create w", &format!("sync {id}"), &format!("detach {id}"), "snapshot v s"]
    {
        one.refused("Unavailable", line);
    }
    let health = one.must("health");
    assert!(health.contains("server-silent"), "{health}");
    assert!(health.contains("attachment-copy"), "{health}");
    // Taken off this host all the same, if that is asked for.
    let left = one.must(&format!("leave {shown}"));
    assert!(left.contains("stays there") && left.contains("is not confirmed"), "{left}");
    assert_eq!(shell("grep -c ' /tmp/shown ' /proc/mounts || true").trim(), "0");
    let health = one.must("health");
    assert!(health.contains("detach-unconfirmed"), "{health}");
    one.refused("Unavailable", "close");
    assert_eq!(one.must("waiting"), inside, "threads wait in the kernel");
    let children = shell(&format!("cat /proc/{0}/task/{0}/children", one.pid()));
    assert_eq!(children.trim(), "", "helpers are left");
    start();
    // The server is back: the same process goes on.
    let answer = loop {
        let answer = one.ask("health");
        if answer.contains("server-answers") {
            break answer;
        }
    };
    assert!(!answer.contains("helper-stuck"), "{answer}");
    // What was left is ended at the server, and what was not is still attached.
    assert!(!one.must("health").contains("detach-unconfirmed"));
    assert_eq!(shell("find /srv/o/gone -path '*attachments/*' -type f").lines().count(), 1);
}
