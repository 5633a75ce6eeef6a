//! What a new volume is made from.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Outcome, Result, Source, VolumeId,
    clock::SystemEnvironment,
    tree::Trust,
    volume::{CreateReport, Import, Origin},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::PathBuf,
};

pub(super) async fn a_missing_source_is_not_found_and_leaves_nothing(bench: Bench) {
    let store = bench.store().await;
    made(&store, "there").await;
    let unknown = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
    let mut missing = vec![
        Source::Volume(volume("missing")),
        Source::Directory { path: bench.free_path("missing"), import: Import::Copy },
        Source::Directory { path: bench.free_path("missing"), import: Import::Move },
        Source::Trashed(unknown),
    ];
    if claims(&store, Capabilities::SNAPSHOTS) {
        missing.push(Source::Snapshot { volume: volume("there"), snapshot: named("missing") });
        missing.push(Source::Snapshot { volume: volume("missing"), snapshot: named("missing") });
    }
    for source in missing {
        refused_without_a_trace(&store, ErrorKind::NotFound, made_from(&store, "v", source)).await;
    }
}

pub(super) async fn an_unusable_directory_is_refused_and_leaves_nothing(bench: Bench) {
    let store = bench.store().await;
    let directory = bench.directory("real");
    fs::write(bench.free_path("file"), "x").unwrap();
    symlink(&directory, bench.free_path("link")).unwrap();
    for import in [Import::Copy, Import::Move] {
        for path in ["file", "link"] {
            let source = Source::Directory { path: bench.free_path(path), import };
            let before = Picture::of(&store).await;
            let error = made_from(&store, "v", source).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Denied), "{path}: {error}");
            assert_eq!(Picture::of(&store).await, before);
        }
        let source = Source::Directory { path: PathBuf::from("relative"), import };
        refused_without_a_trace(&store, ErrorKind::Invalid, made_from(&store, "v", source)).await;
    }
    assert!(directory.is_dir() && bench.free_path("file").is_file());
}

pub(super) async fn a_copied_directory_stays_as_it_was(bench: Bench) {
    let store = bench.store().await;
    let (wanted, path) = (Tree::sample("one"), bench.directory("from"));
    wanted.write(&path);
    let source = Source::Directory { path: path.clone(), import: Import::Copy };
    let report = made_from(&store, "v", source).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(report.imported.unwrap().files, wanted.len());
    assert!(matches!(report.volume.origin, Origin::Directory(_)));
    wanted.assert_at(attached(&store, "v", "w").await.path());
    wanted.assert_at(&path);
}

pub(super) async fn a_moved_directory_becomes_the_volume(bench: Bench) {
    let store = bench.store().await;
    let (wanted, path) = (Tree::sample("one"), bench.directory("from"));
    wanted.write(&path);
    let source = Source::Directory { path: path.clone(), import: Import::Move };
    match made_from(&store, "v", source).await {
        Ok(_) => {
            wanted.assert_at(attached(&store, "v", "w").await.path());
            assert!(!path.exists() || names(&path).is_empty(), "moved, and still there");
        }
        // Where the store is on no filesystem of this host, nothing can be moved into it.
        error => {
            refused(ErrorKind::Unsupported, error);
            wanted.assert_at(&path);
            refused(ErrorKind::NotFound, store.get(&volume("v")).await);
        }
    }
}

