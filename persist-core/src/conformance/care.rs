//! Looking after a store: usage, verification, health.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Source,
    care::{HealthStatus, UsageOptions, VerifyOptions, View},
};
use std::fs;

/// Bytes that no store makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

pub(super) async fn usage_counts_what_is_there(bench: Bench) {
    let store = bench.store().await;
    let nothing = store.usage(UsageOptions::default()).await.unwrap();
    assert_eq!((nothing.volume_bytes, nothing.snapshot_bytes, nothing.reclaimable_bytes), (0, 0, 0));
    made(&store, "small").await;
    made(&store, "large").await;
    let large = attached(&store, "large", "w").await;
    fs::write(large.path().join("data"), noise(1 << 20)).unwrap();
    fs::File::create(large.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    store.sync(&large.id, Default::default()).await.unwrap();
    let usage =
        async |name: &str| store.usage(UsageOptions::default().with_volume(volume(name))).await.unwrap();
    let (small, large_usage) = (usage("small").await, usage("large").await);
    assert!(large_usage.volume_bytes >= 1 << 20 && large_usage.volume_bytes < 1 << 30, "{large_usage:?}");
    assert!(small.volume_bytes < 1 << 20, "{small:?}");
    assert_eq!((small.files, large_usage.files), (1, 3));
    let whole = store.usage(UsageOptions::default()).await.unwrap();
    assert_eq!(whole.files, 4);
    detached(&store, &large).await;
    store.delete(&volume("large"), Default::default()).await.unwrap();
    let after = store.usage(UsageOptions::default()).await.unwrap();
    assert!(after.reclaimable_bytes >= 1 << 20 && after.volume_bytes < 1 << 20, "{after:?}");
}

pub(super) async fn usage_of_a_snapshot_is_counted_apart(bench: Bench) {
    let store = bench.store().await;
    let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&Tree::sample("one"))));
    store.create(&volume("v"), options).await.unwrap();
    let (v, s) = (volume("v"), named("s"));
    let call = store.snapshot(&v, &s, Default::default());
    if !claims(&store, Capabilities::SNAPSHOTS) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    call.await.unwrap();
    let usage = store.usage(UsageOptions::default().with_volume(v.clone())).await.unwrap();
    assert!(usage.snapshot_bytes >= 100_000 || claims(&store, Capabilities::INSTANT_SNAPSHOTS), "{usage:?}");
    assert_eq!(usage.files, Tree::sample("one").len());
}

pub(super) async fn a_sound_store_has_no_faults_and_is_not_changed_by_looking(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
    store.create(&volume("v"), options).await.unwrap();
    let attachment = attached(&store, "v", "w").await;
    if claims(&store, Capabilities::SNAPSHOTS) {
        store.snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap();
    }
    let before = Picture::of(&store).await;
    for options in [VerifyOptions::default(), VerifyOptions::default().with_volume(volume("v"))] {
        let report = store.verify(options).await.unwrap();
        assert_eq!(report.faults, []);
        assert!(report.files >= tree.len() - 1 && report.bytes >= 100_000, "{report:?}");
    }
    assert_eq!(Picture::of(&store).await, before);
    tree.assert_at(attachment.path());
}

pub(super) async fn an_unknown_volume_is_neither_counted_nor_verified(bench: Bench) {
    let store = bench.store().await;
    let usage = store.usage(UsageOptions::default().with_volume(volume("unknown")));
    refused_without_a_trace(&store, ErrorKind::NotFound, usage).await;
    let verify = store.verify(VerifyOptions::default().with_volume(volume("unknown")));
    refused_without_a_trace(&store, ErrorKind::NotFound, verify).await;
}

pub(super) async fn health_tells_the_stores_view_and_the_nodes_view_apart(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let before = Picture::of(&store).await;
    let health = store.health().await.unwrap();
    assert!(health.iter().any(|statement| statement.view == View::Store), "{health:?}");
    assert!(health.iter().any(|statement| matches!(statement.view, View::Node { .. })), "{health:?}");
    for statement in &health {
        assert_ne!(statement.status, HealthStatus::Bad, "{statement:?}");
        assert!(!statement.reason.is_empty() && !statement.reason.contains(' '), "{statement:?}");
        assert!(!statement.message.is_empty() && !statement.message.contains('\n'), "{statement:?}");
    }
    assert_eq!(Picture::of(&store).await, before);
}
