//! Volumes of an object store: hosts that share a bucket, each with a directory of its own.

use crate::bench::*;
use docker_volume_plugin::stores::{self, Opener};
use futures::FutureExt;
use persist::{
    Node, OpenOptions, VolumeStore,
    s3::{Credentials, S3Options},
};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use serde_json::{Value, json};
use std::{fs, sync::Arc};

/// A bucket of this process.
struct Bucket(Server);

impl Bucket {
    fn new() -> Self {
        Self(Server::in_memory(ServerOptions::new("bucket", KeyPair::new("key", "secret"))))
    }

    /// A plugin on `host` in its boot `boot`, whose directory is `ground`.
    fn serve(&self, ground: &Ground, host: &str, boot: &str) -> Served {
        let node = Node::new(host.parse().unwrap(), boot.parse().unwrap());
        let mut settings = ground.settings();
        settings.node = node.clone();
        let url = "s3://bucket/volumes?endpoint=http://in.process&allow_http=true";
        settings.default_store = Some(url.parse().unwrap());
        ground.serve_with(settings, self.opener(ground, node))
    }

    fn opener(&self, ground: &Ground, node: Node) -> Opener {
        let (connector, state) = (self.0.connector(), ground.path().join("state/stores"));
        Arc::new(move |url, mode| {
            let s3 = S3Options::default().with_credentials(Credentials::keys("key", "secret"));
            let options = OpenOptions::default().with_mode(mode).with_node(node.clone());
            let options = options.with_state_directory(&state);
            let options = options.with_extension(s3.with_connector(connector.clone()));
            async move {
                let store: Arc<dyn VolumeStore> = persist::open_with(&url.to_string(), options).await?;
                Ok(store)
            }
            .boxed()
        })
    }
}

const BOOT: &str = "boot";

#[tokio::test]
async fn a_volume_of_a_bucket_goes_from_one_host_to_the_next_and_back() {
    let (bucket, [here, there]) = (Bucket::new(), [Ground::on_a_device(), Ground::on_a_device()]);
    let one = bucket.serve(&here, "one", BOOT);
    let two = bucket.serve(&there, "two", BOOT);
    for host in [&one, &two] {
        host.create("shop", json!({})).await.unwrap();
    }
    let scope = one.ask("Capabilities", json!({})).await.unwrap();
    assert_eq!(scope["Capabilities"]["Scope"], "global");
    let path = one.mount("shop", "1").await.unwrap();
    assert!(path.starts_with(here.path()), "{path:?}");
    fs::write(path.join("orders"), "3 apples").unwrap();
    one.unmount("shop", "1").await.unwrap();
    let path = two.mount("shop", "2").await.unwrap();
    assert!(path.starts_with(there.path()), "{path:?}");
    assert_eq!(fs::read_to_string(path.join("orders")).unwrap(), "3 apples");
    assert_eq!(one.status("shop").await["holders"][0]["node"], "two");
    assert_eq!(two.status("shop").await["lease"], "Expires");
    two.unmount("shop", "2").await.unwrap();
    one.mount("shop", "3").await.unwrap();
    one.stop().await;
    two.stop().await;
}

/// Docker starts its containers while the plugin is still taking up what is on record.
#[tokio::test]
async fn what_an_earlier_boot_left_is_in_no_containers_way_and_its_work_is_there() {
    for lease in ["expires", "kept"] {
        let (bucket, ground) = (Bucket::new(), Ground::on_a_device());
        let plugin = bucket.serve(&ground, "one", BOOT);
        plugin.create("shop", json!({ "lease": lease })).await.unwrap();
        let path = plugin.mount("shop", "before").await.unwrap();
        fs::write(path.join("orders"), "3 apples").unwrap();
        plugin.stop().await;
        let plugin = bucket.serve(&ground, "one", "next-boot");
        let path = plugin.mount("shop", "after").await.unwrap();
        assert_eq!(fs::read_to_string(path.join("orders")).unwrap(), "3 apples", "{lease}");
        assert_eq!(plugin.holders("shop").await, ["after"]);
        plugin.unmount("shop", "after").await.unwrap();
        assert_eq!(plugin.status("shop").await["salvage"], json!([]));
        plugin.stop().await;
    }
}

#[tokio::test]
async fn a_vouch_is_about_one_attachment_and_epoch_of_another_host() {
    let (bucket, [here, there]) = (Bucket::new(), [Ground::on_a_device(), Ground::on_a_device()]);
    let one = bucket.serve(&here, "one", BOOT);
    let two = bucket.serve(&there, "two", BOOT);
    for host in [&one, &two] {
        host.create("shop", json!({ "lease": "kept" })).await.unwrap();
    }
    one.mount("shop", "1").await.unwrap();
    let holder = two.status("shop").await["holders"][0].clone();
    let (attachment, epoch) = (&holder["attachment"], holder["epoch"].as_u64().unwrap());
    let unknown = json!("00000000-0000-7000-8000-000000000001");
    for (host, attachment, epoch, why) in [
        (&two, &json!("1"), epoch, "not the ID of an attachment"),
        (&two, &unknown, epoch, "by that attachment"),
        (&two, attachment, epoch + 1, "moved on"),
        (&one, attachment, epoch, "of this host"),
    ] {
        let refused = vouch(host, attachment, epoch).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(two.status("shop").await["holders"][0]["attachment"], *attachment);
    vouch(&two, attachment, epoch).await.unwrap();
    two.mount("shop", "2").await.unwrap();
    one.stop().await;
    two.stop().await;
}

async fn vouch(host: &Served, attachment: &Value, epoch: u64) -> Result<Value, String> {
    let request = json!({ "Name": "shop", "Attachment": attachment, "Epoch": epoch, "Reason": "seen dead" });
    host.ask_for("Persist.Vouch", request).await
}

#[tokio::test]
async fn a_lease_is_refused_where_the_store_has_none_and_a_bucket_without_keys_says_so() {
    let ground = Ground::new();
    let half = |name: &'static str| (name == "AWS_ACCESS_KEY_ID").then(|| "key".into());
    let plugin =
        ground.serve_with(ground.settings(), stores::facade(node(), ground.path().join("state"), half));
    let refused = plugin.create("shop", json!({ "lease": "kept" })).await.unwrap_err();
    assert!(refused.contains("no leases"), "{refused}");
    // Half a pair: nothing is asked of the network.
    let url = "s3://bucket/x?endpoint=http://127.0.0.1:1&allow_http=true";
    let refused = plugin.create("shop", json!({ "store": url })).await.unwrap_err();
    assert!(refused.contains("AWS_SECRET_ACCESS_KEY"), "{refused}");
    assert_eq!(plugin.ask("List", json!({})).await.unwrap()["Volumes"], json!([]));
    plugin.stop().await;
}
