//! Listing volumes: in order, once, in pages, whatever happens meanwhile.

use super::bench::*;
use crate::{
    CreateOptions, VolumeSpec,
    name::{LabelKey, Labels},
    volume::{ListOptions, ListStates},
};
use std::collections::BTreeSet;

pub(super) async fn volumes_are_listed_in_the_order_of_their_names(bench: Bench) {
    let store = bench.store().await;
    assert_eq!(listed(&store, ListOptions::default()).await, Vec::<String>::new());
    let mut names: Vec<_> = (0..25).map(|n| format!("v-{}", n * 7 % 25)).collect();
    names.extend(["A", "z", "a.b", "a-b", "a_b", "a0"].map(String::from));
    for name in &names {
        made(&store, name).await;
    }
    names.sort();
    assert_eq!(listed(&store, ListOptions::default()).await, names);
    assert_eq!(listed(&bench.open("b").await, ListOptions::default()).await, names);
}

pub(super) async fn pages_follow_each_other_without_gap_or_repetition(bench: Bench) {
    let store = bench.store().await;
    let names: Vec<_> = (10..35).map(|n| format!("v{n}")).collect();
    for name in &names {
        made(&store, name).await;
    }
    for size in [1, 7, 25, 26] {
        let (mut seen, mut page) = (Vec::new(), ListOptions::default().with_limit(size));
        loop {
            let found = listed(&store, page.clone()).await;
            let Some(last) = found.last().cloned() else { break };
            assert!(found.len() <= size);
            seen.extend(found);
            page = page.with_after(last);
        }
        assert_eq!(seen, names);
    }
    assert!(listed(&store, ListOptions::default().with_limit(0_usize)).await.is_empty());
    assert!(listed(&store, ListOptions::default().with_after("zzz")).await.is_empty());
    assert_eq!(listed(&store, ListOptions::default().with_after("v2")).await, names[10..]);
}

pub(super) async fn labels_filter_a_list(bench: Bench) {
    let store = bench.store().await;
    let label = |key: &str, value: &str| (LabelKey::new(key).unwrap(), value.to_owned());
    let spec = |labels: &[(LabelKey, String)]| {
        let spec = VolumeSpec::default().with_labels(labels.iter().cloned().collect::<Labels>());
        CreateOptions::default().with_spec(spec)
    };
    let (shop, live) = (label("team", "shop"), label("stage", "live"));
    store.create(&volume("v1"), spec(&[shop.clone(), live.clone()])).await.unwrap();
    store.create(&volume("v2"), spec(std::slice::from_ref(&shop))).await.unwrap();
    store.create(&volume("v3"), spec(&[label("team", "other"), live.clone()])).await.unwrap();
    made(&store, "v4").await;
    let filter = |labels: &[(LabelKey, String)]| {
        ListOptions::default().with_labels(labels.iter().cloned().collect::<Labels>())
    };
    assert_eq!(listed(&store, filter(std::slice::from_ref(&shop))).await, ["v1", "v2"]);
    assert_eq!(listed(&store, filter(&[shop.clone(), live])).await, ["v1"]);
    assert_eq!(listed(&store, filter(&[label("team", "SHOP")])).await, Vec::<String>::new());
    assert_eq!(listed(&store, filter(&[shop]).with_limit(1_usize).with_after("v1")).await, ["v2"]);
}

pub(super) async fn deleted_volumes_are_listed_apart_by_their_ids(bench: Bench) {
    let store = bench.store().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(made(&store, "v").await.id);
        store.delete(&volume("v"), Default::default()).await.unwrap();
    }
    made(&store, "v").await;
    ids.sort();
    assert_eq!(listed(&store, ListOptions::default()).await, ["v"]);
    assert_eq!(trashed(&store).await.into_iter().map(|r| r.id).collect::<Vec<_>>(), ids);
    let page = ListOptions::default().with_states(ListStates::Trashed).with_after(ids[1].to_string());
    let page = all(store.list(page.with_limit(2_usize))).await;
    assert_eq!(page.into_iter().map(|r| r.id).collect::<Vec<_>>(), ids[2..4]);
}

pub(super) async fn a_list_shows_once_what_is_there_all_the_while(bench: Bench) {
    let store = bench.store().await;
    let steady: BTreeSet<_> = (0..10).map(|n| format!("steady-{n}")).collect();
    for name in &steady {
        made(&store, name).await;
    }
    let other = bench.open("b").await;
    let changes = tokio::spawn(async move {
        for n in 0..15 {
            let name = format!("s-{n}");
            made(&other, &name).await;
            other.delete(&volume(&name), Default::default()).await.unwrap();
        }
    });
    while !changes.is_finished() {
        let names = listed(&store, ListOptions::default()).await;
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
        let seen: BTreeSet<_> = names.into_iter().filter(|name| name.starts_with("steady")).collect();
        assert_eq!(seen, steady);
    }
    changes.await.unwrap();
}

async fn listed(store: &Store, options: ListOptions) -> Vec<String> {
    all(store.list(options)).await.into_iter().map(|record| record.name.as_str().to_owned()).collect()
}
