//! Snapshots of a store on a directory, seen by two openings at once, with trees that have everything an
//! unprivileged user can make.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test crate")]

use futures::TryStreamExt;
use persist_core::{
    CreateOptions, ErrorKind, Outcome, SnapshotName, SnapshotOptions, Source, VolumeName, VolumeStore,
    snapshot::{Replaced, RestoreOptions},
    testing::TestStore,
    tree::{CompareOptions, DirectoryTree, TreeSource, compare},
    volume::{Import, ListOptions},
};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A testing store with two openings, and the volume `v` with the tree `one`.
struct Two {
    test: TestStore,
    here: Arc<dyn VolumeStore>,
    there: Arc<dyn VolumeStore>,
    v: VolumeName,
}

impl Two {
    async fn new() -> Self {
        let test = TestStore::new().unwrap();
        let (here, there) = (test.node("here").await.unwrap(), test.node("there").await.unwrap());
        let two = Self { test, here, there, v: VolumeName::new("v").unwrap() };
        let path = two.tree("one");
        let source = Source::Directory { path, import: Import::Copy };
        let options = CreateOptions::default().with_source(source);
        two.here.create(&two.v, options).await.unwrap();
        two
    }

    /// Makes a tree beside the store.
    fn tree(&self, tag: &str) -> PathBuf {
        let root = self.test.scratch().join(tag);
        let dir = root.join("dir");
        fs::create_dir_all(&dir).unwrap();
        fs::write(root.join("hello"), tag).unwrap();
        fs::hard_link(root.join("hello"), dir.join("again")).unwrap();
        let sparse = fs::File::create(dir.join("sparse")).unwrap();
        sparse.write_at(tag.as_bytes(), 1 << 20).unwrap();
        sparse.set_len(3 << 20).unwrap();
        symlink(format!("nowhere/{tag}"), root.join("dangling")).unwrap();
        fs::create_dir(root.join(format!("only-{tag}"))).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o2750)).unwrap();
        root
    }

    async fn assert_snapshot(&self, name: &str, tree: &Path) {
        let source = self.there.open_snapshot(&self.v, &named(name)).await.unwrap();
        assert_same(source, tree).await;
    }

    async fn names(&self) -> Vec<String> {
        let listed = self.there.snapshots(&self.v, ListOptions::default());
        let records: Vec<_> = listed.try_collect().await.unwrap();
        records.into_iter().map(|record| record.name.to_string()).collect()
    }
}

fn named(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

async fn assert_same(source: Arc<dyn TreeSource>, tree: &Path) {
    let tree = Arc::new(DirectoryTree::open(tree).unwrap());
    let changes: Vec<_> = compare(source, tree, CompareOptions::exact()).try_collect().await.unwrap();
    assert!(changes.is_empty(), "{changes:#?}");
}

#[tokio::test]
async fn a_snapshot_of_one_opening_is_whole_in_the_other() {
    let two = Two::new().await;
    let report = two.here.snapshot(&two.v, &named("s"), SnapshotOptions::default()).await.unwrap();
    assert_eq!(two.names().await, ["s"]);
    two.assert_snapshot("s", &two.test.scratch().join("one")).await;
    let again = two.there.snapshot(&two.v, &named("s"), SnapshotOptions::default()).await.unwrap();
    assert_eq!((again.outcome, again.record), (Outcome::Already, report.record));
}

#[tokio::test]
async fn what_one_opening_reads_the_other_does_not_remove() {
    let two = Two::new().await;
    two.here.snapshot(&two.v, &named("s"), SnapshotOptions::default()).await.unwrap();
    let source = two.here.open_snapshot(&two.v, &named("s")).await.unwrap();
    let delete = || async { two.there.delete_snapshot(&two.v, &named("s"), Default::default()).await };
    assert_eq!(delete().await.unwrap_err().kind(), ErrorKind::InUse);
    assert_same(Arc::clone(&source), &two.test.scratch().join("one")).await;
    drop(source);
    assert_eq!(delete().await.unwrap(), Outcome::Done);
    assert_eq!(two.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_clone_is_the_tree_of_its_snapshot_and_stays_when_that_goes() {
    let two = Two::new().await;
    two.here.snapshot(&two.v, &named("s"), SnapshotOptions::default()).await.unwrap();
    let clone = VolumeName::new("clone").unwrap();
    let source = Source::Snapshot { volume: two.v.clone(), snapshot: named("s") };
    two.there.create(&clone, CreateOptions::default().with_source(source)).await.unwrap();
    two.here.delete_snapshot(&two.v, &named("s"), Default::default()).await.unwrap();
    two.here.snapshot(&clone, &named("t"), SnapshotOptions::default()).await.unwrap();
    let source = two.there.open_snapshot(&clone, &named("t")).await.unwrap();
    assert_same(source, &two.test.scratch().join("one")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_restores_at_once_each_keeps_what_it_replaced_or_finds_it_done() {
    let two = Two::new().await;
    two.here.snapshot(&two.v, &named("s"), SnapshotOptions::default()).await.unwrap();
    let s = named("s");
    let calls = (0..8).map(|n| {
        let store = if n % 2 == 0 { &two.here } else { &two.there };
        store.restore(&two.v, &s, RestoreOptions::default())
    });
    let reports = futures::future::try_join_all(calls).await.unwrap();
    let kept: Vec<_> = reports.iter().filter_map(|report| report.replaced.clone()).collect();
    assert_eq!(reports.iter().filter(|report| report.outcome == Outcome::Done).count(), 1);
    assert_eq!(two.names().await, [kept[0].as_str(), "s"]);
    two.assert_snapshot(kept[0].as_str(), &two.test.scratch().join("one")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_restores_and_deletions_at_once_never_show_half_a_tree() {
    let two = Two::new().await;
    let one = two.test.scratch().join("one");
    // Two, in turn: the same one again would be there already.
    let bases = [named("base-0"), named("base-1")];
    for base in &bases {
        two.here.snapshot(&two.v, base, SnapshotOptions::default()).await.unwrap();
    }
    for round in 0..6 {
        let (name, base) = (named(&format!("s{round}")), &bases[round % 2]);
        let options = RestoreOptions::default().with_replaced(Replaced::Discard);
        let (taken, restored, deleted) = tokio::join!(
            two.here.snapshot(&two.v, &name, SnapshotOptions::default()),
            two.there.restore(&two.v, base, options),
            two.there.delete_snapshot(&two.v, &name, Default::default()),
        );
        taken.unwrap();
        assert_eq!(restored.unwrap().outcome, Outcome::Done);
        // Deleted before it was there, or after.
        let there = deleted.unwrap() == Outcome::Already;
        assert_eq!(two.names().await.contains(&name.to_string()), there);
        if there {
            two.assert_snapshot(name.as_str(), &one).await;
        }
        two.assert_snapshot(base.as_str(), &one).await;
    }
}
