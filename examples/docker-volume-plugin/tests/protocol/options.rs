//! What `docker volume create -o` gives, seen on the volume.

use crate::bench::*;
use serde_json::json;
use std::{fs, os::unix::fs::MetadataExt};

#[tokio::test]
async fn the_root_of_a_volume_is_as_the_options_say() {
    let ground = Ground::new();
    let plugin = ground.serve();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let owner = format!("{uid}:{gid}");
    plugin.create("shop", json!({ "mode": "1770", "owner": owner })).await.unwrap();
    let root = fs::metadata(plugin.mount("shop", "1").await.unwrap()).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.gid()), (0o1770, uid, gid));
    plugin.stop().await;
}

#[tokio::test]
async fn an_unknown_option_is_refused_by_name_and_leaves_nothing() {
    let ground = Ground::new();
    let plugin = ground.serve();
    let refused = plugin.create("shop", json!({ "siez": "hunter2" })).await.unwrap_err();
    assert!(refused.contains("siez") && refused.contains("size"), "{refused}");
    assert!(!refused.contains("hunter2"), "{refused}");
    assert_eq!(plugin.ask("List", json!({})).await.unwrap()["Volumes"], json!([]));
    assert!(!ground.path().join("store").exists());
    plugin.stop().await;
}

#[tokio::test]
async fn what_the_store_cannot_do_is_refused_and_leaves_nothing() {
    let ground = Ground::new();
    let plugin = ground.serve();
    for options in [
        json!({ "access": "shared-across-nodes" }),
        json!({ "from-snapshot": "none@none" }),
        json!({ "store": "nfs://server.invalid/export" }),
        json!({ "store": "s3://bucket/prefix?password=hunter2" }),
        json!({ "store": "ftp://server/x" }),
    ] {
        let refused = plugin.create("shop", options).await.unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    assert_eq!(plugin.ask("List", json!({})).await.unwrap()["Volumes"], json!([]));
    plugin.stop().await;
}
