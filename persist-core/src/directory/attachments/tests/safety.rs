//! Races and faults that must not cost anybody his data or his volume.

use super::{
    super::served::{Serving, serve},
    world::{PLAIN, World, by},
};
use crate::{
    Access, ErrorKind, Retry,
    attachment::{BusyFiles, DetachOptions, RefreshOptions},
    directory::exclusion::{Exclusion, Hold},
    lease::{LeaseState, Vouch},
    progress::Meter,
    quiesce::SyncOptions,
    snapshot::{Outcome, SnapshotName},
    store::VolumeStore,
    volume::{DeleteOptions, Trash, VolumeSpec},
};
use std::fs;

/// Adopted between the two steps of a detach by a vouch: the vouch is about an epoch that is over.
#[tokio::test]
async fn a_vouch_never_ends_an_attachment_that_was_adopted_since() {
    let world = World::new(PLAIN);
    let (first, vouching) = (world.open("here").await, world.open("here").await);
    let v = world.volume(&first, VolumeSpec::default());
    let held = first.attach(&v, by("w")).await.unwrap();
    let vouch = Vouch::new(held.id.clone(), held.epoch, "it hangs");
    let meter = Meter::default();
    let leaving = vouching.engine.begin_detach(&held.id, Some(&vouch), &meter).unwrap().unwrap();
    first.close().await.unwrap();
    let third = world.open("here").await;
    let adopted = third.attach(&v, by("w")).await.unwrap();
    assert!(adopted.epoch > held.epoch && adopted.id == held.id);
    let ended = vouching.engine.finish_detach(&held.id, &leaving, BusyFiles::Lazy, &meter);
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::InUse);
    third.sync(&adopted.id, SyncOptions::default()).await.unwrap();
}

/// It may have been cut off, and lost its exclusion unnoticed: what it decided is of a volume that was another's since.
#[tokio::test]
async fn who_finds_that_another_took_the_next_epoch_does_not_take_a_higher_one() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let before = store.engine.locate(&v).unwrap();
    let held = store.attach(&v, by("w")).await.unwrap();
    let late = crate::id::AttachmentId::parse("00000000-0000-7000-8000-000000000000").unwrap();
    let lost = store.engine.mint_epoch(&before, &late).unwrap_err();
    assert_eq!((lost.kind(), lost.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{lost}");
    assert_eq!(store.engine.newest_epoch(&before.layout).unwrap(), held.epoch);
    store.sync(&held.id, SyncOptions::default()).await.unwrap();
}

#[tokio::test]
async fn an_epoch_that_none_can_follow_is_corrupt() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let layout = store.engine.locate(&v).unwrap().layout;
    fs::write(layout.epochs().join(u64::MAX.to_string()), "{}").unwrap();
    let refused = store.attach(&v, by("w")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert_eq!(world.under(&store, "attachments"), [""; 0]);
}

/// An unmounted filesystem takes nothing over, and nothing is detached from it.
#[tokio::test]
async fn a_store_that_is_gone_for_a_while_fences_nobody_and_is_never_detached_from() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let held = store.attach(&v, by("w")).await.unwrap();
    fs::rename(world.root(), world.outside("elsewhere")).unwrap();
    for root_is_there in [false, true] {
        if root_is_there {
            // The bare mount point.
            fs::create_dir(world.root()).unwrap();
        }
        let synced = store.sync(&held.id, SyncOptions::default()).await.unwrap_err();
        assert_eq!((synced.kind(), synced.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{synced}");
        assert!(matches!(held.lease(), LeaseState::Unconfirmed { .. }), "{:?}", held.lease());
        store.detach(&held.id, DetachOptions::default()).await.unwrap_err();
        let stranger = crate::id::AttachmentId::parse("00000000-0000-7000-8000-000000000000").unwrap();
        store.detach(&stranger, DetachOptions::default()).await.unwrap_err();
    }
    fs::remove_dir(world.root()).unwrap();
    fs::rename(world.outside("elsewhere"), world.root()).unwrap();
    store.sync(&held.id, SyncOptions::default()).await.unwrap();
    assert_eq!(held.lease(), LeaseState::Held);
    let detached = store.detach(&held.id, DetachOptions::default()).await.unwrap();
    assert!(detached.synced.is_some());
}

/// What a killed refresh left is in nobody's way, and is never shown.
#[tokio::test]
async fn a_refresh_that_was_killed_after_its_copy_is_repeated() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    world.snapshot(&store, "s1", "one", 1000);
    let pinned = by("r").with_access(Access::ReadOnly).with_snapshot(SnapshotName::new("s1").unwrap());
    let reader = store.attach(&v, pinned).await.unwrap();
    let left = reader.path().with_file_name("2");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("half"), "").unwrap();
    world.snapshot(&store, "s2", "two", 2000);
    let newer = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
    assert_eq!(fs::read_to_string(newer.path.join("f")).unwrap(), "two");
    assert!(!newer.path.join("half").exists());
    assert_eq!(world.under(&store, &format!("views/{}", reader.id)), ["1", "2"], "and no draft");
}

/// A reader's copy is made without the volume's exclusion, so it may begin after prune has looked.
#[tokio::test]
async fn what_somebody_began_since_prune_looked_is_not_cleared_away() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let layout = store.engine.locate(&v).unwrap().layout;
    let id = crate::id::AttachmentId::parse("00000000-0000-7000-8000-000000000000").unwrap();
    fs::create_dir_all(layout.views_of(&id).join("1")).unwrap();
    let meter = Meter::default();
    let held = Exclusion::take(&layout.served(&id), Hold::Alone, &meter).unwrap();
    store.engine.remove_stray_attachment(&layout, &id, &meter).unwrap();
    assert!(layout.views_of(&id).exists() && layout.served(&id).exists());
    drop(held);
    store.engine.remove_stray_attachment(&layout, &id, &meter).unwrap();
    assert!(!layout.views_of(&id).exists() && !layout.served(&id).exists());
}

/// Prune, and who is told of a holder, look at the file for a moment.
#[tokio::test]
async fn who_finds_an_attachment_locked_looks_again_before_it_is_another_ones() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let layout = store.engine.locate(&v).unwrap().layout;
    let id = crate::id::AttachmentId::parse("00000000-0000-7000-8000-000000000000").unwrap();
    let looking = Exclusion::attempt(&layout.served(&id), Hold::Shared).unwrap().unwrap();
    let stopped = serve(&layout, &id, &Meter::stopping_at(3)).unwrap_err();
    assert_eq!(stopped.kind(), ErrorKind::Unavailable, "it did not look four times: {stopped}");
    assert!(matches!(serve(&layout, &id, &Meter::default()).unwrap(), Serving::Another(_)));
    drop(looking);
    assert!(matches!(serve(&layout, &id, &Meter::default()).unwrap(), Serving::Ours(_)));
}

/// Fenced, and then even the volume went: there is nothing left to detach from.
#[tokio::test]
async fn a_fenced_holder_detaches_from_a_volume_that_was_removed_since() {
    let world = World::new(PLAIN);
    let (first, second) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&first, VolumeSpec::default());
    let held = first.attach(&v, by("w")).await.unwrap();
    let vouch = Vouch::new(held.id.clone(), held.epoch, "cut off");
    second.detach(&held.id, DetachOptions::default().with_vouch(vouch)).await.unwrap();
    second.delete(&v, DeleteOptions::default().with_trash(Trash::Bypass)).await.unwrap();
    let detached = first.detach(&held.id, DetachOptions::default()).await.unwrap();
    assert_eq!(detached.outcome, Outcome::Already);
}
