//! Detaching: synced, released, and never an accident.

use super::{bench::*, tree::*};
use crate::{AttachmentId, ErrorKind, LeaseState, Outcome, SyncPolicy, clock::SystemEnvironment};
use std::fs;

pub(super) async fn a_detached_volume_can_be_attached_by_anybody(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let tree = Tree::sample("one");
    made(&store, "v").await;
    let first = attached(&store, "v", "w").await;
    tree.write(first.path());
    let report = store.detach(&first.id, Default::default()).await.unwrap();
    assert_eq!((report.outcome, report.ended), (Outcome::Done, None));
    assert_eq!(attachments(&other).await, []);
    let second = attached(&other, "v", "another").await;
    tree.assert_at(second.path());
    assert_ne!(second.id, first.id);
}

pub(super) async fn detaching_again_succeeds(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    detached(&store, &attachment).await;
    let unknown = AttachmentId::mint(&SystemEnvironment, &SystemEnvironment);
    let before = Picture::of(&store).await;
    for _ in 0..10 {
        for (opening, id) in [(&store, &attachment.id), (&other, &attachment.id), (&store, &unknown)] {
            let report = opening.detach(id, Default::default()).await.unwrap();
            assert_eq!((report.outcome, report.synced), (Outcome::Already, None));
        }
    }
    assert_eq!(Picture::of(&store).await, before);
}

pub(super) async fn detaching_again_never_touches_the_next_attachment(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = attached(&store, "v", "w").await;
    detached(&store, &first).await;
    let second = attached(&store, "v", "w").await;
    assert_ne!(second.id, first.id);
    assert_eq!(store.detach(&first.id, Default::default()).await.unwrap().outcome, Outcome::Already);
    assert_eq!(attachments(&store).await, [second.record().clone()]);
    store.sync(&second.id, Default::default()).await.unwrap();
}

pub(super) async fn detaching_syncs_unless_the_policy_is_manual(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let report = store.detach(&attachment.id, Default::default()).await.unwrap();
    assert!(report.synced.is_some(), "detached without a sync");
    let manual = holder("w").with_sync(SyncPolicy::Manual);
    let attachment = store.attach(&volume("v"), manual).await.unwrap();
    assert_eq!(attachment.sync, SyncPolicy::Manual);
    fs::write(attachment.path().join("file"), "content").unwrap();
    let report = store.detach(&attachment.id, Default::default()).await.unwrap();
    assert_eq!(report.synced, None);
    assert_eq!(names(attached(&store, "v", "w").await.path()), ["file"]);
}

pub(super) async fn a_detached_handle_is_released(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let watch = attachment.watch();
    detached(&store, &attachment).await;
    assert_eq!((attachment.lease(), watch.state()), (LeaseState::Released, LeaseState::Released));
    refused(ErrorKind::NotFound, store.sync(&attachment.id, Default::default()).await);
    refused(ErrorKind::NotFound, store.refresh(&attachment.id, Default::default()).await);
}

pub(super) async fn of_several_detaches_one_does_it(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let calls = (0..8).map(|_| {
        let (store, id) = (store.clone(), attachment.id.clone());
        tokio::spawn(async move { store.detach(&id, Default::default()).await.unwrap().outcome })
    });
    let outcomes = futures::future::join_all(calls).await;
    let done = outcomes.into_iter().filter(|o| *o.as_ref().unwrap() == Outcome::Done).count();
    assert_eq!(done, 1);
    assert_eq!(attachments(&store).await, []);
}
