//! What a call costs, counted in calls of the store: the same with a thousand volumes, and beside a hundred
//! other calls.

use crate::bench::*;
use futures::future::join_all;
use persist_core::testing::FaultStore;
use serde_json::json;
use std::collections::BTreeMap;

const MANY: usize = 1000;
const AT_ONCE: usize = 100;

#[tokio::test]
async fn a_call_costs_the_same_beside_a_thousand_volumes_and_a_hundred_calls() {
    let ground = Ground::new();
    let counted = Counted::default();
    let plugin = ground.serve_with(ground.settings(), counted.opener(&ground));
    plugin.create("first", json!({})).await.unwrap();
    let store = counted.store(&ground.url("store"));
    let alone = round(&plugin, &store, "first").await;
    let expected = [("Create", vec!["create"]), ("Mount", vec!["attach"])];
    for (call, calls) in expected {
        assert_eq!(alone[call], calls, "{call}");
    }
    assert_eq!(alone["Get"], ["get", "attachments"]);
    assert_eq!(alone["Path"], ["attachments"]);
    assert_eq!(alone["Unmount"], ["attachments", "detach"]);

    let names: Vec<String> = (0..MANY).map(|number| format!("volume-{number}")).collect();
    for names in names.chunks(AT_ONCE) {
        for made in join_all(names.iter().map(|name| plugin.create(name, json!({})))).await {
            made.unwrap();
        }
    }
    assert_eq!(round(&plugin, &store, "volume-500").await, alone);

    let before = store.calls().len();
    let at_once = names.iter().take(AT_ONCE).map(|name| plugin.mount(name, "container"));
    join_all(at_once).await.into_iter().for_each(|mounted| drop(mounted.unwrap()));
    assert_eq!(store.calls().len() - before, AT_ONCE, "{:?}", &store.calls()[before..]);

    let before = store.calls().len();
    let list = plugin.ask("List", json!({})).await.unwrap();
    assert_eq!(list["Volumes"].as_array().unwrap().len(), MANY + 1);
    assert_eq!(store.calls()[before..], ["list"]);
    plugin.stop().await;
}

/// The calls of the store that each call of the protocol makes.
async fn round(plugin: &Served, store: &FaultStore, name: &str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut counts = BTreeMap::new();
    for call in ["Create", "Mount", "Get", "Path", "Unmount"] {
        let before = store.calls().len();
        plugin.ask(call, json!({ "Name": name, "ID": "counted" })).await.unwrap();
        counts.insert(call, store.calls()[before..].to_vec());
    }
    counts
}
