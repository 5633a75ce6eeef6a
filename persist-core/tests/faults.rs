//! The fault store fails the call it was told to, at the moment it was told to, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

use futures::TryStreamExt;
use persist_core::{
    CreateOptions, ErrorKind, Outcome, Retry, VolumeName, VolumeStore,
    testing::{Fault, FaultStore, Moment, TestStore},
    volume::ListOptions,
};

async fn faulty() -> (TestStore, FaultStore, VolumeName) {
    let store = TestStore::new().unwrap();
    let faulty = FaultStore::new(store.node("a").await.unwrap());
    (store, faulty, VolumeName::new("v").unwrap())
}

#[tokio::test]
async fn a_fault_before_a_call_keeps_it_from_the_store() {
    let (_store, faulty, name) = faulty().await;
    faulty.plan(Fault::next("create", Moment::Before));
    let error = faulty.create(&name, CreateOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    assert_eq!((error.operation(), error.target()), (Some("create"), Some("v")));
    assert_eq!(faulty.get(&name).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(faulty.create(&name, CreateOptions::default()).await.unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn a_fault_after_a_call_is_a_lost_answer() {
    let (_store, faulty, name) = faulty().await;
    faulty.plan(Fault::next("create", Moment::After));
    let error = faulty.create(&name, CreateOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
    assert_eq!(faulty.create(&name, CreateOptions::default()).await.unwrap().outcome, Outcome::Already);
}

#[tokio::test]
async fn the_chosen_call_fails_and_no_other() {
    let (_store, faulty, name) = faulty().await;
    faulty.plan(Fault::on_call(3, Moment::Before).with_error(ErrorKind::Exhausted, Retry::Never));
    faulty.plan(Fault::on_call(2, Moment::Before).of("get"));
    faulty.create(&name, CreateOptions::default()).await.unwrap();
    faulty.get(&name).await.unwrap();
    assert_eq!(faulty.pending().len(), 2);
    // Both are due now: the first one planned fires, the other with the next call of its kind.
    assert_eq!(faulty.get(&name).await.unwrap_err().kind(), ErrorKind::Exhausted);
    assert_eq!(faulty.get(&name).await.unwrap_err().kind(), ErrorKind::Unavailable);
    faulty.get(&name).await.unwrap();
    assert_eq!(faulty.pending(), []);
    assert_eq!(faulty.calls(), ["create", "get", "get", "get", "get"]);
}

#[tokio::test]
async fn a_list_fails_at_its_beginning_or_at_its_end() {
    let (_store, faulty, name) = faulty().await;
    faulty.create(&name, CreateOptions::default()).await.unwrap();
    for (moment, seen) in [(Moment::Before, 0), (Moment::After, 1)] {
        faulty.plan(Fault::next("list", moment));
        let mut list = faulty.list(ListOptions::default());
        for _ in 0..seen {
            assert_eq!(list.try_next().await.unwrap().unwrap().name, name);
        }
        assert_eq!(list.try_next().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(faulty.list(ListOptions::default()).try_next().await.unwrap().is_some());
}
