//! Claims: many workloads of one node, or of many nodes, in one volume.

use super::{bench::*, tree::*};
use crate::{Access, AttachOptions, Attachment, Capabilities, ErrorKind, Fencing, Outcome};
use std::fs;

pub(super) async fn claims_of_a_node_share_one_directory_and_one_epoch(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ON_NODE).await else { return };
    let one = claim(&store, "one").await;
    let two = claim(&store, "two").await;
    assert_ne!(one.id, two.id);
    assert_eq!((one.epoch, &one.volume), (two.epoch, &two.volume));
    fs::write(one.path().join("from-one"), "1").unwrap();
    fs::write(two.path().join("from-two"), "2").unwrap();
    assert_eq!(names(one.path()), ["from-one", "from-two"]);
    assert_eq!(fs::read(two.path().join("from-one")).unwrap(), b"1");
    let mut both = [one.record().clone(), two.record().clone()];
    // Two ids of one millisecond are in any order.
    both.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(attachments(&store).await, both);
}

pub(super) async fn claims_come_and_go_on_their_own(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ON_NODE).await else { return };
    let one = claim(&store, "one").await;
    let two = claim(&store, "two").await;
    let again = claim(&store, "one").await;
    assert_eq!((again.record(), again.report().outcome), (one.record(), Outcome::Already));
    detached(&store, &one).await;
    fs::write(two.path().join("after"), "x").unwrap();
    store.sync(&two.id, Default::default()).await.unwrap();
    refused(ErrorKind::NotFound, store.sync(&one.id, Default::default()).await);
    refused(ErrorKind::InUse, store.attach(&volume("v"), holder("alone")).await);
    detached(&store, &two).await;
    let alone = attached(&store, "v", "alone").await;
    assert_eq!(names(alone.path()), ["after"]);
}

pub(super) async fn only_the_first_claim_moves_the_epoch(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ON_NODE).await else { return };
    let mut last = store.get(&volume("v")).await.unwrap().epoch;
    for _ in 0..5 {
        let first = claim(&store, "first").await;
        assert!(first.epoch > last);
        last = first.epoch;
        for n in 0..5 {
            let more = claim(&store, &format!("more-{n}")).await;
            assert_eq!(more.epoch, last);
            if n > 0 {
                detached(&store, &more).await;
            }
        }
        // The last one that is left was not the first one that came.
        detached(&store, &first).await;
        assert_eq!(claim(&store, "more-0").await.epoch, last);
        assert_eq!(store.get(&volume("v")).await.unwrap().epoch, last);
        detached(&store, &claim(&store, "more-0").await).await;
    }
}

pub(super) async fn a_claim_of_another_node_is_refused(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ON_NODE).await else { return };
    let other = bench.open("b").await;
    let (one, two) = (claim(&store, "one").await, claim(&store, "two").await);
    let call = async { other.attach(&volume("v"), on_node("three")).await };
    let error = refused_without_a_trace(&other, ErrorKind::InUse, call).await;
    let mut held: Vec<_> = error.holders().iter().map(|seen| seen.attachment.clone()).collect();
    held.sort();
    let mut wanted = vec![one.id.clone(), two.id.clone()];
    wanted.sort();
    // Behind a commit gate other nodes see the lease, which one holder of the node has for all of them.
    match store.info().characteristics.fencing {
        Fencing::CommitGate => {
            assert!(held.len() == 1 && wanted.contains(&held[0]), "no holder is named: {error}")
        }
        _ => assert_eq!(held, wanted, "all holders are named: {error}"),
    }
    detached(&store, &one).await;
    refused(ErrorKind::InUse, other.attach(&volume("v"), on_node("three")).await);
    detached(&store, &two).await;
    assert_eq!(other.attach(&volume("v"), on_node("three")).await.unwrap().holder.node.id.as_str(), "b");
}

/// Two processes of one node: together where the store can, else the second is told who serves.
pub(super) async fn two_processes_of_a_node_share_or_the_second_is_told(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ON_NODE).await else { return };
    let second = bench.store().await;
    let one = claim(&store, "one").await;
    fs::write(one.path().join("from-one"), "1").unwrap();
    match second.attach(&volume("v"), on_node("two")).await {
        Ok(two) => {
            assert_eq!(two.epoch, one.epoch);
            fs::write(two.path().join("from-two"), "2").unwrap();
            assert_eq!(names(one.path()), ["from-one", "from-two"]);
            detached(&store, &one).await;
            second.sync(&two.id, Default::default()).await.unwrap();
            assert_eq!(names(two.path()), ["from-one", "from-two"]);
        }
        error => {
            let error = refused(ErrorKind::InUse, error);
            assert_eq!(error.holders()[0].attachment, one.id);
        }
    }
}

pub(super) async fn nodes_share_a_volume_where_the_store_is_coherent(bench: Bench) {
    let Some(store) = shared(&bench, Capabilities::SHARED_ACROSS_NODES).await else { return };
    let other = bench.open("b").await;
    let one = store.attach(&volume("v"), across("one")).await.unwrap();
    let two = other.attach(&volume("v"), across("two")).await.unwrap();
    assert_eq!(one.epoch, two.epoch);
    fs::write(one.path().join("hello"), "hello").unwrap();
    fs::write(two.path().join("world"), "world").unwrap();
    assert_eq!(fs::read(two.path().join("hello")).unwrap(), b"hello");
    assert_eq!(fs::read(one.path().join("world")).unwrap(), b"world");
    detached(&store, &one).await;
    other.sync(&two.id, Default::default()).await.unwrap();
    assert_eq!(names(two.path()), ["hello", "world"]);
    refused(ErrorKind::InUse, store.attach(&volume("v"), holder("alone")).await);
    detached(&other, &two).await;
    assert!(attached(&store, "v", "alone").await.epoch > one.epoch);
}

/// A store with the volume `v`; `None` where the mode is not claimed and was refused.
async fn shared(bench: &Bench, flag: Capabilities) -> Option<Store> {
    let store = bench.store().await;
    made(&store, "v").await;
    if claims(&store, flag) {
        return Some(store);
    }
    let options = if flag == Capabilities::SHARED_ON_NODE { on_node("w") } else { across("w") };
    refused_without_a_trace(&store, ErrorKind::Unsupported, store.attach(&volume("v"), options)).await;
    None
}

fn on_node(by: &str) -> AttachOptions {
    holder(by).with_access(Access::SharedOnNode)
}

fn across(by: &str) -> AttachOptions {
    holder(by).with_access(Access::SharedAcrossNodes)
}

async fn claim(store: &Store, by: &str) -> Attachment {
    store.attach(&volume("v"), on_node(by)).await.unwrap()
}
