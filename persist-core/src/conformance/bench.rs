//! What the tests share: openings, short ways to say what is done, and pictures of a store.

use super::Subject;
use crate::{
    AttachOptions, Attachment, AttachmentRecord, Capabilities, CreateOptions, Error, ErrorKind, Node, NodeId,
    Result, SnapshotName, VolumeName, VolumeRecord, VolumeStore, Workload,
    attachment::AttachmentFilter,
    clock::ManualClock,
    holder::BootId,
    snapshot::SnapshotRecord,
    volume::{ListOptions, ListStates},
};
use futures::{Stream, StreamExt};
use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(super) type Store = Arc<dyn VolumeStore>;

/// After how long a test that waits for an event gives up: only a hang is that slow, also on an emulated processor
/// that others use as well.
pub(super) const HANG: Duration = Duration::from_secs(900);

/// One test's store.
#[derive(Clone)]
pub(super) struct Bench(Arc<dyn Subject>);

impl Bench {
    pub(super) fn new(subject: Arc<dyn Subject>) -> Self {
        Self(subject)
    }

    /// Opens the store on node `a`.
    pub(super) async fn store(&self) -> Store {
        self.open("a").await
    }

    /// Opens the store on `node` in its first boot, as one more process of it.
    pub(super) async fn open(&self, node: &str) -> Store {
        self.open_booted(node, "boot-1").await
    }

    /// Opens the store on `node` in the boot `boot`.
    pub(super) async fn open_booted(&self, node: &str, boot: &str) -> Store {
        let node = Node::new(NodeId::new(node).unwrap(), BootId::new(boot).unwrap());
        self.0.open(node).await.unwrap()
    }

    pub(super) fn clock(&self) -> &ManualClock {
        self.0.clock()
    }

    pub(super) fn scratch(&self) -> &Path {
        self.0.scratch()
    }

    /// A path below the scratch directory, where nothing is yet.
    pub(super) fn free_path(&self, name: &str) -> PathBuf {
        self.0.scratch().join(name)
    }

    /// A new empty directory below the scratch directory.
    pub(super) fn directory(&self, name: &str) -> PathBuf {
        let path = self.free_path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

/// Everything that a store says about what it holds.
#[derive(Debug, PartialEq)]
pub(super) struct Picture {
    volumes: Vec<VolumeRecord>,
    trashed: Vec<VolumeRecord>,
    attachments: Vec<AttachmentRecord>,
    snapshots: Vec<SnapshotRecord>,
}

impl Picture {
    pub(super) async fn of(store: &Store) -> Self {
        let volumes = volumes(store).await;
        let mut snapshots = Vec::new();
        for volume in &volumes {
            snapshots.extend(snapshots_of(store, &volume.name).await);
        }
        Self { volumes, trashed: trashed(store).await, attachments: attachments(store).await, snapshots }
    }
}

/// A call that is refused with `kind`; the store is the same before and after.
pub(super) async fn refused_without_a_trace<T: Debug>(
    store: &Store,
    kind: ErrorKind,
    call: impl Future<Output = Result<T>>,
) -> Error {
    let before = Picture::of(store).await;
    let error = refused(kind, call.await);
    assert_eq!(Picture::of(store).await, before, "refused, but something moved: {error}");
    error
}

/// The error of a refusal, which names its operation and its target in one line.
#[track_caller]
pub(super) fn refused<T: Debug>(kind: ErrorKind, result: Result<T>) -> Error {
    let error = match result {
        Ok(done) => panic!("not refused with {kind:?}, but done: {done:?}"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.operation().is_some(), "the error does not say in which operation: {error}");
    assert!(error.target().is_some(), "the error does not say on what: {error}");
    assert!(!error.to_string().contains('\n'), "more than one line: {error}");
    error
}

/// Whether the store claims `flag`.
pub(super) fn claims(store: &Store, flag: Capabilities) -> bool {
    store.info().capabilities.contains(flag)
}

pub(super) fn volume(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

pub(super) fn named(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

pub(super) fn workload(name: &str) -> Workload {
    Workload::new(name).unwrap()
}

/// Attaching for a workload that only a vouch can declare dead.
pub(super) fn holder(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(workload(name))
}

/// Creates an empty volume.
pub(super) async fn made(store: &Store, name: &str) -> VolumeRecord {
    store.create(&volume(name), CreateOptions::default()).await.unwrap().volume
}

/// Attaches a volume for writing.
pub(super) async fn attached(store: &Store, name: &str, by: &str) -> Attachment {
    store.attach(&volume(name), holder(by)).await.unwrap()
}

/// Detaches as by default.
pub(super) async fn detached(store: &Store, attachment: &Attachment) {
    store.detach(&attachment.id, Default::default()).await.unwrap();
}

/// The volumes that can be attached.
pub(super) async fn volumes(store: &Store) -> Vec<VolumeRecord> {
    all(store.list(ListOptions::default())).await
}

/// The volumes in the trash.
pub(super) async fn trashed(store: &Store) -> Vec<VolumeRecord> {
    all(store.list(ListOptions::default().with_states(ListStates::Trashed))).await
}

/// The attachments, in the order of their ids.
pub(super) async fn attachments(store: &Store) -> Vec<AttachmentRecord> {
    let mut found = all(store.attachments(AttachmentFilter::default())).await;
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

pub(super) async fn snapshots_of(store: &Store, volume: &VolumeName) -> Vec<SnapshotRecord> {
    all(store.snapshots(volume, ListOptions::default())).await
}

/// Every item of a stream without an error.
pub(super) async fn all<T>(items: impl Stream<Item = Result<T>>) -> Vec<T> {
    items.map(Result::unwrap).collect().await
}

/// The result of something that must happen; panics where it hangs.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANG, future).await {
        Ok(done) => done,
        Err(_) => panic!("hangs: {what}"),
    }
}
