//! Snapshots: immutable, named, whole.

use super::{bench::*, tree::*};
use crate::{
    Access, Capabilities, ErrorKind, Outcome, SnapshotOptions, VolumeStore,
    error::Result,
    name::{LabelKey, Labels},
    snapshot::{SnapshotKind, SnapshotReport},
    tree::TreeSource,
    volume::ListOptions,
};
use futures::TryStreamExt;
use std::{fs, sync::Arc};

pub(super) async fn a_snapshot_is_the_tree_as_it_was(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let (one, two) = (Tree::sample("one"), Tree::sample("two"));
    let attachment = attached(&store, "v", "w").await;
    one.write(attachment.path());
    let report = take(&store, "s").await.unwrap();
    assert_eq!((report.outcome, report.record.kind), (Outcome::Done, SnapshotKind::Named));
    assert_eq!((&report.record.volume, report.record.epoch), (&attachment.volume, attachment.epoch));
    two.replace(attachment.path());
    for opening in [&store, &bench.open("b").await] {
        content(opening, "s").await.assert_is(&one);
    }
    two.assert_at(attachment.path());
}

pub(super) async fn a_volume_need_not_be_attached_for_a_snapshot(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    take(&store, "empty").await.unwrap();
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    detached(&store, &attachment).await;
    let report = take(&store, "s").await.unwrap();
    assert_eq!(report.record.epoch, attachment.epoch);
    content(&store, "s").await.assert_is(&Tree::sample("one"));
    assert_eq!(content(&store, "empty").await.len(), 1);
}

pub(super) async fn the_same_name_gives_the_snapshot_that_is_there(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    let first = take(&store, "s").await.unwrap();
    Tree::sample("two").replace(attachment.path());
    for _ in 0..10 {
        let again = take(&store, "s").await.unwrap();
        assert_eq!((again.outcome, again.record), (Outcome::Already, first.record.clone()));
    }
    content(&store, "s").await.assert_is(&Tree::sample("one"));
}

pub(super) async fn snapshots_are_listed_by_name_with_their_records(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    made(&store, "another").await;
    store.snapshot(&volume("another"), &named("s-1"), SnapshotOptions::default()).await.unwrap();
    let mut taken = Vec::new();
    for n in ["s-3", "s-1", "S", "s-2", "a.b"] {
        taken.push(take(&store, n).await.unwrap().record);
    }
    taken.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(snapshots_of(&store, &volume("v")).await, taken);
    let page = ListOptions::default().with_after("a.b").with_limit(2_usize);
    assert_eq!(all(store.snapshots(&volume("v"), page)).await, taken[2..4]);
}

pub(super) async fn labels_of_a_snapshot_are_kept_and_filter_the_list(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let labels: Labels = [(LabelKey::new("why").unwrap(), "nightly \"run\"\n".to_owned())].into();
    let options = SnapshotOptions::default().with_labels(labels.clone());
    store.snapshot(&volume("v"), &named("s-2"), options).await.unwrap();
    take(&store, "s-1").await.unwrap();
    let found = all(store.snapshots(&volume("v"), ListOptions::default().with_labels(labels.clone()))).await;
    assert_eq!(found.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["s-2"]);
    assert_eq!(found[0].labels, labels);
}

pub(super) async fn an_unknown_snapshot_is_not_found(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let kind = ErrorKind::NotFound;
    let open = |v: &'static str| {
        let store = store.clone();
        async move { store.open_snapshot(&volume(v), &named("s")).await.map(drop) }
    };
    refused_without_a_trace(&store, kind, open("v")).await;
    refused_without_a_trace(&store, kind, open("unknown")).await;
    let call = async { store.snapshot(&volume("unknown"), &named("s"), SnapshotOptions::default()).await };
    refused_without_a_trace(&store, kind, call).await;
    let listed: Result<Vec<_>> =
        store.snapshots(&volume("unknown"), ListOptions::default()).try_collect().await;
    refused(kind, listed);
    let reader = holder("r").with_access(Access::ReadOnly).with_snapshot(named("s"));
    if claims(&store, Capabilities::MANY_READERS) {
        refused_without_a_trace(&store, kind, store.attach(&volume("v"), reader)).await;
    }
}

pub(super) async fn a_deleted_snapshot_is_gone_and_its_name_is_free(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    take(&store, "s").await.unwrap();
    take(&store, "kept").await.unwrap();
    let (v, unknown, s) = (volume("v"), volume("unknown"), named("s"));
    assert_eq!(store.delete_snapshot(&v, &s, Default::default()).await.unwrap(), Outcome::Done);
    for _ in 0..10 {
        assert_eq!(store.delete_snapshot(&v, &s, Default::default()).await.unwrap(), Outcome::Already);
        assert_eq!(store.delete_snapshot(&unknown, &s, Default::default()).await.unwrap(), Outcome::Already);
    }
    assert_eq!(snapshots_of(&store, &v).await.len(), 1);
    Tree::sample("two").replace(attachment.path());
    assert_eq!(take(&store, "s").await.unwrap().outcome, Outcome::Done);
    content(&store, "s").await.assert_is(&Tree::sample("two"));
    content(&store, "kept").await.assert_is(&Tree::sample("one"));
}

