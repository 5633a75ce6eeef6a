//! Sync: the barrier of durability.

use super::{bench::*, tree::*};
use crate::{AttachmentId, ErrorKind, SyncPolicy, clock::Clock, clock::SystemEnvironment};
use std::time::Duration;

pub(super) async fn what_was_synced_is_kept_when_the_process_goes(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    for tag in ["one", "two", "three"] {
        let tree = Tree::sample(tag);
        tree.replace(attachment.path());
        let before = bench.clock().now();
        let report = store.sync(&attachment.id, Default::default()).await.unwrap();
        assert!(report.cut >= before, "cut at {}, called at {before}", report.cut);
        tree.assert_at(attachment.path());
    }
    store.close().await.unwrap();
    let next = bench.store().await;
    let adopted = next.adopt(attachment.record(), Default::default()).await.unwrap();
    Tree::sample("three").assert_at(adopted.path());
}

pub(super) async fn sync_may_be_repeated_and_changes_nothing_on_record(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let before = Picture::of(&store).await;
    for _ in 0..10 {
        let report = store.sync(&attachment.id, Default::default()).await.unwrap();
        assert!(report.hooks.is_empty());
    }
    assert_eq!(Picture::of(&store).await, before);
}

pub(super) async fn what_is_not_attached_cannot_be_synced(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let unknown = AttachmentId::mint(&SystemEnvironment, &SystemEnvironment);
    let call = store.sync(&unknown, Default::default());
    refused_without_a_trace(&store, ErrorKind::NotFound, call).await;
}

pub(super) async fn a_sync_interval_of_nothing_is_invalid(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let options = holder("w").with_sync(SyncPolicy::Every(Duration::ZERO));
    let error =
        refused_without_a_trace(&store, ErrorKind::Invalid, store.attach(&volume("v"), options)).await;
    assert_eq!(error.field(), Some("sync"));
}

pub(super) async fn a_writer_cannot_be_refreshed(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let call = store.refresh(&attachment.id, Default::default());
    refused_without_a_trace(&store, ErrorKind::Invalid, call).await;
}
