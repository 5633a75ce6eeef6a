//! Leases that run out, where the place says so.

use super::world::{PLAIN, World, by};
use crate::{
    Access, ErrorKind, Liveness,
    attachment::{AdoptOptions, AttachmentRecord, DetachOptions},
    directory::DirectoryStore,
    lease::{LeaseState, Takeover},
    store::VolumeStore,
    volume::VolumeSpec,
};
use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};

/// So long that a machine under load looks often enough, and so short that nobody waits.
const LEASE: Duration = Duration::from_millis(400);

fn when_expired() -> crate::AttachOptions {
    by("next").with_takeover(Takeover::WhenExpired)
}

fn leasing() -> World {
    let world = World::new(PLAIN);
    *world.place.lease.lock().unwrap() = Some(LEASE);
    world
}

/// Returns once the holder of an attachment has given several signs of life.
async fn several_signs(store: &DirectoryStore, of: &AttachmentRecord) {
    let served = store.engine.locate(&of.volume_name).unwrap().layout.served(&of.id);
    let sign = || fs::read_to_string(&served).unwrap();
    let mut signs = vec![sign()];
    while signs.len() < 4 {
        tokio::task::yield_now().await;
        let now = sign();
        if signs.last() != Some(&now) {
            signs.push(now);
        }
    }
}

#[tokio::test]
async fn a_holder_that_gives_no_sign_of_life_is_taken_over_by_who_asks_for_that_and_waits() {
    let world = leasing();
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let first = here.attach(&v, by("a")).await.unwrap();
    // It is still attached; nobody serves it.
    here.close().await.unwrap();
    let refused = there.attach(&v, when_expired()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse, "one look proves nothing");
    assert!(refused.to_string().contains("500ms"), "{refused}");
    let patient = Duration::from_secs(600);
    let next = there.attach(&v, when_expired().with_wait(patient)).await.unwrap();
    assert!(next.epoch > first.epoch);
    assert_eq!(next.report().replaced, [(first.id.clone(), first.epoch)]);
    assert_eq!(world.under(&there, "attachments"), [next.id.to_string()]);
    // Who had it learns it, and disturbs nobody.
    let back = world.open("here").await;
    let lost = back.adopt(first.record(), AdoptOptions::default()).await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::Fenced);
    there.sync(&next.id, Default::default()).await.unwrap();
    there.detach(&next.id, DetachOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_holder_that_is_proven_alive_keeps_its_volume_though_it_gives_no_sign() {
    let world = leasing();
    let here = world.open("here").await;
    let v = world.volume(&here, VolumeSpec::default());
    here.attach(&v, by("a").with_liveness(Liveness::Process(None))).await.unwrap();
    here.close().await.unwrap();
    let patient = when_expired().with_wait(LEASE * 4);
    let refused = world.open("here").await.attach(&v, patient).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
}

#[tokio::test]
async fn who_does_not_ask_for_it_or_is_not_in_its_way_takes_nothing() {
    let world = leasing();
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let shared = |name| by(name).with_access(Access::SharedAcrossNodes);
    let first = here.attach(&v, shared("a")).await.unwrap();
    here.close().await.unwrap();
    let patient = LEASE * 4;
    let refused = there.attach(&v, by("b").with_wait(patient)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    let beside = shared("b").with_takeover(Takeover::WhenExpired).with_wait(patient);
    let beside = there.attach(&v, beside).await.unwrap();
    assert_eq!((beside.epoch, beside.report().replaced.len()), (first.epoch, 0));
}

#[tokio::test]
async fn a_holder_says_that_it_lives_and_who_is_refused_is_told_when_it_last_did() {
    let world = leasing();
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let first = here.attach(&v, by("a")).await.unwrap();
    several_signs(&here, &first).await;
    let refused = there.attach(&v, by("b")).await.unwrap_err();
    let seen = &refused.holders()[0];
    assert_eq!(seen.pid, Some(std::process::id()));
    assert!(seen.renewed.is_some_and(|renewed| renewed >= first.since), "{seen:?}");
    // A look that succeeds ends a doubt that a look has raised.
    let session = here.engine.served.get(&first.id).unwrap();
    here.engine.doubt_at_look(&session, &crate::Error::new(ErrorKind::Unavailable, "silent"));
    let mut watch = first.watch();
    while watch.state() != LeaseState::Held {
        watch.changed().await;
    }
}

#[tokio::test]
async fn a_holder_whose_detach_was_refused_after_a_restart_says_that_it_lives() {
    let world = leasing();
    let before = world.open("here").await;
    let v = world.volume(&before, VolumeSpec::default());
    let first = before.attach(&v, by("a")).await.unwrap();
    before.close().await.unwrap();
    let after = world.open("here").await;
    world.place.failing.store(1, SeqCst);
    let refused = after.detach(&first.id, DetachOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    several_signs(&after, &first).await;
    after.detach(&first.id, DetachOptions::default()).await.unwrap();
}
