//! The server goes: for a while, and for good.

use super::{hosts::Host, shell};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        ("a_server_that_restarts_in_mid_write_loses_nothing", restarted),
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

fn gone() {
    let mut one = Host::start(1, "o/gone");
    one.must("create v");
    one.must("create u");
    let [id, _, _] = one.attach("attach v w write");
    std::fs::create_dir_all("/tmp/shown").unwrap();
    let [shown, _, _] = one.attach("attach-at u w /tmp/shown");
    stop();
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
    assert_eq!(one.must("waiting"), "0", "threads wait in the kernel");
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
