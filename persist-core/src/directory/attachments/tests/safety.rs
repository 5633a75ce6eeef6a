//! Races and faults that must not cost anybody his data or his volume.

use super::world::{PLAIN, World, by};
use crate::{
    ErrorKind, Retry,
    attachment::{BusyFiles, DetachOptions},
    lease::{LeaseState, Vouch},
    progress::Meter,
    quiesce::SyncOptions,
    store::VolumeStore,
    volume::VolumeSpec,
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
