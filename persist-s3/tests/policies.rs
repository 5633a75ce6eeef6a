//! The access policies of `docs/operations.md`, as far as a server can tell verbs apart: each is enough for
//! what it is said to be enough for.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test crate")]

use persist_core::{
    Access, AttachOptions, DetachOptions, ErrorKind, Node, NodeId, OpenMode, OpenOptions, SnapshotName,
    VolumeName, VolumeStore,
    care::{PruneMode, PruneOptions},
    holder::BootId,
    volume::{CreateOptions, DeleteOptions, SnapshotsAlong, Trash},
};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use persist_s3_server::{KeyPair, Server, ServerOptions, Verb};
use std::{fs, path::Path};
use tempfile::TempDir;

const BUCKET: &str = "bucket";

/// A server that knows a writer, a reader and a pruner.
struct Bench {
    server: Server,
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let writer = KeyPair::new("writer", "secret").without(&[Verb::Delete, Verb::DeleteMany]);
        let reader = KeyPair::new("reader", "secret").read_only();
        let options = ServerOptions::new(BUCKET, KeyPair::new("pruner", "secret"));
        Self {
            server: Server::in_memory(options.with_keys(writer).with_keys(reader)),
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        }
    }

    /// The store as the holder of these keys opens it, on a node of the same name.
    async fn open(&self, who: &str, mode: OpenMode) -> S3Store {
        let mut config = S3Config::new(BUCKET);
        (config.endpoint, config.transport) = (Some("http://in.process".into()), Transport::PlainAllowed);
        config.workspace = Some(self.directory.path().join(who));
        let s3 = S3Options::default()
            .with_credentials(Credentials::keys(who, "secret"))
            .with_connector(self.server.connector());
        let node = Node::new(NodeId::new(who).unwrap(), BootId::new("boot").unwrap());
        let options = OpenOptions::default().with_mode(mode).with_node(node).with_extension(s3);
        S3Store::open(config, options).await.unwrap()
    }

    /// A volume that the writer made, wrote, named a snapshot of, and left.
    async fn written(&self) -> (S3Store, VolumeName) {
        let (store, volume) = (self.open("writer", OpenMode::CreateIfMissing).await, volume());
        store.create(&volume, CreateOptions::default()).await.unwrap();
        let attachment = store.attach(&volume, AttachOptions::default()).await.unwrap();
        fs::write(attachment.path().join("hello"), "world").unwrap();
        store.sync(&attachment.id, Default::default()).await.unwrap();
        store.snapshot(&volume, &SnapshotName::new("good").unwrap(), Default::default()).await.unwrap();
        store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
        (store, volume)
    }
}

fn volume() -> VolumeName {
    VolumeName::new("shop").unwrap()
}

fn hello(root: &Path) -> String {
    fs::read_to_string(root.join("hello")).unwrap()
}

#[tokio::test]
async fn a_writer_needs_no_right_to_delete() {
    let bench = Bench::new();
    let (store, volume) = bench.written().await;
    let attachment = store.attach(&volume, AttachOptions::default()).await.unwrap();
    assert_eq!(hello(attachment.path()), "world");
    store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_reader_needs_no_right_to_write_and_is_told_that_it_is_not_pinned() {
    let bench = Bench::new();
    let (_, volume) = bench.written().await;
    bench.server.log().reset();
    let store = bench.open("reader", OpenMode::ReadOnly).await;
    let options = AttachOptions::default().with_access(Access::ReadOnly);
    let attachment = store.attach(&volume, options).await.unwrap();
    assert_eq!(hello(attachment.path()), "world");
    let remarks = &attachment.report().remarks;
    assert!(remarks.iter().any(|remark| remark.contains("without a pin")), "{remarks:?}");
    let refused = store.attach(&volume, AttachOptions::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_pruner_removes_what_a_writer_without_that_right_has_to_leave() {
    let bench = Bench::new();
    let (writer, volume) = bench.written().await;
    let delete = DeleteOptions::default().with_trash(Trash::Bypass).with_snapshots(SnapshotsAlong::Delete);
    writer.delete(&volume, delete).await.unwrap();
    let apply = || PruneOptions::default().with_mode(PruneMode::Apply);
    let denied = writer.prune(apply()).await.unwrap();
    assert_eq!(denied.failures.len(), 1, "{denied:?}");
    let pruner = bench.open("pruner", OpenMode::Existing).await;
    let left = pruner.prune(PruneOptions::default()).await.unwrap();
    assert!(left.bytes > 0, "{left:?}");
    let done = pruner.prune(apply()).await.unwrap();
    assert_eq!((done.failures.len(), done.bytes), (0, left.bytes), "{done:?}");
    assert_eq!(pruner.prune(PruneOptions::default()).await.unwrap().bytes, 0);
}
