//! What holds of interrupted work, of the trash, and of what must never be removed. A panic in the middle of a
//! call stands for kill -9: descriptors are closed, and nothing is cleaned up.

use crate::{
    ErrorKind, SnapshotName, SnapshotOptions, VolumeStore,
    care::{HealthStatus, PruneMode, PruneOptions, PruneReason, PruneReport, UsageOptions, VerifyOptions},
    directory::{
        fixture::{Fixture, directory, name},
        plain_place::Point,
        store::DirectoryStore,
    },
    linux::cause::cause,
    progress::CallOptions,
    volume::{
        CreateOptions, DeleteOptions, Import, Lifetime, ListOptions, ListStates, Protection, Source, Trash,
        VolumeSpec,
    },
};
use std::{fs, io, time::Duration};

async fn run(store: &DirectoryStore, mode: PruneMode) -> PruneReport {
    store.prune(PruneOptions::default().with_mode(mode)).await.unwrap()
}

/// Applies, and checks that a report before it said the same and changed nothing, and that a repeat finds
/// nothing more.
async fn prune(fixture: &Fixture) -> Vec<PruneReason> {
    let before = fixture.everything();
    let said = run(&fixture.store, PruneMode::Report).await;
    assert_eq!(fixture.everything(), before, "a report changed something");
    let done = run(&fixture.store, PruneMode::Apply).await;
    assert_eq!(done, said);
    let again = run(&fixture.store, PruneMode::Apply).await;
    assert_eq!(again.items, []);
    done.items.iter().map(|item| item.reason).collect()
}

fn killed(fixture: &Fixture, point: Point) {
    fixture.place.at(point, || panic!("killed"));
}

fn moving(path: &std::path::Path) -> CreateOptions {
    CreateOptions::default().with_source(Source::Directory { path: path.into(), import: Import::Move })
}

#[tokio::test]
async fn a_killed_creation_is_undone_and_nothing_of_it_is_left() {
    let fixture = Fixture::new().await;
    for point in [Point::BeforeTree, Point::Flush] {
        killed(&fixture, point);
        let error = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(fixture.store.health().await.unwrap().iter().any(|h| h.status == HealthStatus::Degraded));
        assert_eq!(prune(&fixture).await, [PruneReason::Undo], "{point:?}");
        let layout = &fixture.store.engine.layout;
        for empty in [layout.volumes(), layout.removed(), layout.intents()] {
            assert_eq!(fs::read_dir(empty).unwrap().count(), 0);
        }
    }
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    assert_eq!(prune(&fixture).await, []);
}

#[tokio::test]
async fn what_a_live_process_is_making_is_never_touched() {
    let fixture = Fixture::new().await;
    for point in [Point::BeforeTree, Point::Flush] {
        let (other, handle) = (fixture.other().await, tokio::runtime::Handle::current());
        let prune = move || {
            let report = handle.block_on(run(&other, PruneMode::Apply));
            assert_eq!(report.items, []);
            Ok(())
        };
        fixture.place.at(point, prune);
        let volume = name(&format!("{point:?}"));
        fixture.store.create(&volume, CreateOptions::default()).await.unwrap();
        assert!(fixture.tree(&volume).is_dir());
    }
}

#[tokio::test]
async fn a_move_that_was_killed_before_it_leaves_the_source_whole() {
    let fixture = Fixture::new().await;
    let source = directory(fixture.dir.path().join("src"));
    killed(&fixture, Point::BeforeTree);
    fixture.store.create(&name("a"), moving(&source)).await.unwrap_err();
    assert_eq!(prune(&fixture).await, [PruneReason::Undo]);
    assert_eq!(fs::read(source.join("file")).unwrap(), b"content");
    assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_move_that_was_killed_after_it_is_finished() {
    let fixture = Fixture::new().await;
    let source = directory(fixture.dir.path().join("src"));
    killed(&fixture, Point::AfterMove);
    fixture.store.create(&name("a"), moving(&source)).await.unwrap_err();
    assert!(!source.exists());
    assert_eq!(prune(&fixture).await, [PruneReason::Finish]);
    assert_eq!(fs::read(fixture.tree(&name("a")).join("file")).unwrap(), b"content");
}

#[tokio::test]
async fn a_move_that_was_killed_after_it_is_finished_by_its_repeat() {
    let fixture = Fixture::new().await;
    let source = directory(fixture.dir.path().join("src"));
    killed(&fixture, Point::AfterMove);
    fixture.store.create(&name("a"), moving(&source)).await.unwrap_err();
    let elsewhere = fixture.store.create(&name("b"), moving(&source)).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::NotFound, "another name is no repeat");
    fixture.store.create(&name("a"), moving(&source)).await.unwrap();
    assert_eq!(fs::read(fixture.tree(&name("a")).join("file")).unwrap(), b"content");
    assert_eq!(prune(&fixture).await, []);
}

