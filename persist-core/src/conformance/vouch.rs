//! Who may be declared dead, and by what.

use super::{bench::*, tree::*};
use crate::{
    AttachOptions, Attachment, AttachmentRecord, Capabilities, DetachOptions, Epoch, ErrorKind, LeaseState,
    Liveness, Outcome, Takeover, Vouch, error::Detail, holder::ProcessId,
};
use std::fs;

pub(super) async fn a_vouch_takes_the_volume_and_fences_the_holder(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let old = attached(&store, "v", "old").await;
    fs::write(old.path().join("file"), "content").unwrap();
    let new = other.attach(&volume("v"), vouched(&old)).await.unwrap();
    assert!(new.epoch > old.epoch);
    assert_eq!(new.report().replaced, [(old.id.clone(), old.epoch)]);
    assert_eq!(attachments(&other).await, [new.record().clone()]);
    let error = refused(ErrorKind::Fenced, store.sync(&old.id, Default::default()).await);
    let Detail::Fenced { mine, current, .. } = error.detail() else { panic!("no epochs: {error}") };
    assert_eq!((*mine, *current), (old.epoch, new.epoch));
    assert!(matches!(old.lease(), LeaseState::Fenced { by, .. } if by == new.epoch), "{:?}", old.lease());
    assert_eq!(soon("the fenced future", old.watch().fenced()).await, new.epoch);
    other.sync(&new.id, Default::default()).await.unwrap();
}

pub(super) async fn a_fenced_writer_stays_fenced_and_disturbs_nobody(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let old = attached(&store, "v", "old").await;
    let new = other.attach(&volume("v"), vouched(&old)).await.unwrap();
    for _ in 0..10 {
        refused(ErrorKind::Fenced, store.sync(&old.id, Default::default()).await);
        refused(ErrorKind::Fenced, store.adopt(old.record(), Default::default()).await.map(drop));
        refused(ErrorKind::InUse, store.attach(&volume("v"), holder("old")).await);
    }
    // Nothing is left to release; whether that is worth an error, the new holder does not care.
    for _ in 0..10 {
        if let Err(error) = store.detach(&old.id, Default::default()).await {
            assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        }
        let error = store.sync(&old.id, Default::default()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Fenced | ErrorKind::NotFound), "{error}");
    }
    assert!(matches!(old.lease(), LeaseState::Fenced { .. }), "{:?}", old.lease());
    assert_eq!(attachments(&other).await, [new.record().clone()]);
    assert_eq!(new.lease(), LeaseState::Held);
    other.sync(&new.id, Default::default()).await.unwrap();
    detached(&other, &new).await;
    assert!(attached(&store, "v", "old").await.epoch > new.epoch);
}

pub(super) async fn a_vouch_about_a_holder_that_has_moved_on_is_a_conflict(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let past = attached(&store, "v", "w").await;
    detached(&store, &past).await;
    let now = attached(&store, "v", "w").await;
    let wrong = [
        Vouch::new(past.id.clone(), past.epoch, "x"),
        Vouch::new(now.id.clone(), past.epoch, "x"),
        Vouch::new(now.id.clone(), now.epoch.next(), "x"),
        Vouch::new(past.id.clone(), now.epoch, "x"),
    ];
    for vouch in wrong {
        let options = holder("new").with_takeover(Takeover::Vouched(vouch));
        let call = async { other.attach(&volume("v"), options).await };
        refused_without_a_trace(&other, ErrorKind::Conflict, call).await;
        store.sync(&now.id, Default::default()).await.unwrap();
    }
}

pub(super) async fn nothing_but_a_vouch_takes_a_volume_from_an_external_holder(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    store.close().await.unwrap();
    for (node, boot) in [("a", "boot-1"), ("b", "boot-1"), ("a", "boot-2")] {
        let opening = bench.open_booted(node, boot).await;
        for takeover in [Takeover::ByFencing, Takeover::Never] {
            let call = async { opening.attach(&volume("v"), holder("x").with_takeover(takeover)).await };
            let error = refused_without_a_trace(&opening, ErrorKind::InUse, call).await;
            assert_eq!(error.holders()[0].attachment, attachment.id);
        }
    }
}

pub(super) async fn a_dead_process_makes_room(bench: Bench) {
    let tree = Tree::sample("one");
    for (n, dead) in [reused_number(), ended()].into_iter().enumerate() {
        let store = bench.store().await;
        let name = format!("v{n}");
        made(&store, &name).await;
        let options = holder("dead").with_liveness(Liveness::Process(Some(dead)));
        let old = store.attach(&volume(&name), options).await.unwrap();
        tree.write(old.path());
        store.close().await.unwrap();
        let next = bench.store().await;
        let new = attached(&next, &name, "new").await;
        assert_eq!(new.report().replaced, [(old.id.clone(), old.epoch)]);
        assert!(new.epoch > old.epoch);
        tree.assert_at(new.path());
        assert_eq!(attachments_of(&next, &name).await, [new.record().clone()]);
        next.close().await.unwrap();
    }
}

