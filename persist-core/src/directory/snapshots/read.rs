//! Reading a snapshot: its tree stays while it is read.

use super::record::StoredSnapshot;
use crate::{
    capability::Capabilities,
    directory::{engine::Engine, layout::VolumeLayout, trees::TreeRead},
    error::{Error, Result},
    id::VolumeId,
    name::VolumeName,
    progress::{CallOptions, Meter},
    snapshot::SnapshotName,
    tree::{DirectoryTree, Entry, TreePath, TreeSource, TreeTotals},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use std::{ops::Range, path::Path, sync::Arc};

/// A snapshot whose tree is being read, and stays until this is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotTree {
    pub(crate) stored: StoredSnapshot,
    pub(crate) tree: TreeRead,
}

impl Engine {
    pub(crate) async fn open_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        self.info.require(Capabilities::SNAPSHOTS, "this store takes no snapshots")?;
        let (engine, volume, name) = (Arc::clone(self), volume.clone(), snapshot.clone());
        let open = move |meter: &Meter| {
            let read = engine.snapshot_tree(&volume, &name, meter)?;
            let files = DirectoryTree::open(&read.tree.path)?;
            Ok(Arc::new(OpenSnapshot { files, read: Arc::new(read) }) as Arc<dyn TreeSource>)
        };
        self.calls.run(&CallOptions::default(), open).await
    }

    /// Holds the tree of a snapshot for reading.
    ///
    /// # Errors
    /// `NotFound` for the volume or the snapshot; `Corrupt`; `Unavailable` once stopped.
    pub(crate) fn snapshot_tree(
        &self,
        volume: &VolumeName,
        name: &SnapshotName,
        meter: &Meter,
    ) -> Result<SnapshotTree> {
        let located = self.locate(volume)?;
        self.read_snapshot(&located.layout, &located.stored.volume.id, name, meter)
    }

    /// As [`snapshot_tree`](Self::snapshot_tree), for a volume that was found.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read_snapshot(
        &self,
        layout: &VolumeLayout,
        id: &VolumeId,
        name: &SnapshotName,
        meter: &Meter,
    ) -> Result<SnapshotTree> {
        let current = || self.counting(layout, id, name)?.ok_or_else(|| no_such(name));
        let tree = self.read_tree(layout, meter, || Ok(current()?.generation))?;
        let stored = current()?;
        if stored.generation != tree.generation {
            return self.read_snapshot(layout, id, name, meter);
        }
        Ok(SnapshotTree { stored, tree })
    }
}

pub(super) fn no_such(name: &SnapshotName) -> Error {
    Error::not_found("no such snapshot").context("snapshot", name).advise("list the volume's snapshots")
}

/// The source that callers get. The tree stays while the source, or a stream of it, lives.
#[derive(Debug)]
struct OpenSnapshot {
    files: DirectoryTree,
    read: Arc<SnapshotTree>,
}

#[async_trait]
impl TreeSource for OpenSnapshot {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let read = Arc::clone(&self.read);
        let kept = move |entry| {
            let _while_the_stream_lives = &read;
            entry
        };
        self.files.entries(after).map(kept).boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.files.entry(path).await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.files.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        self.read.stored.snapshot.totals
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.read.tree.path)
    }
}