#[tokio::test]
async fn a_killed_move_whose_name_is_taken_is_kept_in_the_trash() {
    let fixture = Fixture::new().await;
    let source = directory(fixture.dir.path().join("src"));
    killed(&fixture, Point::AfterMove);
    fixture.store.create(&name("a"), moving(&source)).await.unwrap_err();
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    assert_eq!(prune(&fixture).await, [PruneReason::Finish]);
    let trash = ListOptions::default().with_states(ListStates::Trashed);
    let trashed: Vec<_> = futures::StreamExt::collect(fixture.store.list(trash)).await;
    let id = trashed[0].as_ref().unwrap().id.clone();
    let back = CreateOptions::default().with_source(Source::Trashed(id));
    fixture.store.create(&name("b"), back).await.unwrap();
    assert_eq!(fs::read(fixture.tree(&name("b")).join("file")).unwrap(), b"content");
}

#[tokio::test]
async fn the_trash_is_kept_for_its_window_and_removed_after_it() {
    let fixture = Fixture::new().await;
    for (volume, window) in [("a", Duration::ZERO), ("b", Duration::from_secs(3600))] {
        fixture.store.create(&name(volume), CreateOptions::default()).await.unwrap();
        let options = DeleteOptions::default().with_trash(Trash::KeepFor(window));
        fixture.store.delete(&name(volume), options).await.unwrap();
    }
    assert_eq!(prune(&fixture).await, [PruneReason::TrashExpired]);
    let trash = ListOptions::default().with_states(ListStates::Trashed);
    assert_eq!(fixture.names(trash).await, ["b"]);
}

#[tokio::test]
async fn a_lifetime_ends_unless_the_volume_is_protected_or_has_snapshots() {
    let fixture = Fixture::new().await;
    let short = VolumeSpec::default().with_lifetime(Lifetime::For(Duration::ZERO));
    let spec = |spec: &VolumeSpec| CreateOptions::default().with_spec(spec.clone());
    fixture.store.create(&name("short"), spec(&short)).await.unwrap();
    fixture.store.create(&name("kept"), CreateOptions::default()).await.unwrap();
    let attachment = VolumeSpec::default().with_lifetime(Lifetime::Attachment);
    fixture.store.create(&name("never-attached"), spec(&attachment)).await.unwrap();
    let protected = short.clone().with_protection(Protection::Protected);
    fixture.store.create(&name("protected"), spec(&protected)).await.unwrap();
    fixture.store.create(&name("snapped"), spec(&short)).await.unwrap();
    let snapshot = SnapshotName::new("s").unwrap();
    fixture.store.snapshot(&name("snapped"), &snapshot, SnapshotOptions::default()).await.unwrap();
    assert_eq!(prune(&fixture).await, [PruneReason::LifetimeEnded]);
    let left = ["kept", "never-attached", "protected", "snapped"];
    assert_eq!(fixture.names(ListOptions::default()).await, left);
}