pub(super) async fn a_live_process_is_never_declared_dead(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = store.attach(&volume("v"), AttachOptions::default()).await.unwrap();
    store.close().await.unwrap();
    let next = bench.store().await;
    let call = async { next.attach(&volume("v"), holder("new")).await };
    let error = refused_without_a_trace(&next, ErrorKind::InUse, call).await;
    assert_eq!(error.holders()[0].attachment, first.id);
}

pub(super) async fn a_process_of_elsewhere_is_not_judged(bench: Bench) {
    let mut foreign = reused_number();
    foreign.namespace += 1;
    let elsewhere = [("a", foreign), ("b", reused_number())];
    for (n, (node, process)) in elsewhere.into_iter().enumerate() {
        let store = bench.open(node).await;
        let name = format!("v{n}");
        made(&store, &name).await;
        let options = holder("far").with_liveness(Liveness::Process(Some(process)));
        store.attach(&volume(&name), options).await.unwrap();
        store.close().await.unwrap();
        let here = bench.store().await;
        // A lease that ran out is another matter, where there are leases.
        let options = holder("new").with_takeover(Takeover::Never);
        let call = async { here.attach(&volume(&name), options).await };
        refused_without_a_trace(&here, ErrorKind::InUse, call).await;
    }
}

/// Only where no other host can reach the store does a new boot of the host say anything.
pub(super) async fn a_reboot_proves_death_where_only_one_host_reaches_the_store(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let options = holder("w").with_liveness(Liveness::Boot);
    let old = store.attach(&volume("v"), options).await.unwrap();
    fs::write(old.path().join("file"), "content").unwrap();
    store.close().await.unwrap();
    let same_boot = bench.store().await;
    let never = || holder("new").with_takeover(Takeover::Never);
    let call = async { same_boot.attach(&volume("v"), never()).await };
    refused_without_a_trace(&same_boot, ErrorKind::InUse, call).await;
    let rebooted = bench.open_booted("a", "boot-2").await;
    let result = rebooted.attach(&volume("v"), never()).await;
    if claims(&rebooted, Capabilities::PORTABLE) {
        refused(ErrorKind::InUse, result);
        return;
    }
    let new = result.unwrap();
    assert_eq!(new.report().replaced, [(old.id.clone(), old.epoch)]);
    assert_eq!(names(new.path()), ["file"]);
}

pub(super) async fn a_vouched_detach_frees_the_volume_from_anywhere(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let old = attached(&store, "v", "w").await;
    store.close().await.unwrap();
    let wrong = Vouch::new(old.id.clone(), Epoch::new(old.epoch.get() + 7), "x");
    let call = other.detach(&old.id, DetachOptions::default().with_vouch(wrong));
    refused_without_a_trace(&other, ErrorKind::Conflict, call).await;
    refused(ErrorKind::InUse, other.attach(&volume("v"), holder("new")).await);
    let right = || DetachOptions::default().with_vouch(Vouch::new(old.id.clone(), old.epoch, "gone"));
    assert_eq!(other.detach(&old.id, right()).await.unwrap().outcome, Outcome::Done);
    for _ in 0..10 {
        assert_eq!(other.detach(&old.id, right()).await.unwrap().outcome, Outcome::Already);
    }
    assert_eq!(attachments(&other).await, []);
    assert!(attached(&other, "v", "new").await.epoch > old.epoch);
}

fn vouched(old: &Attachment) -> AttachOptions {
    let vouch = Vouch::new(old.id.clone(), old.epoch, "the test says so");
    holder("new").with_takeover(Takeover::Vouched(vouch))
}

/// This process's number, as another process had it before: a start time that it never had.
fn reused_number() -> ProcessId {
    ProcessId::new(std::process::id(), 1, namespace())
}

/// A process that has ended: no number is that large (proc_sys_kernel(5): pid_max is at most 2^22).
fn ended() -> ProcessId {
    ProcessId::new((1 << 22) + 1, 1, namespace())
}

fn namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self/ns/pid").unwrap().ino()
}

async fn attachments_of(store: &Store, name: &str) -> Vec<AttachmentRecord> {
    attachments(store).await.into_iter().filter(|record| record.volume_name == volume(name)).collect()
}