pub(super) async fn any_tree_becomes_a_volume(bench: Bench) {
    let store = bench.store().await;
    let wanted = Tree::sample("one");
    let source = MemorySource::new(&wanted);
    let report = made_from(&store, "v", Source::Tree(source.clone())).await.unwrap();
    assert_eq!((report.imported.unwrap().files, report.volume.origin), (wanted.len(), Origin::Tree));
    wanted.assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn a_source_is_not_read_again_for_a_volume_that_is_there(bench: Bench) {
    let store = bench.store().await;
    let source = MemorySource::new(&Tree::sample("one"));
    made_from(&store, "v", Source::Tree(source.clone())).await.unwrap();
    let reads = source.reads();
    for _ in 0..10 {
        let again = made_from(&store, "v", Source::Tree(source.clone())).await.unwrap();
        assert_eq!((again.outcome, again.imported), (Outcome::Already, None));
    }
    assert_eq!(source.reads(), reads);
}

pub(super) async fn a_source_that_breaks_off_leaves_nothing(bench: Bench) {
    let store = bench.store().await;
    let wanted = Tree::sample("one");
    for entries in [0, 1, 5] {
        let broken = Source::Tree(MemorySource::failing(&wanted, entries));
        let before = Picture::of(&store).await;
        let error = made_from(&store, "v", broken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(Picture::of(&store).await, before);
    }
    made_from(&store, "v", Source::Tree(MemorySource::new(&wanted))).await.unwrap();
    wanted.assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn a_clone_has_its_origins_content_and_goes_its_own_way(bench: Bench) {
    let store = bench.store().await;
    let (one, two, three) = (Tree::sample("one"), Tree::sample("two"), Tree::sample("three"));
    let origin_record = made(&store, "origin").await;
    let origin = attached(&store, "origin", "w").await;
    one.write(origin.path());
    detached(&store, &origin).await;
    let report = made_from(&store, "clone", Source::Volume(volume("origin"))).await.unwrap();
    assert_eq!(report.volume.origin, Origin::Volume(origin_record.id.clone()));
    assert_ne!(report.volume.id, origin_record.id);
    let (clone, origin) = (attached(&store, "clone", "w").await, attached(&store, "origin", "w").await);
    one.assert_at(clone.path());
    two.replace(clone.path());
    one.assert_at(origin.path());
    three.replace(origin.path());
    two.assert_at(clone.path());
}

pub(super) async fn a_clone_stays_whole_when_its_origin_is_deleted_or_keeps_it(bench: Bench) {
    let store = bench.store().await;
    let one = Tree::sample("one");
    made_from(&store, "origin", Source::Tree(MemorySource::new(&one))).await.unwrap();
    made_from(&store, "clone", Source::Volume(volume("origin"))).await.unwrap();
    let bypass = crate::volume::DeleteOptions::default().with_trash(crate::volume::Trash::Bypass);
    if let Err(error) = store.delete(&volume("origin"), bypass).await {
        assert!(matches!(error.kind(), ErrorKind::InUse | ErrorKind::Conflict), "{error}");
        one.assert_at(attached(&store, "origin", "w").await.path());
    }
    let apply = crate::care::PruneOptions::default().with_mode(crate::care::PruneMode::Apply);
    store.prune(apply).await.unwrap();
    one.assert_at(attached(&store, "clone", "w").await.path());
}

pub(super) async fn a_volume_from_a_snapshot_is_that_tree(bench: Bench) {
    let store = bench.store().await;
    let record = made(&store, "origin").await;
    let source = || Source::Snapshot { volume: volume("origin"), snapshot: named("s") };
    if !claims(&store, Capabilities::SNAPSHOTS) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, made_from(&store, "v", source())).await;
        return;
    }
    let (one, two) = (Tree::sample("one"), Tree::sample("two"));
    let origin = attached(&store, "origin", "w").await;
    one.write(origin.path());
    store.snapshot(&volume("origin"), &named("s"), Default::default()).await.unwrap();
    two.replace(origin.path());
    let report = made_from(&store, "v", source()).await.unwrap();
    assert_eq!(report.volume.origin, Origin::Snapshot { volume: record.id, snapshot: named("s") });
    let clone = attached(&store, "v", "w").await;
    one.assert_at(clone.path());
    two.replace(clone.path());
    let kept = store.open_snapshot(&volume("origin"), &named("s")).await.unwrap();
    Tree::of(&*kept).await.assert_is(&one);
}

pub(super) async fn a_tree_is_believed_only_where_the_caller_says_so(bench: Bench) {
    let (store, from) = (bench.store().await, bench.directory("from"));
    fs::write(from.join("su"), "x").unwrap();
    fs::set_permissions(from.join("su"), Permissions::from_mode(SET_ID)).unwrap();
    let tree = Tree::read(&from);
    let mut sources: Vec<(Source, Trust)> = vec![
        (Source::Directory { path: from, import: Import::Copy }, Trust::Faithful),
        (Source::Tree(MemorySource::new(&tree)), Trust::Untrusted),
    ];
    if claims(&store, Capabilities::SNAPSHOTS) {
        made(&store, "origin").await;
        tree.write(attached(&store, "origin", "w").await.path());
        store.snapshot(&volume("origin"), &named("s"), Default::default()).await.unwrap();
        let snapshot = store.open_snapshot(&volume("origin"), &named("s")).await.unwrap();
        sources.push((Source::Tree(snapshot), Trust::Untrusted));
    }
    for (number, (source, usual)) in sources.into_iter().enumerate() {
        for (trust, is) in [
            (None, usual),
            (Some(Trust::Untrusted), Trust::Untrusted),
            (Some(Trust::Faithful), Trust::Faithful),
        ] {
            let name = format!("v{number}-{trust:?}");
            let mut options = CreateOptions::default().with_source(source.clone());
            options.trust = trust;
            let report = store.create(&volume(&name.replace(['(', ')'], "")), options).await.unwrap();
            assert_eq!(report.remarks.is_empty(), is == Trust::Faithful, "{name}: {:?}", report.remarks);
            let attachment = attached(&store, report.volume.name.as_str(), "w").await;
            let mode = fs::metadata(attachment.path().join("su")).unwrap().mode() & 0o7777;
            assert_eq!(mode, if is == Trust::Faithful { SET_ID } else { 0o755 }, "{name}");
        }
    }
    let nothing = CreateOptions::default().with_trust(Trust::Faithful);
    refused_without_a_trace(&store, ErrorKind::Invalid, store.create(&volume("v"), nothing)).await;
}

/// A program that runs as its owner.
const SET_ID: u32 = 0o4755;

async fn made_from(store: &Store, name: &str, source: Source) -> Result<CreateReport> {
    store.create(&volume(name), CreateOptions::default().with_source(source)).await
}
