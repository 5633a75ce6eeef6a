//! What is told of syncs that nobody asked for.

use super::*;
use crate::{
    Credentials, S3Config, S3Options, S3Store,
    config::Transport,
    workspace::testing::{FlushFault, open_failing},
};
use persist_core::{
    AttachOptions, CreateOptions, DetachOptions, Error, ErrorKind, Node, NodeId, OpenMode, OpenOptions,
    Retry, SyncOptions, VolumeName, VolumeStore, holder::BootId, quiesce::SyncPolicy,
};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{fs, time::Duration};
use tempfile::TempDir;

/// A store whose node fails to write down its workspace when `fault` says so.
async fn opened(fault: FlushFault) -> (S3Store, TempDir) {
    // Not on tmpfs, which is refused; the target directory of the build is not.
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../target").unwrap();
    let server = Server::in_memory(ServerOptions::new("bucket", KeyPair::new("access", "secret")));
    let mut config = S3Config::new("bucket");
    (config.endpoint, config.transport) = (Some("http://in.process".into()), Transport::PlainAllowed);
    let s3 = S3Options::default()
        .with_credentials(Credentials::keys("access", "secret"))
        .with_connector(server.connector());
    let node = Node::new(NodeId::new("a").unwrap(), BootId::new("boot").unwrap());
    let options = OpenOptions::default()
        .with_mode(OpenMode::CreateIfMissing)
        .with_node(node.clone())
        .with_extension(s3);
    let mut store = S3Store::open(config, options).await.unwrap();
    let spaces = open_failing(&dir.path().join("w"), node, fault).await.unwrap();
    Arc::get_mut(&mut store.engine).unwrap().spaces = Some(spaces);
    (store, dir)
}

fn says_lost(error: &Error) -> bool {
    (error.kind(), error.retry()) == (ErrorKind::Unavailable, Retry::Verify)
}

#[tokio::test]
async fn what_the_node_lost_in_a_sync_by_itself_is_told_once_to_whoever_asks_for_the_next() {
    let fault = FlushFault::default();
    let (store, _dir) = opened(fault.clone()).await;
    let name = VolumeName::new("volume").unwrap();
    store.create(&name, CreateOptions::default()).await.unwrap();
    let often = AttachOptions::default().with_sync(SyncPolicy::Every(Duration::from_millis(5)));
    let one = store.attach(&name, often).await.unwrap();
    fs::write(one.path().join("hello"), "world").unwrap();
    fault.fire().await;
    let told = store.sync(&one.id, SyncOptions::default()).await.unwrap_err();
    assert!(says_lost(&told), "{told}");
    store.sync(&one.id, SyncOptions::default()).await.unwrap();
    fault.fire().await;
    let told = store.detach(&one.id, DetachOptions::default()).await.unwrap_err();
    assert!(says_lost(&told), "{told}");
    store.detach(&one.id, DetachOptions::default()).await.unwrap();
}
