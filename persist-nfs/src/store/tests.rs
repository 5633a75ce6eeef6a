use super::*;
use futures::TryStreamExt;
use persist_core::{
    Capabilities, Node, OpenOptions,
    capability::Characteristics,
    clock::SystemEnvironment,
    directory::{PeriodicSyncs, StoreAt, host::HostPlace},
    holder::BootId,
    tree::Trust,
};
use std::path::Path;

/// A directory of this host stands for one on a file server, and a filesystem that always answers for its mount.
async fn open(dir: &Path) -> NfsStore {
    let at = StoreAt {
        root: dir.join("store"),
        kind: "nfs".into(),
        location: "test".into(),
        trust: Trust::Untrusted,
        periodic: PeriodicSyncs::ByStore,
    };
    let node = Node::new(NodeId::new("here").unwrap(), BootId::new("boot").unwrap());
    let options =
        OpenOptions::default().with_mode(persist_core::OpenMode::CreateIfMissing).with_node(node.clone());
    let place = |root: &Path| {
        let capabilities = Capabilities::SNAPSHOTS;
        Ok(Arc::new(HostPlace::new(root.into(), capabilities, Characteristics::default())?) as _)
    };
    let inner = DirectoryStore::open(at, options, place).await.unwrap();
    let copies = Copies::open(&dir.join("state"), &inner.info().id, Arc::new(SystemEnvironment)).unwrap();
    let server = Server::behind(Path::new("/proc"), std::time::Duration::from_secs(60)).unwrap();
    NfsStore::new(Opened { inner, server, node: Some(node.id), copies: Some(copies) }, None)
}

async fn attached(store: &NfsStore) -> Vec<AttachmentRecord> {
    store.attachments(AttachmentFilter::default()).try_collect().await.unwrap()
}

#[tokio::test]
async fn what_was_detached_without_the_server_is_ended_by_a_close_that_finds_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await;
    let v: VolumeName = "v".parse().unwrap();
    store.create(&v, CreateOptions::default()).await.unwrap();
    let attachment = store.attach(&v, AttachOptions::default()).await.unwrap();
    let silent = Error::new(ErrorKind::Unavailable, "silent");
    store.leave(&attachment.id, BusyFiles::Lazy, silent).await.unwrap();
    assert_eq!(attached(&store).await, [attachment.record().clone()]);
    store.close().await.unwrap();
    assert_eq!(attached(&open(dir.path()).await).await, []);
    assert_eq!(store.copies.unwrap().all().unwrap(), []);
}