pub(super) async fn a_snapshot_with_a_reader_is_not_deleted(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    take(&store, "s").await.unwrap();
    let options = holder("r").with_access(Access::ReadOnly).with_snapshot(named("s"));
    if !claims(&store, Capabilities::MANY_READERS) {
        let call = async { store.attach(&volume("v"), options).await };
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    let reader = store.attach(&volume("v"), options).await.unwrap();
    let (v, s) = (volume("v"), named("s"));
    let call = store.delete_snapshot(&v, &s, Default::default());
    let error = refused_without_a_trace(&store, ErrorKind::InUse, call).await;
    assert_eq!(error.holders()[0].attachment, reader.id);
    detached(&store, &reader).await;
    assert_eq!(store.delete_snapshot(&v, &s, Default::default()).await.unwrap(), Outcome::Done);
}

pub(super) async fn readers_of_a_snapshot_see_it_and_cannot_change_it(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let (one, two) = (Tree::sample("one"), Tree::sample("two"));
    let writer = attached(&store, "v", "w").await;
    one.write(writer.path());
    take(&store, "s").await.unwrap();
    two.replace(writer.path());
    let options = |by: &str| holder(by).with_access(Access::ReadOnly).with_snapshot(named("s"));
    if !claims(&store, Capabilities::MANY_READERS) {
        let call = async { store.attach(&volume("v"), options("r")).await };
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    let reader = store.attach(&volume("v"), options("r1")).await.unwrap();
    assert_eq!((reader.access, &reader.snapshot), (Access::ReadOnly, &Some(named("s"))));
    one.assert_at(reader.path());
    // Where writing is not refused, it must reach a private copy only.
    let _ = fs::write(reader.path().join("hello"), "changed by a reader");
    let _ = fs::remove_file(reader.path().join("dir/data"));
    let second = store.attach(&volume("v"), options("r2")).await.unwrap();
    one.assert_at(second.path());
    content(&store, "s").await.assert_is(&one);
    two.assert_at(writer.path());
}

pub(super) async fn a_source_that_is_being_read_does_not_change(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    take(&store, "s").await.unwrap();
    let source = store.open_snapshot(&volume("v"), &named("s")).await.unwrap();
    let first = source.entry(&path(b"hello")).await.unwrap().unwrap();
    if let Err(error) = store.delete_snapshot(&volume("v"), &named("s"), Default::default()).await {
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    }
    let apply = crate::care::PruneOptions::default().with_mode(crate::care::PruneMode::Apply);
    store.prune(apply).await.unwrap();
    Tree::of(&*source).await.assert_is(&Tree::sample("one"));
    assert_eq!(source.entry(&path(b"hello")).await.unwrap(), Some(first));
}

pub(super) async fn a_source_is_read_in_pages_and_ranges(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    take(&store, "s").await.unwrap();
    let source = open(&store, "s").await;
    let entries: Vec<_> = source.entries(None).try_collect().await.unwrap();
    assert!(entries[0].path.is_root() && entries.windows(2).all(|pair| pair[0].path < pair[1].path));
    for n in 0..entries.len() {
        let rest: Vec<_> = source.entries(Some(entries[n].path.clone())).try_collect().await.unwrap();
        assert_eq!(rest, entries[n + 1..]);
    }
    assert_eq!(source.entry(&path(b"no/such")).await.unwrap(), None);
    let whole = fs::read(attachment.path().join("dir/data")).unwrap();
    for range in [0..5, 65_530..65_550, 99_990..100_000, 99_990..200_000, 300_000..300_001, 7..7] {
        let end = (range.end as usize).min(whole.len());
        let wanted = &whole[(range.start as usize).min(end)..end];
        assert_eq!(source.read(&path(b"dir/data"), range).await.unwrap(), wanted);
    }
    assert_eq!(source.read(&path(b"dir"), 0..1).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// A store with the volume `v`; `None` where snapshots are not claimed and were refused.
async fn snapshotting(bench: &Bench) -> Option<Store> {
    let store = bench.store().await;
    made(&store, "v").await;
    if claims(&store, Capabilities::SNAPSHOTS) {
        return Some(store);
    }
    refused_without_a_trace(&store, ErrorKind::Unsupported, take(&store, "s")).await;
    None
}

async fn take(store: &Store, name: &str) -> Result<SnapshotReport> {
    store.snapshot(&volume("v"), &named(name), SnapshotOptions::default()).await
}

async fn open(store: &Store, name: &str) -> Arc<dyn TreeSource> {
    VolumeStore::open_snapshot(&**store, &volume("v"), &named(name)).await.unwrap()
}

async fn content(store: &Store, name: &str) -> Tree {
    Tree::of(&*open(store, name).await).await
}