#[tokio::test]
async fn a_tree_that_nothing_names_is_removed_and_every_named_one_stays() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    fs::write(fixture.tree(&name("a")).join("x"), b"1").unwrap();
    let snapshot = SnapshotName::new("s").unwrap();
    fixture.store.snapshot(&name("a"), &snapshot, SnapshotOptions::default()).await.unwrap();
    killed(&fixture, Point::Flush);
    let lost = SnapshotName::new("lost").unwrap();
    fixture.store.snapshot(&name("a"), &lost, SnapshotOptions::default()).await.unwrap_err();
    let used = fixture.store.usage(UsageOptions::default().with_volume(name("a"))).await.unwrap();
    assert!(used.reclaimable_bytes > 0 && used.snapshot_bytes > 0 && used.files == 2, "{used:?}");
    assert_eq!(prune(&fixture).await, [PruneReason::Unreferenced]);
    let report = fixture.store.verify(VerifyOptions::default()).await.unwrap();
    assert_eq!((report.files, report.bytes, report.faults), (4, 2, vec![]));
}

#[tokio::test]
async fn what_fails_is_reported_and_the_rest_goes_on() {
    let fixture = Fixture::new().await;
    let lost = SnapshotName::new("lost").unwrap();
    for volume in ["a", "b", "c"] {
        fixture.store.create(&name(volume), CreateOptions::default()).await.unwrap();
        killed(&fixture, Point::Flush);
        fixture.store.snapshot(&name(volume), &lost, SnapshotOptions::default()).await.unwrap_err();
    }
    let busy = || Err(cause(io::Error::from_raw_os_error(16), "unlink", "a view"));
    fixture.place.at(Point::Remove, busy);
    let report = run(&fixture.store, PruneMode::Apply).await;
    assert_eq!(report.items.len(), 2, "{report:?}");
    let [failure] = &report.failures[..] else { panic!("{report:?}") };
    assert!(failure.volume.is_some() && failure.kind == ErrorKind::InUse, "{failure:?}");
    assert!(failure.what.contains("unlink") && failure.what.contains("a view"), "{failure:?}");
    assert_eq!(prune(&fixture).await, [PruneReason::Unreferenced], "it is left for the next");
}

#[tokio::test]
async fn a_prune_that_is_stopped_reports_no_failures() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let late = PruneOptions::default().with_call(CallOptions::default().with_deadline(Duration::ZERO));
    assert_eq!(fixture.store.prune(late).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_cannot_be_read_is_evidence_and_stays() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let volume = fixture.store.engine.locate(&name("a")).unwrap();
    fs::write(volume.layout.records().join("1"), b"").unwrap();
    assert_eq!(prune(&fixture).await, []);
    let failures = run(&fixture.store, PruneMode::Apply).await.failures;
    assert_eq!(failures.iter().map(|f| f.kind).collect::<Vec<_>>(), [ErrorKind::Corrupt]);
    assert!(fixture.store.engine.layout.volume(&volume.stored.volume.id).root().is_dir());
    let report = fixture.store.verify(VerifyOptions::default()).await.unwrap();
    assert!(!report.faults.is_empty());
}

#[tokio::test]
async fn volumes_that_lost_their_names_stay_and_verify_says_so() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let id = fixture.store.get(&name("a")).await.unwrap().id;
    fs::remove_dir_all(fixture.store.engine.layout.name(&name("a"))).unwrap();
    assert_eq!(prune(&fixture).await, []);
    let report = fixture.store.verify(VerifyOptions::default()).await.unwrap();
    assert_eq!(report.faults.len(), 1);
    assert_eq!(report.faults[0].volume, Some(id));
}

#[tokio::test]
async fn a_lost_tree_is_a_fault() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    fs::remove_dir_all(fixture.tree(&name("a"))).unwrap();
    let report = fixture.store.verify(VerifyOptions::default().with_volume(name("a"))).await.unwrap();
    assert_eq!(report.faults.len(), 1, "{report:?}");
}

#[tokio::test]
async fn directories_of_free_names_do_not_pile_up() {
    let fixture = Fixture::new().await;
    for n in 0..5 {
        let volume = name(&format!("v{n}"));
        fixture.store.create(&volume, CreateOptions::default()).await.unwrap();
        fixture.store.delete(&volume, DeleteOptions::default().with_trash(Trash::Bypass)).await.unwrap();
    }
    run(&fixture.store, PruneMode::Apply).await;
    let names = fs::read_dir(fixture.store.engine.layout.names()).unwrap();
    let left: Vec<_> = names.map(|entry| entry.unwrap().file_name()).filter(|n| n != ".exclusion").collect();
    assert!(left.is_empty(), "{left:?}");
}
