//! What holds of volumes on a directory, in the plainest place.

mod safety;

use crate::{
    ErrorKind, OpenMode, OpenOptions, VolumeName, VolumeStore,
    directory::{
        fixture::{Fixture, below, directory, name},
        plain_place::Point,
    },
    error::Error,
    name::LabelKey,
    snapshot::Outcome,
    volume::{
        CreateOptions, DeleteOptions, Import, Lifetime, ListOptions, ListStates, Protection, RootSpec,
        Source, Trash, UpdateOptions, VolumeSpec,
    },
};
use futures::StreamExt;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

fn from(source: Source) -> CreateOptions {
    CreateOptions::default().with_source(source)
}

fn with(spec: VolumeSpec) -> CreateOptions {
    CreateOptions::default().with_spec(spec)
}

fn bypass() -> DeleteOptions {
    DeleteOptions::default().with_trash(Trash::Bypass)
}

#[tokio::test]
async fn a_created_volume_is_there_for_every_opening_and_a_repeat_finds_it() {
    let fixture = Fixture::new().await;
    let root = RootSpec::default().with_mode(0o2750_u32);
    let made = fixture.store.create(&name("a"), with(VolumeSpec::default().with_root(root))).await.unwrap();
    assert_eq!(made.outcome, Outcome::Done);
    let again = fixture.other().await.create(&name("a"), CreateOptions::default()).await.unwrap();
    assert_eq!((again.outcome, again.volume), (Outcome::Already, made.volume));
    assert_eq!(fs::metadata(fixture.tree(&name("a"))).unwrap().mode() & 0o7777, 0o2750);
    let parent = fixture.tree(&name("a")).parent().unwrap().to_owned();
    assert_eq!(fs::metadata(parent).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[tokio::test]
async fn an_empty_volume_costs_one_flush_and_two_fsyncs() {
    let fixture = Fixture::new().await;
    let (flushes, fsyncs) = (fixture.place.flushes.load(Relaxed), fixture.store.fsyncs());
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    assert_eq!(fixture.place.flushes.load(Relaxed) - flushes, 1);
    assert_eq!(fixture.store.fsyncs() - fsyncs, 2);
}

#[tokio::test]
async fn another_spec_or_source_is_a_conflict_field_by_field_and_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let before = fixture.everything();
    let spec = VolumeSpec::default().with_size_bytes(5_u64).with_lifetime(Lifetime::Attachment);
    let options = with(spec).with_source(Source::Volume(name("b")));
    let error = fixture.store.create(&name("a"), options).await.unwrap_err();
    let fields: Vec<_> = error.differences().iter().map(|d| d.field).collect();
    assert_eq!((error.kind(), fields), (ErrorKind::Conflict, vec!["size_bytes", "lifetime", "source"]));
    assert_eq!(fixture.everything(), before);
}

#[tokio::test]
async fn of_eight_creators_one_wins_and_nothing_of_the_others_is_left() {
    let fixture = Fixture::new().await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        let store = fixture.other().await;
        calls.push(tokio::spawn(async move { store.create(&name("a"), CreateOptions::default()).await }));
    }
    let mut reports = Vec::new();
    for call in calls {
        reports.push(call.await.unwrap().unwrap());
    }
    assert_eq!(reports.iter().filter(|r| r.outcome == Outcome::Done).count(), 1);
    assert!(reports.iter().all(|r| r.volume.id == reports[0].volume.id));
    let engine = &fixture.store.engine;
    assert_eq!(fs::read_dir(engine.layout.volumes()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(engine.layout.intents()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(engine.layout.removed()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_create_that_fails_leaves_nothing_and_a_missing_source_is_never_an_empty_volume() {
    let fixture = Fixture::new().await;
    let before = fixture.everything();
    let missing = fixture.dir.path().join("missing");
    for source in [
        Source::Volume(name("nobody")),
        Source::Directory { path: missing, import: Import::Copy },
        Source::Trashed(crate::VolumeId::mint(
            &crate::clock::SystemEnvironment,
            &crate::clock::SystemEnvironment,
        )),
    ] {
        let error = fixture.store.create(&name("a"), from(source)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
    fixture.place.at(Point::BeforeTree, || Err(Error::new(ErrorKind::Exhausted, "no space")));
    let error = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
    let left: Vec<_> = fixture.everything().into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_directory_is_copied_or_moved_and_a_bad_one_is_refused() {
    let fixture = Fixture::new().await;
    let path = directory(fixture.dir.path().join("src"));
    let link = fixture.dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let inside = directory(fixture.dir.path().join("store/volumes/x"));
    for bad in [link, inside.clone(), path.join("file"), fixture.dir.path().into(), "/".into(), "src".into()]
    {
        for import in [Import::Copy, Import::Move] {
            let options = from(Source::Directory { path: bad.clone(), import });
            let error = fixture.store.create(&name("bad"), options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{} {error}", bad.display());
        }
    }
    fs::remove_dir_all(inside).unwrap();
    let copy = from(Source::Directory { path: path.clone(), import: Import::Copy });
    fixture.store.create(&name("copied"), copy).await.unwrap();
    assert!(path.join("file").exists());
    let moved = from(Source::Directory { path: path.clone(), import: Import::Move });
    fixture.store.create(&name("moved"), moved.clone()).await.unwrap();
    assert!(!path.exists());
    for volume in ["copied", "moved"] {
        assert_eq!(fs::read(fixture.tree(&name(volume)).join("file")).unwrap(), b"content");
    }
    let again = fixture.store.create(&name("moved"), moved).await.unwrap();
    assert_eq!(again.outcome, Outcome::Already, "the source is not read again");
}

#[tokio::test]
async fn a_move_whose_name_was_taken_gives_the_directory_back() {
    let fixture = Fixture::new().await;
    let path = directory(fixture.dir.path().join("src"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
    let (rival, handle) = (fixture.other().await, tokio::runtime::Handle::current());
    fixture.place.at(Point::BeforeTree, move || {
        handle.block_on(rival.create(&name("a"), CreateOptions::default())).map(drop)
    });
    let spec = VolumeSpec::default().with_root(RootSpec::default().with_mode(0o700_u32));
    let options = with(spec).with_source(Source::Directory { path: path.clone(), import: Import::Move });
    let error = fixture.store.create(&name("a"), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(fs::read(path.join("file")).unwrap(), b"content");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o711);
}

#[tokio::test]
async fn a_clone_holds_what_the_volume_held() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    fs::write(fixture.tree(&name("a")).join("x"), b"1").unwrap();
    fixture.store.create(&name("b"), from(Source::Volume(name("a")))).await.unwrap();
    fs::write(fixture.tree(&name("a")).join("x"), b"2").unwrap();
    assert_eq!(fs::read(fixture.tree(&name("b")).join("x")).unwrap(), b"1");
}

#[tokio::test]
async fn a_deleted_volume_is_in_the_trash_and_its_name_is_free() {
    let fixture = Fixture::new().await;
    let first = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    fs::write(fixture.tree(&name("a")).join("x"), b"1").unwrap();
    let report = fixture.store.delete(&name("a"), DeleteOptions::default()).await.unwrap();
    assert_eq!((report.outcome, report.trashed.unwrap().id), (Outcome::Done, first.id.clone()));
    let again = fixture.store.delete(&name("a"), DeleteOptions::default()).await.unwrap();
    assert_eq!((again.outcome, again.trashed), (Outcome::Already, None));
    assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let second = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap().volume;
    assert_ne!(second.id, first.id);
    let trash = ListOptions::default().with_states(ListStates::Trashed);
    assert_eq!(fixture.names(trash.clone()).await, ["a"]);
    let back = from(Source::Trashed(first.id.clone()));
    let error = fixture.store.create(&name("a"), back.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let report = fixture.store.create(&name("b"), back.clone()).await.unwrap();
    assert_eq!((report.outcome, report.volume.id), (Outcome::Done, first.id));
    assert_eq!(fs::read(fixture.tree(&name("b")).join("x")).unwrap(), b"1");
    assert_eq!(fixture.store.create(&name("b"), back.clone()).await.unwrap().outcome, Outcome::Already);
    assert_eq!(fixture.store.create(&name("c"), back).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(fixture.names(trash).await.is_empty());
    assert_eq!(fixture.names(ListOptions::default()).await, ["a", "b"]);
}

#[tokio::test]
async fn bypassing_the_trash_leaves_no_byte() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let report = fixture.store.delete(&name("a"), bypass()).await.unwrap();
    assert_eq!((report.outcome, report.trashed), (Outcome::Done, None));
    let layout = &fixture.store.engine.layout;
    for empty in [layout.volumes(), layout.removed(), layout.intents()] {
        assert_eq!(fs::read_dir(empty).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_protected_volume_is_never_deleted_until_it_is_lifted() {
    let fixture = Fixture::new().await;
    let spec = VolumeSpec::default().with_protection(Protection::Protected);
    fixture.store.create(&name("a"), with(spec)).await.unwrap();
    for options in [DeleteOptions::default(), bypass()] {
        assert_eq!(fixture.store.delete(&name("a"), options).await.unwrap_err().kind(), ErrorKind::Denied);
    }
    let lift = UpdateOptions::default().with_protection(Protection::None);
    fixture.store.update(&name("a"), lift).await.unwrap();
    assert_eq!(fixture.store.delete(&name("a"), bypass()).await.unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn an_update_is_applied_whole_or_not_at_all() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let key = LabelKey::new("team").unwrap();
    let good = UpdateOptions::default().with_label(key.clone(), "blue").with_size_bytes(Some(9));
    let report = fixture.store.update(&name("a"), good.clone()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(fixture.store.update(&name("a"), good).await.unwrap().outcome, Outcome::Already);
    let bad = UpdateOptions::default().with_label(key.clone(), "x".repeat(5000)).with_size_bytes(Some(3));
    assert_eq!(fixture.store.update(&name("a"), bad).await.unwrap_err().kind(), ErrorKind::Invalid);
    let now = fixture.other().await.get(&name("a")).await.unwrap();
    assert_eq!((now.spec.labels[&key].as_str(), now.spec.size_bytes), ("blue", Some(9)));
    assert_eq!(fixture.place.limits.lock().unwrap().last(), Some(&Some(9)));
    let error = fixture.store.update(&name("b"), UpdateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_listing_is_in_order_filtered_paged_and_goes_on_after_an_unreadable_record() {
    let fixture = Fixture::new().await;
    let mut labels = crate::name::Labels::new();
    labels.insert(LabelKey::new("odd").unwrap(), "yes".into());
    for n in 0..6 {
        let mut spec = VolumeSpec::default();
        if n % 2 == 1 {
            spec = spec.with_labels(labels.clone());
        }
        fixture.store.create(&name(&format!("v{n}")), with(spec)).await.unwrap();
    }
    assert_eq!(fixture.names(ListOptions::default()).await, ["v0", "v1", "v2", "v3", "v4", "v5"]);
    let page = ListOptions::default().with_after("v1").with_limit(2_usize);
    assert_eq!(fixture.names(page).await, ["v2", "v3"]);
    assert_eq!(fixture.names(ListOptions::default().with_labels(labels)).await, ["v1", "v3", "v5"]);
    assert_eq!(fixture.names(ListOptions::default().with_limit(0_usize)).await, [""; 0]);
    fs::write(fixture.store.engine.locate(&name("v2")).unwrap().layout.records().join("1"), b"{").unwrap();
    let listed: Vec<_> = fixture.store.list(ListOptions::default()).collect().await;
    let kinds: Vec<_> = listed.iter().map(|item| item.as_ref().map_err(Error::kind).err()).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::Corrupt), None, None, None]);
}

#[tokio::test]
async fn a_name_whose_volume_is_gone_is_corrupt_and_never_free() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let root = fixture.store.engine.locate(&name("a")).unwrap().layout.root().to_owned();
    fs::rename(root, fixture.dir.path().join("away")).unwrap();
    assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let error = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(fixture.store.delete(&name("a"), bypass()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_deletion_that_was_killed_before_its_name_was_free_is_finished_by_who_comes() {
    let fixture = Fixture::new().await;
    let engine = &fixture.store.engine;
    let kill_after_the_record = async |volume: &VolumeName| {
        fixture.store.create(volume, CreateOptions::default()).await.unwrap();
        let located = engine.locate(volume).unwrap();
        let mut stored = located.stored.clone();
        let since = engine.now();
        let until = since.saturating_add(Duration::from_secs(60));
        stored.volume.state = crate::volume::VolumeState::Trashed { since, until };
        engine.publish(&located, &stored).unwrap();
        stored.volume.id
    };
    kill_after_the_record(&name("a")).await;
    assert_eq!(fixture.store.get(&name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let again = fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    assert_eq!(again.outcome, Outcome::Done);
    let id = kill_after_the_record(&name("b")).await;
    let report = fixture.store.delete(&name("b"), DeleteOptions::default()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Already);
    let back = fixture.store.create(&name("b"), from(Source::Trashed(id.clone()))).await.unwrap();
    assert_eq!((back.outcome, back.volume.id), (Outcome::Done, id));
    let id = kill_after_the_record(&name("c")).await;
    let back = fixture.store.create(&name("c"), from(Source::Trashed(id.clone()))).await.unwrap();
    assert_eq!((back.outcome, back.volume.id), (Outcome::Done, id));
}

#[tokio::test]
async fn a_store_opened_read_only_changes_nothing() {
    let fixture = Fixture::new().await;
    fixture.store.create(&name("a"), CreateOptions::default()).await.unwrap();
    let options = OpenOptions::default().with_mode(OpenMode::ReadOnly);
    let reader = fixture.place.open(&fixture.dir.path().join("store"), options).await.unwrap();
    let before = below(fixture.dir.path());
    assert_eq!(reader.get(&name("a")).await.unwrap().name, name("a"));
    let denied = [
        reader.create(&name("b"), CreateOptions::default()).await.unwrap_err(),
        reader.delete(&name("a"), bypass()).await.unwrap_err(),
        reader.update(&name("a"), UpdateOptions::default()).await.unwrap_err(),
    ];
    assert!(denied.iter().all(|e| e.kind() == ErrorKind::Denied), "{denied:?}");
    assert_eq!(below(fixture.dir.path()), before);
}

#[tokio::test]
async fn a_volume_is_made_from_a_snapshot_and_from_any_tree_and_says_so() {
    use crate::{SnapshotName, SnapshotOptions, volume::Origin};
    let fixture = Fixture::new().await;
    let (a, s) = (name("a"), SnapshotName::new("s").unwrap());
    let id = fixture.store.create(&a, CreateOptions::default()).await.unwrap().volume.id;
    fs::write(fixture.tree(&a).join("x"), b"1").unwrap();
    fixture.store.snapshot(&a, &s, SnapshotOptions::default()).await.unwrap();
    fs::write(fixture.tree(&a).join("x"), b"2").unwrap();
    let source = Source::Snapshot { volume: a.clone(), snapshot: s.clone() };
    let made = fixture.store.create(&name("b"), from(source.clone())).await.unwrap().volume;
    assert_eq!(made.origin, Origin::Snapshot { volume: id, snapshot: s.clone() });
    assert_eq!(fs::read(fixture.tree(&name("b")).join("x")).unwrap(), b"1");
    let tree = fixture.store.open_snapshot(&a, &s).await.unwrap();
    let made = fixture.store.create(&name("c"), from(Source::Tree(tree))).await.unwrap();
    assert_eq!(fs::read(fixture.tree(&name("c")).join("x")).unwrap(), b"1");
    assert_eq!(made.volume.origin, Origin::Tree);
    let missing = Source::Snapshot { volume: a.clone(), snapshot: SnapshotName::new("t").unwrap() };
    let error = fixture.store.create(&name("d"), from(missing)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let refused = fixture.store.delete(&a, DeleteOptions::default()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.differences()[0].field), (ErrorKind::Conflict, "snapshots"));
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn a_tree_without_a_directory_is_written_entry_by_entry_and_a_broken_one_leaves_nothing() {
    use crate::tree::{Entry, EntryKind, Metadata, TreePath, sample::MemoryTree};
    let fixture = Fixture::new().await;
    let metadata = Metadata { mode: 0o755, ..Metadata::default() };
    let root = Entry::new(TreePath::root(), EntryKind::Directory, metadata.clone());
    let file = EntryKind::File { size: 3, data: None };
    let file = Entry::new(TreePath::new("f").unwrap(), file, metadata);
    let entries = [root, file];
    let tree = MemoryTree::new(entries.clone()).with_content(TreePath::new("f").unwrap(), "abc");
    let made = fixture.store.create(&name("a"), from(Source::Tree(Arc::new(tree)))).await.unwrap();
    assert_eq!(made.imported.unwrap().bytes, 3);
    assert_eq!(fs::read(fixture.tree(&name("a")).join("f")).unwrap(), b"abc");
    let before = fixture.everything();
    let broken = MemoryTree::new(entries).with_content(TreePath::new("f").unwrap(), "a");
    let error = fixture.store.create(&name("b"), from(Source::Tree(Arc::new(broken)))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(fixture.everything(), before);
}

/// Prints what creating, finding and listing cost while a store grows. Run it with
/// `cargo test --release -p persist-core --features directory -- --ignored --nocapture grows`, `TMPDIR` on tmpfs.
#[tokio::test]
#[ignore = "a measurement"]
async fn a_store_grows() {
    let fixture = Fixture::new().await;
    for batch in 0..20 {
        let start = std::time::Instant::now();
        for n in 0..1000 {
            fixture.store.create(&name(&format!("v{batch}-{n}")), CreateOptions::default()).await.unwrap();
        }
        let created = start.elapsed();
        let start = std::time::Instant::now();
        for n in 0..1000 {
            fixture.store.get(&name(&format!("v{}-{n}", batch / 2))).await.unwrap();
        }
        println!(
            "{:>6} volumes: create {:?} get {:?}",
            (batch + 1) * 1000,
            created / 1000,
            start.elapsed() / 1000
        );
    }
    let start = std::time::Instant::now();
    let listed = fixture.names(ListOptions::default()).await.len();
    println!("list {listed}: {:?}", start.elapsed());
}
