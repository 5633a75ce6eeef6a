//! What the server's side may do to a store: a full quota, clocks that are wrong.

use super::{hosts::Host, shell};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        ("what_does_not_fit_into_the_quota_is_refused_and_leaves_nothing", quota),
        ("times_of_the_server_that_are_decades_apart_decide_nothing", skewed),
    ];
    super::planned(&tests)
}

/// A project quota: the directory of the store has 8 MiB at the server, and the filesystem has more.
fn quota() {
    shell("mkdir /srv/quota");
    shell("xfs_quota -x -c 'project -s -p /srv/quota 7' -c 'limit -p bhard=8m 7' /srv");
    let mut one = Host::start(1, "quota/store");
    one.must("create v");
    let [id, _, path] = one.attach("attach v w write");
    assert_eq!(one.must(&format!("fill {path}/f 48")), "filled");
    one.must(&format!("sync {id}"));
    one.must("snapshot v fits");
    let before = shell("find /srv/quota | sort");
    let refused = one.refused("Exhausted", "snapshot v not");
    println!("a snapshot beyond the quota: {refused}");
    let refused = one.refused("Exhausted", "create-from v fits clone");
    println!("a clone beyond the quota: {refused}");
    one.must("prune");
    let after = shell("find /srv/quota | sort");
    assert_eq!(after, before, "what was refused has left something");
    // The application meets it as well, and its sync does not hide it.
    let filled = one.must(&format!("fill {path}/g 96"));
    assert!(filled.contains("No space left") || filled.contains("uota"), "{filled}");
    assert_eq!(one.must(&format!("rm {path}/g")), "removed");
    one.must(&format!("put {path}/small x"));
    let refused = one.refused("Exhausted", &format!("sync {id}"));
    println!("the sync after it: {refused}");
    one.must(&format!("sync {id}"));
    one.must(&format!("detach {id}"));
}

/// Server and clients are one machine here, so its clock is everybody's: what a server with a wrong clock shows
/// its clients is the times of files and directories.
fn skewed() {
    let mut one = Host::start(1, "skewed");
    one.must("create v");
    for (round, date) in ["2099-12-31", "1971-01-01"].into_iter().enumerate() {
        let turn = format!("find /srv/skewed -exec touch -h -d '{date} 00:00:00' {{}} +");
        shell(&turn);
        // It has seen none of it before.
        let mut two = Host::start(2, "skewed");
        let [id, _, path] = two.attach(&format!("attach v w{round} write"));
        assert_eq!(two.must(&format!("put {path}/f{round} x")), "put");
        shell(&turn);
        two.must(&format!("sync {id}"));
        two.must(&format!("snapshot v s{round}"));
        assert_eq!(two.must(&format!("lease {id}")), "Advisory Held");
        one.refused("InUse", "attach v other write");
        shell(&turn);
        assert_eq!(one.must("snapshots v"), (round + 1).to_string());
        one.must(&format!("create u{round}"));
        assert_eq!(two.must("list"), one.must("list"));
        shell(&turn);
        two.must("prune");
        two.must(&format!("detach {id}"));
        one.must(&format!("delete u{round}"));
        assert!(!one.must("health").contains("unreadable"));
    }
    let found = shell("find /srv/skewed -name 'f[01]' -type f | wc -l");
    assert_eq!(found.trim(), "5", "two files, the first of them in two snapshots, the second in one");
}
