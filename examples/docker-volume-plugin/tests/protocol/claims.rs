//! Mount, Unmount and Path: claims, across restarts of the plugin.

use crate::bench::*;
use persist::{AttachOptions, BindOptions, Liveness, Node, OpenOptions, VolumeStoreExt, Workload};
use serde_json::json;
use std::fs;

#[tokio::test]
async fn two_claims_share_a_volume_and_each_ends_alone() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    let one = plugin.mount("shop", "one").await.unwrap();
    let two = plugin.mount("shop", "two").await.unwrap();
    assert_eq!(one, two);
    assert_eq!(plugin.mount("shop", "one").await.unwrap(), one, "a repeat is the same claim");
    assert_eq!(plugin.holders("shop").await, ["one", "two"]);
    fs::write(one.join("hello"), "world").unwrap();
    plugin.unmount("shop", "one").await.unwrap();
    plugin.unmount("shop", "one").await.unwrap();
    assert_eq!(plugin.holders("shop").await, ["two"]);
    let path = plugin.ask("Path", json!({ "Name": "shop" })).await.unwrap();
    assert_eq!(path["Mountpoint"], two.to_str().unwrap());
    plugin.unmount("shop", "two").await.unwrap();
    let status = plugin.status("shop").await;
    assert_eq!(status["holders"], json!([]));
    assert!(status["last_sync"].is_string(), "the last claim's sync is not shown: {status}");
    let path = plugin.ask("Path", json!({ "Name": "shop" })).await.unwrap();
    assert_eq!(path["Mountpoint"], "");
    let third = plugin.mount("shop", "three").await.unwrap();
    assert_eq!(fs::read_to_string(third.join("hello")).unwrap(), "world");
    plugin.stop().await;
}

#[tokio::test]
async fn an_exclusive_volume_has_one_claim_and_the_refusal_names_it() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "access": "read-write" })).await.unwrap();
    plugin.mount("shop", "one").await.unwrap();
    let refused = plugin.mount("shop", "two").await.unwrap_err();
    assert!(refused.contains("held by one"), "{refused}");
    plugin.unmount("shop", "one").await.unwrap();
    plugin.mount("shop", "two").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn a_restarted_plugin_takes_up_the_claims_that_are_on_record() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "sync": "3600s" })).await.unwrap();
    let path = plugin.mount("shop", "one").await.unwrap();
    plugin.mount("shop", "two").await.unwrap();
    plugin.stop().await;
    let plugin = ground.serve();
    let again = plugin.ask("Path", json!({ "Name": "shop" })).await.unwrap();
    assert_eq!(again["Mountpoint"], path.to_str().unwrap());
    assert_eq!(plugin.holders("shop").await, ["one", "two"]);
    until(async || {
        let holders = plugin.status("shop").await["holders"].clone();
        holders.as_array().unwrap().iter().all(|holder| holder["lease"] == "Held")
    })
    .await;
    for id in ["one", "two"] {
        plugin.unmount("shop", id).await.unwrap();
    }
    assert!(plugin.holders("shop").await.is_empty());
    plugin.remove("shop").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn what_containers_of_an_earlier_boot_had_is_ended_and_nothing_else() {
    let ground = Ground::new();
    let plugin = ground.serve();
    for name in ["before", "elsewhere"] {
        plugin.create(name, json!({})).await.unwrap();
    }
    plugin.stop().await;
    let boot = "00000000-0000-0000-0000-000000000000";
    for (name, host, liveness) in [
        ("before", format!("host-{boot}"), Liveness::Boot),
        ("elsewhere", "another".to_owned(), Liveness::External),
    ] {
        let node = Node::new(host.parse().unwrap(), boot.parse().unwrap());
        let store =
            persist::open_with(&ground.url("store"), OpenOptions::default().with_node(node)).await.unwrap();
        let holder = AttachOptions::default().with_workload(Workload::new("old").unwrap());
        let bind = BindOptions::default().with_attach(holder.with_liveness(liveness));
        store.bind(&name.parse().unwrap(), bind).await.unwrap();
        store.close().await.unwrap();
    }
    let plugin = ground.serve();
    until(async || plugin.holders("before").await.is_empty()).await;
    assert_eq!(plugin.holders("elsewhere").await, ["old"]);
    plugin.remove("before").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn an_application_that_binds_the_volume_by_itself_is_not_taken_over() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "access": "read-write" })).await.unwrap();
    let store = ground.store().await;
    let bound = store.bind(&"shop".parse().unwrap(), BindOptions::default()).await.unwrap();
    let refused = plugin.mount("shop", "one").await.unwrap_err();
    assert!(refused.contains("held by process"), "{refused}");
    plugin.stop().await;
    let plugin = ground.serve();
    assert!(plugin.mount("shop", "one").await.is_err());
    bound.sync().await.unwrap();
    bound.detach().await.unwrap();
    plugin.mount("shop", "one").await.unwrap();
    store.close().await.unwrap();
    plugin.stop().await;
}

/// Waits for what happens in the background.
async fn until(mut seen: impl AsyncFnMut() -> bool) {
    while !seen().await {
        tokio::task::yield_now().await;
    }
}
