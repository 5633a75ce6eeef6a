//! Readers: pinned, live, refreshed.

use super::world::{MOUNTING, PLAIN, World, by};
use crate::{
    Access, ErrorKind,
    attachment::{AttachOptions, DetachOptions, Mounted, RefreshOptions, TargetKind},
    directory::MountMode,
    id::Epoch,
    snapshot::{Outcome, SnapshotName},
    store::VolumeStore,
    volume::VolumeSpec,
};
use std::fs;

fn pinned(workload: &str, snapshot: &str) -> AttachOptions {
    by(workload).with_access(Access::ReadOnly).with_snapshot(SnapshotName::new(snapshot).unwrap())
}

#[tokio::test]
async fn a_pinned_reader_never_gets_the_snapshots_own_files() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let tree = world.snapshot(&store, "s", "one", 1000);
    let writer = store.attach(&v, by("w")).await.unwrap();
    let reader = store.attach(&v, pinned("r", "s")).await.unwrap();
    assert_eq!((reader.epoch, reader.report().mounted), (writer.epoch, Mounted::No));
    assert!(reader.report().lag.is_some() && reader.report().remarks.len() == 1);
    assert_eq!(fs::read_to_string(reader.path().join("f")).unwrap(), "one");
    fs::write(reader.path().join("f"), "scribbled").unwrap();
    assert_eq!(fs::read_to_string(tree.join("f")).unwrap(), "one");
    assert_eq!(store.attach(&v, pinned("r", "s")).await.unwrap().path(), reader.path());
    let path = reader.path().to_owned();
    store.detach(&reader.id, DetachOptions::default()).await.unwrap();
    assert!(!path.exists() && tree.exists());
    assert!(world.under(&store, "views").is_empty());
    let missing = store.attach(&v, pinned("r", "none")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let live = store.attach(&v, by("r").with_access(Access::ReadOnly)).await.unwrap_err();
    assert_eq!(live.kind(), ErrorKind::Unsupported, "a live view cannot be enforced without mounts");
}

#[tokio::test]
async fn a_reader_is_mounted_read_only_where_mounts_are() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let tree = world.snapshot(&store, "s", "one", 1000);
    let target = world.outside("target");
    fs::create_dir(&target).unwrap();
    let pinned_here = store.attach(&v, pinned("p", "s")).await.unwrap();
    assert_eq!(world.place.mounted_at(pinned_here.path()), Some((tree.clone(), MountMode::ReadOnly)));
    let there = store.attach(&v, pinned("t", "s").with_target(&target)).await.unwrap();
    assert_eq!(there.path(), target);
    assert_eq!(world.place.mounted_at(&target), Some((tree, MountMode::ReadOnly)));
    let live = store.attach(&v, by("l").with_access(Access::ReadOnly)).await.unwrap();
    assert_eq!((live.report().mounted, live.report().lag), (Mounted::ReadOnly, None));
    let (_, mode) = world.place.mounted_at(live.path()).unwrap();
    assert_eq!((mode, live.epoch), (MountMode::ReadOnly, Epoch::ZERO));
    for reader in [pinned_here, there, live] {
        store.detach(&reader.id, DetachOptions::default()).await.unwrap();
    }
    assert!(world.place.mounts.lock().unwrap().is_empty());
    assert!(world.under(&store, "views").is_empty());
}

#[tokio::test]
async fn a_refreshed_reader_is_switched_and_the_older_tree_stays_until_the_next() {
    for capabilities in [PLAIN, MOUNTING] {
        let world = World::new(capabilities);
        let store = world.open("here").await;
        let v = world.volume(&store, VolumeSpec::default());
        let first = world.snapshot(&store, "s1", "one", 1000);
        let target = world.outside("link");
        let linked = pinned("r", "s1").with_target(&target).with_target_kind(TargetKind::Symlink);
        let reader = store.attach(&v, linked).await.unwrap();
        let before = fs::read_link(&target).unwrap();
        let same = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
        assert_eq!((same.outcome, same.shows.as_millisecond()), (Outcome::Already, 1000));
        world.snapshot(&store, "s2", "two", 2000);
        let newer = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
        assert_eq!((newer.outcome, newer.shows.as_millisecond()), (Outcome::Done, 2000));
        assert_eq!(newer.path, target);
        let after = fs::read_link(&target).unwrap();
        assert!(after != before && before.exists(), "the older tree stays where it was");
        let shown = |path: &std::path::Path| match world.place.mounted_at(path) {
            Some((tree, _)) => tree,
            None => path.to_owned(),
        };
        assert_eq!(fs::read_to_string(shown(&after).join("f")).unwrap(), "two");
        assert_eq!(fs::read_to_string(shown(&before).join("f")).unwrap(), "one");
        let named = RefreshOptions::default().with_snapshot(SnapshotName::new("s1").unwrap());
        store.refresh(&reader.id, named).await.unwrap();
        assert!(!before.exists() && after.exists() && first.exists());
        store.detach(&reader.id, DetachOptions::default()).await.unwrap();
        assert!(world.place.mounts.lock().unwrap().is_empty() && fs::symlink_metadata(&target).is_err());
        assert!(world.under(&store, "views").is_empty());
    }
}

#[tokio::test]
async fn only_a_pinned_reader_is_moved() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    world.snapshot(&store, "s", "one", 1000);
    let to = RefreshOptions::default().with_snapshot(SnapshotName::new("s").unwrap());
    let writer = store.attach(&v, by("w")).await.unwrap();
    let live = store.attach(&v, by("l").with_access(Access::ReadOnly)).await.unwrap();
    assert_eq!(
        store.refresh(&writer.id, RefreshOptions::default()).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(store.refresh(&live.id, to).await.unwrap_err().field(), Some("snapshot"));
    let still = store.refresh(&live.id, RefreshOptions::default()).await.unwrap();
    assert_eq!((still.outcome, still.path.as_path()), (Outcome::Already, live.path()));
}
