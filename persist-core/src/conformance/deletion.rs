//! Deleting: never by accident, and with a way back.

use super::{bench::*, tree::*};
use crate::{
    Access, Capabilities, CreateOptions, ErrorKind, Lifetime, Outcome, Source, VolumeId, VolumeSpec,
    care::{PruneMode, PruneOptions, PruneReason, PruneReport},
    volume::{DeleteOptions, Protection, SnapshotsAlong, TRASH_WINDOW, Trash, UpdateOptions, VolumeState},
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

pub(super) async fn the_name_of_a_deleted_volume_is_free(bench: Bench) {
    let store = bench.store().await;
    let old = filled(&store, "v", "one").await;
    let report = store.delete(&volume("v"), DeleteOptions::default()).await.unwrap();
    assert_eq!((report.outcome, report.trashed.unwrap().id), (Outcome::Done, old.clone()));
    refused(ErrorKind::NotFound, store.get(&volume("v")).await);
    assert_ne!(made(&store, "v").await.id, old);
    assert!(names(attached(&store, "v", "w").await.path()).is_empty());
}

pub(super) async fn deleting_again_succeeds(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    store.delete(&volume("v"), DeleteOptions::default()).await.unwrap();
    let before = Picture::of(&store).await;
    for _ in 0..10 {
        for (opening, name) in [(&store, "v"), (&other, "v"), (&store, "never-there")] {
            let report = opening.delete(&volume(name), DeleteOptions::default()).await.unwrap();
            assert_eq!((report.outcome, report.trashed), (Outcome::Already, None));
        }
    }
    assert_eq!(Picture::of(&store).await, before);
}

pub(super) async fn an_attached_volume_is_not_deleted(bench: Bench) {
    let store = bench.store().await;
    filled(&store, "v", "one").await;
    let attachment = attached(&store, "v", "w").await;
    for opening in [&store, &bench.open("b").await] {
        let (name, options) = (volume("v"), thoroughly());
        let call = opening.delete(&name, options);
        let error = refused_without_a_trace(opening, ErrorKind::InUse, call).await;
        assert_eq!(error.holders()[0].attachment, attachment.id);
    }
    Tree::sample("one").assert_at(attachment.path());
}

pub(super) async fn a_volume_that_is_read_is_not_deleted(bench: Bench) {
    let store = bench.store().await;
    filled(&store, "v", "one").await;
    let options = holder("r").with_access(Access::ReadOnly).with_snapshot(named("s"));
    if !claims(&store, Capabilities::MANY_READERS | Capabilities::SNAPSHOTS) {
        let call = async { store.attach(&volume("v"), options).await };
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    store.snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap();
    let reader = store.attach(&volume("v"), options).await.unwrap();
    let name = volume("v");
    let error = refused_without_a_trace(&store, ErrorKind::InUse, store.delete(&name, thoroughly())).await;
    assert_eq!(error.holders()[0].attachment, reader.id);
    Tree::sample("one").assert_at(reader.path());
}

pub(super) async fn nothing_passes_protection_until_it_is_lifted(bench: Bench) {
    let store = bench.store().await;
    let spec =
        VolumeSpec::default().with_protection(Protection::Protected).with_lifetime(Lifetime::For(SECOND));
    store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
    let name = volume("v");
    for options in [DeleteOptions::default(), thoroughly()] {
        refused_without_a_trace(&store, ErrorKind::Denied, store.delete(&name, options)).await;
    }
    bench.clock().advance(SECOND * 10);
    prune(&store, PruneMode::Apply).await;
    assert_eq!(volumes(&store).await.len(), 1, "a protected volume went with its lifetime");
    let lift = UpdateOptions::default().with_protection(Protection::None);
    store.update(&name, lift).await.unwrap();
    assert_eq!(store.delete(&name, DeleteOptions::default()).await.unwrap().outcome, Outcome::Done);
}

pub(super) async fn snapshots_go_with_their_volume_only_when_asked_along(bench: Bench) {
    let store = bench.store().await;
    filled(&store, "v", "one").await;
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let (v, s) = (volume("v"), named("s"));
        let call = store.snapshot(&v, &s, Default::default());
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    store.snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap();
    let name = volume("v");
    let call = store.delete(&name, DeleteOptions::default());
    refused_without_a_trace(&store, ErrorKind::Conflict, call).await;
    let along = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete);
    let id = store.delete(&name, along).await.unwrap().trashed.unwrap().id;
    assert_eq!(volumes(&store).await, []);
    take_back(&store, "v", &id).await;
    assert_eq!(snapshots_of(&store, &name).await.len(), 1, "the snapshot was lost in the trash");
    let kept = store.open_snapshot(&name, &named("s")).await.unwrap();
    Tree::of(&*kept).await.assert_is(&Tree::sample("one"));
}

pub(super) async fn a_volume_comes_back_from_the_trash_as_it_was(bench: Bench) {
    let store = bench.store().await;
    let id = filled(&store, "v", "one").await;
    let before = store.get(&volume("v")).await.unwrap();
    for name in ["v", "under-another-name"] {
        let from = volumes(&store).await[0].name.clone();
        store.delete(&from, DeleteOptions::default()).await.unwrap();
        let [record] = &trashed(&store).await[..] else { panic!("not one in the trash") };
        let VolumeState::Trashed { since, until } = record.state else { panic!("{record:?}") };
        assert_eq!((&record.id, until), (&id, since.saturating_add(TRASH_WINDOW)));
        take_back(&store, name, &id).await;
        assert_eq!(trashed(&store).await, []);
        let back = store.get(&volume(name)).await.unwrap();
        assert_eq!((&back.id, back.state), (&id, VolumeState::Ready));
        assert!(back.epoch >= before.epoch, "the epoch went back");
    }
    let attachment = attached(&store, "under-another-name", "w").await;
    Tree::sample("one").assert_at(attachment.path());
    assert!(attachment.epoch > before.epoch);
}

pub(super) async fn a_name_in_use_is_not_taken_by_a_volume_from_the_trash(bench: Bench) {
    let store = bench.store().await;
    let id = filled(&store, "v", "one").await;
    store.delete(&volume("v"), DeleteOptions::default()).await.unwrap();
    filled(&store, "v", "two").await;
    let options = CreateOptions::default().with_source(Source::Trashed(id.clone()));
    let name = volume("v");
    let before = Picture::of(&store).await;
    match store.create(&name, options).await {
        Ok(report) => assert_eq!(report.outcome, Outcome::Already),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
    }
    assert_eq!(Picture::of(&store).await, before);
    take_back(&store, "old", &id).await;
    Tree::sample("one").assert_at(attached(&store, "old", "w").await.path());
    Tree::sample("two").assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn what_bypasses_the_trash_does_not_come_back(bench: Bench) {
    let store = bench.store().await;
    let id = filled(&store, "v", "one").await;
    let report = store.delete(&volume("v"), thoroughly()).await.unwrap();
    assert_eq!((report.outcome, report.trashed), (Outcome::Done, None));
    assert_eq!(trashed(&store).await, []);
    let options = CreateOptions::default().with_source(Source::Trashed(id));
    let name = volume("v");
    refused_without_a_trace(&store, ErrorKind::NotFound, store.create(&name, options)).await;
}

pub(super) async fn the_trash_is_kept_for_its_window_and_no_longer(bench: Bench) {
    let store = bench.store().await;
    let id = filled(&store, "v", "one").await;
    let keep = DeleteOptions::default().with_trash(Trash::KeepFor(SECOND * 100));
    store.delete(&volume("v"), keep).await.unwrap();
    bench.clock().advance(SECOND * 99);
    assert!(prune(&store, PruneMode::Apply).await.items.iter().all(|i| i.volume.as_ref() != Some(&id)));
    assert_eq!(trashed(&store).await.len(), 1);
    bench.clock().advance(SECOND * 2);
    let report = prune(&store, PruneMode::Report).await;
    let item = report.items.iter().find(|i| i.volume.as_ref() == Some(&id)).unwrap();
    assert_eq!(item.reason, PruneReason::TrashExpired);
    assert_eq!(trashed(&store).await.len(), 1, "a report removed it");
    prune(&store, PruneMode::Apply).await;
    assert_eq!(trashed(&store).await, []);
    let options = CreateOptions::default().with_source(Source::Trashed(id));
    refused(ErrorKind::NotFound, store.create(&volume("v"), options).await);
}

pub(super) async fn a_volume_for_an_attachment_goes_with_the_last_one(bench: Bench) {
    let store = bench.store().await;
    let spec = VolumeSpec::default().with_lifetime(Lifetime::Attachment);
    store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
    prune(&store, PruneMode::Apply).await;
    let mut last = attached(&store, "v", "w").await;
    if claims(&store, Capabilities::SHARED_ON_NODE) {
        detached(&store, &last).await;
        let spec = VolumeSpec::default().with_lifetime(Lifetime::Attachment);
        store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
        let shared = |by: &str| holder(by).with_access(Access::SharedOnNode);
        let first = store.attach(&volume("v"), shared("one")).await.unwrap();
        last = store.attach(&volume("v"), shared("two")).await.unwrap();
        assert_eq!(store.detach(&first.id, Default::default()).await.unwrap().ended, None);
        assert_eq!(volumes(&store).await.len(), 1);
    }
    let report = store.detach(&last.id, Default::default()).await.unwrap();
    assert_eq!(report.ended, Some(Lifetime::Attachment));
    refused(ErrorKind::NotFound, store.get(&volume("v")).await);
}

pub(super) async fn a_lifetime_ends_by_prune_and_never_while_attached(bench: Bench) {
    let store = bench.store().await;
    let spec = VolumeSpec::default().with_lifetime(Lifetime::For(SECOND * 100));
    store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
    filled(&store, "kept", "one").await;
    bench.clock().advance(SECOND * 99);
    prune(&store, PruneMode::Apply).await;
    let attachment = attached(&store, "v", "w").await;
    bench.clock().advance(SECOND * 2);
    prune(&store, PruneMode::Apply).await;
    store.sync(&attachment.id, Default::default()).await.unwrap();
    detached(&store, &attachment).await;
    let report = prune(&store, PruneMode::Report).await;
    assert!(report.items.iter().any(|item| item.reason == PruneReason::LifetimeEnded), "{report:?}");
    assert_eq!(volumes(&store).await.len(), 2, "a report removed it");
    prune(&store, PruneMode::Apply).await;
    let left = volumes(&store).await;
    assert_eq!(left.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), ["kept"]);
}

/// A detached volume with a sample tree in it.
async fn filled(store: &Store, name: &str, tag: &str) -> VolumeId {
    let id = made(store, name).await.id;
    let attachment = attached(store, name, "w").await;
    Tree::sample(tag).write(attachment.path());
    detached(store, &attachment).await;
    id
}

/// Everything that could count as force.
fn thoroughly() -> DeleteOptions {
    DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete).with_trash(Trash::Bypass)
}

async fn take_back(store: &Store, name: &str, id: &VolumeId) {
    let options = CreateOptions::default().with_source(Source::Trashed(id.clone()));
    let report = store.create(&volume(name), options).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
}

async fn prune(store: &Store, mode: PruneMode) -> PruneReport {
    store.prune(PruneOptions::default().with_mode(mode)).await.unwrap()
}
