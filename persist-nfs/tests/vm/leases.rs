//! Leases between two hosts: signs of life, and what becomes of a holder that gives none.

use super::{
    hosts::{Host, LEASE},
    shell,
};
use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 3] = [
        ("a_holder_that_was_paused_past_its_lease_is_fenced_when_it_wakes_and_changes_nothing", paused),
        ("what_a_killed_holder_had_is_taken_when_its_lease_has_run_out", killed),
        ("a_holder_that_lives_keeps_its_volume_from_who_waits_for_longer_than_its_lease", living),
    ];
    super::planned(&tests)
}

/// Longer than any challenger has to wait on an emulated machine.
const PATIENT: u64 = 300;

fn signal(host: &Host, name: &str) {
    shell(&format!("kill -{name} {}", host.pid()));
}

fn paused() {
    let (mut one, mut two) = (Host::start(1, "l/paused"), Host::start(2, "l/paused"));
    one.must("create v");
    let [id, epoch, here] = one.attach("attach v w1 write");
    assert_eq!(one.must(&format!("put {here}/mine first")), "put");
    assert_eq!(one.must(&format!("lease {id}")), "Advisory Held");
    signal(&one, "STOP");
    two.refused("InUse", "attach v w2 write");
    let [next_id, next, there] = two.attach(&format!("take v w2 {PATIENT}"));
    assert!(next.parse::<u64>().unwrap() > epoch.parse().unwrap());
    assert_eq!(two.must(&format!("cat {there}/mine")), "first", "what it had written is there");
    assert_eq!(two.must(&format!("put {there}/mine second")), "put");
    two.must(&format!("sync {next_id}"));
    signal(&one, "CONT");
    // It learns it without a call of its own, and no call of its makes a change.
    assert_eq!(one.must(&format!("fenced {id}")), next);
    let lease = one.must(&format!("lease {id}"));
    assert!(lease.starts_with("Advisory Fenced"), "{lease}");
    one.refused("Fenced", &format!("sync {id}"));
    one.refused("InUse", "attach v w1 write");
    one.must(&format!("detach {id}"));
    assert_eq!(two.must(&format!("cat {there}/mine")), "second");
    assert_eq!(two.must(&format!("lease {next_id}")), "Advisory Held");
    two.must(&format!("sync {next_id}"));
    let records = shell("find /srv/l/paused/volumes/*/attachments -type f");
    assert!(records.trim().ends_with(&next_id) && records.lines().count() == 1, "{records}");
    two.must(&format!("detach {next_id}"));
    one.attach("attach v w1 write");
}

fn killed() {
    let (mut one, mut two) = (Host::start(1, "l/killed"), Host::start(2, "l/killed"));
    one.must("create v");
    let [_, epoch, here] = one.attach("attach v w1 write");
    assert_eq!(one.must(&format!("put {here}/f kept")), "put");
    drop(one);
    let [_, next, there] = two.attach(&format!("take v w2 {PATIENT}"));
    assert!(next.parse::<u64>().unwrap() > epoch.parse().unwrap());
    assert_eq!(two.must(&format!("cat {there}/f")), "kept");
}

fn living() {
    let (mut one, mut two) = (Host::start(1, "l/living"), Host::start(2, "l/living"));
    one.must("create v");
    let [id, _, _] = one.attach("attach v w1 write");
    two.tell(&format!("take v w2 {}", LEASE * 2));
    // No wall clock decides: both hosts' jumps by an hour, to and fro.
    for by in [3600, -3600] {
        shell(&format!("date -s @$(( $(date +%s) + {by} ))"));
        one.must(&format!("sync {id}"));
    }
    let refused = two.answer();
    assert!(refused.starts_with("err InUse "), "{refused}");
    assert!(refused.contains("WhenExpired"), "{refused}");
    assert_eq!(one.must(&format!("lease {id}")), "Advisory Held");
    one.must(&format!("sync {id}"));
}
