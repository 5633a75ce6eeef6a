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
    tree::TreeSource,
    volume::VolumeState,
};
use std::sync::Arc;

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
            engine.sources.open(read)
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
        let current = || {
            // Looked at after the tree is held: who deletes the volume says so first, and then looks for
            // readers, so one of the two sees the other.
            if self.locate_id(id)?.stored.volume.state != VolumeState::Ready {
                return Err(Error::not_found("the volume was deleted meanwhile"));
            }
            self.counting(layout, id, name)?.ok_or_else(|| no_such(name))
        };
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
