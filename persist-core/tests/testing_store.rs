//! The testing store, as a program that embeds persist uses it in its tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

use persist_core::{
    Access, AttachOptions, Capabilities, ErrorKind, LeaseState, SnapshotName, VolumeName, Workload,
    testing::TestStore,
};

fn volume() -> VolumeName {
    VolumeName::new("v").unwrap()
}

fn workload(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(name).unwrap())
}

#[tokio::test]
async fn a_volume_that_is_taken_over_fences_its_holder_and_comes_back() {
    let test = TestStore::new().unwrap();
    let store = test.node("a").await.unwrap();
    store.create(&volume(), Default::default()).await.unwrap();
    let mine = store.attach(&volume(), workload("w")).await.unwrap();
    let by = test.take_over(&volume()).await.unwrap();
    assert!(by > mine.epoch);
    let error = store.sync(&mine.id, Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(mine.lease(), LeaseState::Fenced { by, salvage: None });
    test.give_back(&volume()).await.unwrap();
    assert!(store.attach(&volume(), workload("w")).await.unwrap().epoch > by);
}

#[tokio::test]
async fn every_claim_is_fenced_by_a_take_over() {
    let test = TestStore::new().unwrap();
    let store = test.node("a").await.unwrap();
    store.create(&volume(), Default::default()).await.unwrap();
    let mut claims = Vec::new();
    for name in ["one", "two", "three"] {
        let options = workload(name).with_access(Access::SharedOnNode);
        claims.push(store.attach(&volume(), options).await.unwrap());
    }
    test.take_over(&volume()).await.unwrap();
    for claim in claims {
        let error = store.sync(&claim.id, Default::default()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Fenced | ErrorKind::NotFound), "{error}");
    }
}

#[tokio::test]
async fn what_a_test_does_not_claim_is_refused() {
    let test = TestStore::new().unwrap().with_capabilities(Capabilities::SHARED_ON_NODE);
    let store = test.node("a").await.unwrap();
    assert_eq!(store.info().capabilities, Capabilities::SHARED_ON_NODE);
    store.create(&volume(), Default::default()).await.unwrap();
    let snapshot = SnapshotName::new("s").unwrap();
    let error = store.snapshot(&volume(), &snapshot, Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_node_is_opened_once_and_the_same_ids_are_minted_in_every_run() {
    let mut ids = Vec::new();
    for _ in 0..2 {
        let test = TestStore::new().unwrap();
        test.clock().set(persist_core::clock::Timestamp::from_millisecond(0));
        let store = test.node("a").await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&store, &test.node("a").await.unwrap()));
        ids.push(store.info().id.clone());
    }
    assert_eq!(ids[0], ids[1]);
}
