//! Restore: the volume is what it was at a snapshot, and what it was before is kept.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, ErrorKind, Outcome, Result, SnapshotName, SnapshotOptions,
    snapshot::{Replaced, RestoreOptions, RestoreReport, SnapshotKind},
};

pub(super) async fn a_restored_volume_is_the_tree_of_the_snapshot(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    let before = store.get(&volume("v")).await.unwrap();
    let report = restore(&store, Replaced::Keep).await.unwrap();
    assert_eq!((report.outcome, &report.volume.restored_from), (Outcome::Done, &Some(named("s"))));
    assert_eq!((&report.volume.id, &report.volume.spec), (&before.id, &before.spec));
    assert!(report.volume.epoch >= before.epoch);
    assert_eq!(store.get(&volume("v")).await.unwrap(), report.volume);
    let attachment = attached(&bench.open("b").await, "v", "w").await;
    Tree::sample("one").assert_at(attachment.path());
    assert!(attachment.epoch > before.epoch);
}

pub(super) async fn what_a_restore_replaces_is_kept(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    let kept = restore(&store, Replaced::Keep).await.unwrap().replaced.unwrap();
    let records = snapshots_of(&store, &volume("v")).await;
    let record = records.iter().find(|record| record.name == kept).unwrap();
    assert_eq!((record.kind, records.len()), (SnapshotKind::Replaced, 2));
    content(&store, &kept).await.assert_is(&Tree::sample("two"));
    let back = store.restore(&volume("v"), &kept, RestoreOptions::default()).await.unwrap();
    assert_eq!(back.outcome, Outcome::Done);
    Tree::sample("two").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn what_a_restore_replaces_is_kept_under_the_name_given_or_discarded(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    let report = restore(&store, Replaced::KeepAs(named("before"))).await.unwrap();
    assert_eq!(report.replaced, Some(named("before")));
    content(&store, &named("before")).await.assert_is(&Tree::sample("two"));
    write(&store, "three").await;
    let report = restore(&store, Replaced::Discard).await.unwrap();
    assert_eq!(report.replaced, None);
    assert_eq!(snapshots_of(&store, &volume("v")).await.len(), 2);
    Tree::sample("one").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn a_name_that_is_taken_cannot_keep_what_is_replaced(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    let call = restore(&store, Replaced::KeepAs(named("s")));
    refused_without_a_trace(&store, ErrorKind::Conflict, call).await;
    Tree::sample("two").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn restoring_again_changes_nothing_until_somebody_wrote(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    restore(&store, Replaced::Keep).await.unwrap();
    let before = Picture::of(&store).await;
    for _ in 0..10 {
        let again = restore(&store, Replaced::Keep).await.unwrap();
        assert_eq!((again.outcome, again.replaced), (Outcome::Already, None));
    }
    assert_eq!(Picture::of(&store).await, before);
    write(&store, "three").await;
    assert_eq!(restore(&store, Replaced::Keep).await.unwrap().outcome, Outcome::Done);
    Tree::sample("one").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn an_attached_volume_is_not_restored(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    let attachment = attached(&store, "v", "w").await;
    for opening in [&store, &bench.open("b").await] {
        let call = restore(opening, Replaced::Keep);
        let error = refused_without_a_trace(opening, ErrorKind::InUse, call).await;
        assert_eq!(error.holders()[0].attachment, attachment.id);
    }
    Tree::sample("two").assert_at(attachment.path());
}

pub(super) async fn an_unknown_snapshot_is_not_restored(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    for (v, s) in [("v", "unknown"), ("unknown", "s")] {
        let (v, s) = (volume(v), named(s));
        let call = store.restore(&v, &s, RestoreOptions::default());
        refused_without_a_trace(&store, ErrorKind::NotFound, call).await;
    }
    Tree::sample("two").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn a_snapshot_survives_its_own_restore(bench: Bench) {
    let Some(store) = changed_since_snapshot(&bench).await else { return };
    restore(&store, Replaced::Discard).await.unwrap();
    write(&store, "three").await;
    content(&store, &named("s")).await.assert_is(&Tree::sample("one"));
    store.delete_snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap();
    Tree::sample("three").assert_at(attached(&store, "v", "w").await.path());
}

/// The volume `v`, detached: tree `one` in the snapshot `s`, tree `two` now. `None` where snapshots are
/// not claimed and restoring was refused.
async fn changed_since_snapshot(bench: &Bench) -> Option<Store> {
    let store = bench.store().await;
    made(&store, "v").await;
    write(&store, "one").await;
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let call = restore(&store, Replaced::Keep);
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return None;
    }
    store.snapshot(&volume("v"), &named("s"), SnapshotOptions::default()).await.unwrap();
    write(&store, "two").await;
    Some(store)
}

async fn write(store: &Store, tag: &str) {
    let attachment = attached(store, "v", "writer").await;
    Tree::sample(tag).replace(attachment.path());
    detached(store, &attachment).await;
}

async fn restore(store: &Store, replaced: Replaced) -> Result<RestoreReport> {
    let options = RestoreOptions::default().with_replaced(replaced);
    store.restore(&volume("v"), &named("s"), options).await
}

async fn content(store: &Store, name: &SnapshotName) -> Tree {
    Tree::of(&*store.open_snapshot(&volume("v"), name).await.unwrap()).await
}
