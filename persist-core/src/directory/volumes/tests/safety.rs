//! Races that must not cost anybody his volume.

use super::super::{create, delete};
use crate::{
    ErrorKind, Retry, SnapshotName, SnapshotOptions, VolumeStore,
    care::{PruneMode, PruneOptions},
    clock::SystemEnvironment,
    directory::{
        exclusion::{Exclusion, Hold},
        fixture::{Fixture, name},
        plain_place::Point,
    },
    id::VolumeId,
    progress::Meter,
    snapshot::Outcome,
    volume::{CreateOptions, DeleteOptions, Source, Trash, VolumeState},
};
use std::{fs, time::Duration};

/// The end of a detach deletes a volume that lives as long as its attachments: by then its name may be
/// another's.
#[tokio::test]
async fn the_end_of_a_lifetime_never_deletes_a_later_volume_of_the_same_name() {
    let fixture = Fixture::new().await;
    let first = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    fixture.store.delete(&name("a"), DeleteOptions::default()).await.unwrap();
    let second = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    let ended = delete::end(&fixture.store.engine, &name("a"), &first.id, &Meter::default());
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fixture.store.get(&name("a")).await.unwrap().id, second.id);
}

/// Killed between the link of its name and the flush, a creator leaves its intent: who finds the volume
/// flushes before he says that it is there, and whoever takes the intent away has flushed before.
#[tokio::test]
async fn a_volume_whose_creator_died_before_the_last_flush_is_flushed_before_anybody_relies_on_it() {
    let fixture = Fixture::new().await;
    let (store, a) = (&fixture.store, name("a"));
    let made = store.create(&a, CreateOptions::default()).await.unwrap().volume;
    let fsyncs_of_a_repeat = async || {
        let before = store.fsyncs();
        assert_eq!(store.create(&a, CreateOptions::default()).await.unwrap().outcome, Outcome::Already);
        store.fsyncs() - before
    };
    assert_eq!(fsyncs_of_a_repeat().await, 0, "its creator has flushed it");
    let intent = store.engine.layout.intent(&made.id);
    fs::write(&intent, b"").unwrap();
    assert_eq!(fsyncs_of_a_repeat().await, 1);
    let before = store.fsyncs();
    store.engine.locate_alone(&a, &Meter::default()).unwrap();
    assert_eq!(store.fsyncs() - before, 1, "whatever is built on the volume");
    let before = store.fsyncs();
    store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    assert!(!intent.exists() && store.fsyncs() - before == 1);
    assert_eq!(fsyncs_of_a_repeat().await, 0);
}

/// Killed after the name and before the volume was ready again: its end in the trash gives that name free.
#[tokio::test]
async fn a_taking_back_that_was_killed_never_makes_its_name_useless() {
    let fixture = Fixture::new().await;
    let (store, meter) = (&fixture.store, Meter::default());
    let made = store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    let now = DeleteOptions::default().with_trash(Trash::KeepFor(Duration::ZERO));
    store.delete(&name("a"), now).await.unwrap();
    let trashed = store.engine.locate_id(&made.id).unwrap();
    assert!(create::name_trashed(&store.engine, trashed, &name("b"), &meter).unwrap().is_some());
    store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    assert!(!store.engine.layout.volume(&made.id).root().exists());
    for free in ["a", "b"] {
        assert_eq!(store.create(&name(free), CreateOptions::default()).await.unwrap().outcome, Outcome::Done);
    }
}

/// Somebody changes a volume that seems to have no record: it is looked at again once nobody does.
#[tokio::test]
async fn a_volume_that_is_being_changed_is_never_taken_for_an_interrupted_creation() {
    let fixture = Fixture::new().await;
    let id = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
    let layout = fixture.store.engine.layout.volume(&id);
    layout.directories().iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
    let apply = || fixture.store.prune(PruneOptions::default().with_mode(PruneMode::Apply));
    let held = fixture.store.engine.exclude(&layout, &Meter::default()).unwrap();
    assert_eq!(apply().await.unwrap().items, []);
    assert!(layout.root().exists());
    drop(held);
    assert_eq!(apply().await.unwrap().items.len(), 1);
    assert!(!layout.root().exists());
}

/// The record that deletes it was made: that its name could not be given free does not undo that.
#[tokio::test]
async fn a_deletion_that_fails_after_its_record_does_not_say_that_nothing_happened() {
    let fixture = Fixture::new().await;
    let engine = &fixture.store.engine;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let located = engine.locate(&name("a")).unwrap();
    let id = located.stored.volume.id.clone();
    let _busy = Exclusion::attempt(&engine.layout.names_exclusion(), Hold::Alone).unwrap().unwrap();
    let meter = Meter::default();
    let deleted = std::thread::scope(|scope| {
        let deleting = scope.spawn(|| engine.trash(&located, Trash::Bypass, &meter));
        while engine.locate_id(&id).unwrap().stored.volume.state == VolumeState::Ready {
            std::thread::yield_now();
        }
        meter.stop();
        deleting.join().unwrap()
    });
    assert_eq!(deleted.unwrap_err().retry(), Retry::Verify);
}

/// The store that a source is of was closed while its tree was copied: it may have been removed meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_ends_while_it_is_copied_makes_no_volume() {
    let fixture = Fixture::new().await;
    let (store, other, s) = (&fixture.store, fixture.other().await, SnapshotName::new("s").unwrap());
    store.create(&name("a"), CreateOptions::default()).await.unwrap();
    store.snapshot(&name("a"), &s, SnapshotOptions::default()).await.unwrap();
    let source = other.open_snapshot(&name("a"), &s).await.unwrap();
    let handle = tokio::runtime::Handle::current();
    fixture.place.at(Point::BeforeTree, move || handle.block_on(other.close()).map(drop));
    let options = CreateOptions::default().with_source(Source::Tree(source));
    store.create(&name("b"), options).await.unwrap_err();
    assert_eq!(store.get(&name("b")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn of_a_store_that_is_not_there_nothing_is_said() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let (here, away) = (fixture.dir.path().join("store"), fixture.dir.path().join("away"));
    // As after an unmount: an empty directory in its place.
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    let got = fixture.store.get(&name("a")).await.unwrap_err();
    let deleted = fixture.store.delete(&name("a"), DeleteOptions::default()).await.unwrap_err();
    assert_eq!((got.kind(), deleted.kind()), (ErrorKind::Unavailable, ErrorKind::Unavailable));
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    fixture.store.get(&name("a")).await.unwrap();
}
