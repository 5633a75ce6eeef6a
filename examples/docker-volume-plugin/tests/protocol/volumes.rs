//! Create, Get, List, Remove, and what the plugin knows after a restart.

use crate::bench::*;
use serde_json::json;

#[tokio::test]
async fn a_volume_is_created_found_listed_and_removed() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "label.team": "a" })).await.unwrap();
    plugin.create("shop", json!({ "label.team": "a" })).await.unwrap();
    plugin.create("shop", json!(null)).await.unwrap();
    let got = plugin.ask("Get", json!({ "Name": "shop" })).await.unwrap()["Volume"].clone();
    assert_eq!(got["Name"], "shop");
    assert_eq!(got["Status"]["labels"]["team"], "a");
    assert_eq!(got["Status"]["epoch"], 0);
    assert!(got["CreatedAt"].is_string() && got["Mountpoint"].is_null());
    let list = plugin.ask("List", json!({})).await.unwrap();
    assert_eq!(list["Volumes"].as_array().unwrap().len(), 1);
    plugin.remove("shop").await.unwrap();
    plugin.remove("shop").await.unwrap();
    let refused = plugin.ask("Get", json!({ "Name": "shop" })).await.unwrap_err();
    assert!(refused.contains("no such volume"), "{refused}");
    assert_eq!(plugin.ask("List", json!({})).await.unwrap()["Volumes"], json!([]));
    plugin.stop().await;
}

#[tokio::test]
async fn a_changed_option_is_refused_with_the_difference() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "label.team": "a", "mode": "0750" })).await.unwrap();
    for (changed, wanted, actual) in [
        (json!({ "label.team": "b" }), "team=b", "a"),
        (json!({ "mode": "0700" }), "0o700", "0o750"),
        (json!({ "store": ground.url("other") }), "other", "store"),
        (json!({ "access": "read-write" }), "ReadWrite", "SharedOnNode"),
        (json!({ "sync": "30s" }), "30s", "OnDetach"),
    ] {
        let refused = plugin.create("shop", changed).await.unwrap_err();
        assert!(refused.contains(&format!("wanted {wanted}")) || refused.contains(wanted), "{refused}");
        assert!(refused.contains(actual), "{refused}");
    }
    assert!(!ground.path().join("other").exists(), "a refused call made a store");
    plugin.stop().await;
}

#[tokio::test]
async fn what_was_created_is_known_after_a_restart_and_what_was_removed_is_not() {
    let ground = Ground::new();
    let plugin = ground.serve();
    for name in ["stays", "goes"] {
        plugin.create(name, json!({})).await.unwrap();
    }
    plugin.remove("goes").await.unwrap();
    plugin.stop().await;
    let plugin = ground.serve();
    let list = plugin.ask("List", json!({})).await.unwrap();
    let names: Vec<_> = list["Volumes"].as_array().unwrap().iter().map(|volume| &volume["Name"]).collect();
    assert_eq!(names, ["stays"]);
    plugin.stop().await;
}

#[tokio::test]
async fn a_protected_volume_and_one_in_use_are_not_removed() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("kept", json!({ "protection": "protected" })).await.unwrap();
    let refused = plugin.remove("kept").await.unwrap_err();
    assert!(refused.contains("protect"), "{refused}");
    plugin.create("used", json!({})).await.unwrap();
    plugin.mount("used", "container-1").await.unwrap();
    let refused = plugin.remove("used").await.unwrap_err();
    assert!(refused.contains("container-1"), "the holder is not named: {refused}");
    assert_eq!(plugin.holders("used").await, ["container-1"]);
    plugin.stop().await;
}

#[tokio::test]
async fn a_store_that_had_volumes_is_not_made_again_when_it_is_gone() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    plugin.stop().await;
    std::fs::rename(ground.path().join("store"), ground.path().join("unmounted")).unwrap();
    let plugin = ground.serve();
    for refused in [
        plugin.mount("shop", "1").await.map(drop).unwrap_err(),
        plugin.create("other", json!({})).await.map(drop).unwrap_err(),
        plugin.create("shop", json!({})).await.map(drop).unwrap_err(),
    ] {
        assert!(refused.contains("store"), "{refused}");
    }
    assert!(!ground.path().join("store").exists(), "an empty store stands for the one that is gone");
    // It comes back without a restart of the plugin.
    std::fs::rename(ground.path().join("unmounted"), ground.path().join("store")).unwrap();
    plugin.mount("shop", "1").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn a_reader_of_a_snapshot_sees_it_and_removes_nothing() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    let path = plugin.mount("shop", "writer").await.unwrap();
    std::fs::write(path.join("orders"), "monday").unwrap();
    let store = ground.store().await;
    let [volume, snapshot] = ["shop", "monday"];
    store.snapshot(&volume.parse().unwrap(), &snapshot.parse().unwrap(), Default::default()).await.unwrap();
    std::fs::write(path.join("orders"), "tuesday").unwrap();
    plugin.create("copy", json!({ "from-snapshot": "shop@monday" })).await.unwrap();
    let copy = plugin.mount("copy", "1").await.unwrap();
    assert_eq!(std::fs::read_to_string(copy.join("orders")).unwrap(), "monday");
    plugin.unmount("copy", "1").await.unwrap();
    let refused = plugin.create("none", json!({ "access": "read-only", "snapshot": "monday" })).await;
    assert!(refused.unwrap_err().contains("none"));
    plugin.unmount("shop", "writer").await.unwrap();
    plugin.stop().await;

    // On another host of the same store: the volume is there, and only its reader is known.
    std::fs::remove_dir_all(ground.path().join("state")).unwrap();
    let plugin = ground.serve();
    plugin.create("shop", json!({ "access": "read-only", "snapshot": "monday" })).await.unwrap();
    let path = plugin.mount("shop", "reader").await.unwrap();
    assert_eq!(std::fs::read_to_string(path.join("orders")).unwrap(), "monday");
    assert!(plugin.remove("shop").await.unwrap_err().contains("reader"));
    plugin.unmount("shop", "reader").await.unwrap();
    plugin.remove("shop").await.unwrap();
    let volume = "shop".parse().unwrap();
    assert!(store.get(&volume).await.is_ok(), "who only reads deleted the volume");
    store.close().await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn the_scope_is_local_where_the_default_store_stays_on_its_host() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    let answer = plugin.ask("Capabilities", json!({})).await.unwrap();
    assert_eq!(answer["Capabilities"]["Scope"], "local");
    plugin.stop().await;
}
