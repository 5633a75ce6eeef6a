//! Adopting: an attachment is taken up again after a restart of the process that served it.

use super::{bench::*, tree::*};
use crate::{
    Access, Attachment, AttachmentRecord, Capabilities, ErrorKind, Liveness, SyncPolicy, Takeover, Vouch,
    attachment::AdoptOptions, error::Detail,
};
use std::{path::PathBuf, time::Duration};

pub(super) async fn after_a_restart_an_attachment_is_taken_up_under_the_next_epoch(bench: Bench) {
    let (record, tree) = (attached_and_restarted(&bench).await, Tree::sample("one"));
    let mut epoch = record.epoch;
    for _ in 0..10 {
        let store = bench.store().await;
        let adopted = store.adopt(&record, AdoptOptions::default()).await.unwrap();
        assert_eq!((&adopted.id, &adopted.volume), (&record.id, &record.volume));
        assert!(adopted.epoch > epoch, "{} after {epoch}", adopted.epoch);
        epoch = adopted.epoch;
        tree.assert_at(adopted.path());
        assert_eq!(attachments(&store).await, [adopted.record().clone()]);
        store.sync(&record.id, Default::default()).await.unwrap();
        store.close().await.unwrap();
    }
}

pub(super) async fn attaching_by_the_same_holder_after_a_restart_adopts(bench: Bench) {
    let record = attached_and_restarted(&bench).await;
    let store = bench.store().await;
    let again = attached(&store, "v", "w").await;
    assert_eq!((&again.id, again.epoch > record.epoch), (&record.id, true));
    Tree::sample("one").assert_at(again.path());
    assert_eq!(attachments(&store).await, [again.record().clone()]);
}

pub(super) async fn the_process_that_serves_an_attachment_may_adopt_it_again(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = attached(&store, "v", "w").await;
    for _ in 0..10 {
        let again = store.adopt(first.record(), AdoptOptions::default()).await.unwrap();
        assert_eq!((again.record(), again.path()), (first.record(), first.path()));
    }
}

pub(super) async fn what_was_detached_cannot_be_adopted(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    detached(&store, &attachment).await;
    let call = store.adopt(attachment.record(), AdoptOptions::default());
    refused_without_a_trace(&store, ErrorKind::NotFound, call).await;
}

pub(super) async fn adopting_what_the_store_has_otherwise_is_a_conflict(bench: Bench) {
    let record = attached_and_restarted(&bench).await;
    let store = bench.store().await;
    let mut access = record.clone();
    access.access = Access::ReadOnly;
    let mut target = record.clone();
    target.target = Some(PathBuf::from("/somewhere"));
    let mut snapshot = record.clone();
    snapshot.snapshot = Some(named("s"));
    for (wrong, field) in [(access, "access"), (target, "target"), (snapshot, "snapshot")] {
        let call = store.adopt(&wrong, AdoptOptions::default());
        let error = refused_without_a_trace(&store, ErrorKind::Conflict, call).await;
        assert_eq!(error.differences().iter().map(|d| d.field).collect::<Vec<_>>(), [field], "{error}");
    }
    store.adopt(&record, AdoptOptions::default()).await.unwrap();
}

pub(super) async fn adopting_what_was_taken_over_is_fenced(bench: Bench) {
    let record = attached_and_restarted(&bench).await;
    let store = bench.open("b").await;
    let vouch = Vouch::new(record.id.clone(), record.epoch, "its node is gone");
    let options = holder("next").with_takeover(Takeover::Vouched(vouch));
    let next = store.attach(&volume("v"), options).await.unwrap();
    let old = bench.store().await;
    let before = Picture::of(&old).await;
    let error = refused(ErrorKind::Fenced, old.adopt(&record, AdoptOptions::default()).await);
    let Detail::Fenced { mine, current, salvage } = error.detail() else { panic!("no epochs: {error}") };
    assert_eq!((*mine, *current), (record.epoch, next.epoch));
    match salvage {
        Some(salvage) => {
            let kept = old.open_snapshot(&volume("v"), salvage).await.unwrap();
            Tree::of(&*kept).await.assert_is(&Tree::sample("one"));
        }
        None => assert_eq!(Picture::of(&old).await, before),
    }
}

pub(super) async fn another_node_cannot_adopt_it(bench: Bench) {
    let record = attached_and_restarted(&bench).await;
    let other = bench.open("b").await;
    let before = Picture::of(&other).await;
    let error = other.adopt(&record, AdoptOptions::default()).await.map(drop).unwrap_err();
    let kinds = [ErrorKind::InUse, ErrorKind::Conflict, ErrorKind::Denied];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!(Picture::of(&other).await, before);
    bench.store().await.adopt(&record, AdoptOptions::default()).await.unwrap();
}

pub(super) async fn adopting_updates_what_is_not_identity(bench: Bench) {
    let record = attached_and_restarted(&bench).await;
    let store = bench.store().await;
    let options = AdoptOptions::default()
        .with_sync(SyncPolicy::Every(Duration::from_secs(3600)))
        .with_liveness(Liveness::Process(None));
    let adopted = store.adopt(&record, options).await.unwrap();
    assert_eq!(adopted.sync, SyncPolicy::Every(Duration::from_secs(3600)));
    let Liveness::Process(Some(process)) = &adopted.holder.liveness else { panic!("{adopted:?}") };
    assert_eq!(process.pid, std::process::id());
    assert_eq!(attachments(&store).await, [adopted.record().clone()]);
}

/// The epoch is new only where nobody else may still write under the old one.
pub(super) async fn a_claim_beside_a_live_one_keeps_its_epoch(bench: Bench) {
    let (first, second) = (bench.store().await, bench.store().await);
    made(&first, "v").await;
    let options = |by: &str| holder(by).with_access(Access::SharedOnNode);
    if !claims(&first, Capabilities::SHARED_ON_NODE) {
        let call = async { first.attach(&volume("v"), options("one")).await };
        refused_without_a_trace(&first, ErrorKind::Unsupported, call).await;
        return;
    }
    let one = first.attach(&volume("v"), options("one")).await.unwrap();
    // Another process of the node serves the second claim; where only one can, there is none beside.
    let two = second.attach(&volume("v"), options("two")).await.ok();
    first.close().await.unwrap();
    let third = bench.store().await;
    let adopted = third.adopt(one.record(), AdoptOptions::default()).await.unwrap();
    match two {
        Some(two) => {
            assert_eq!(adopted.epoch, two.epoch);
            second.sync(&two.id, Default::default()).await.unwrap();
        }
        None => assert!(adopted.epoch > one.epoch),
    }
}

/// A volume `v` with a sample in it, attached by `w` on node `a`, whose process has gone.
async fn attached_and_restarted(bench: &Bench) -> AttachmentRecord {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment: Attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    store.close().await.unwrap();
    attachment.record().clone()
}
