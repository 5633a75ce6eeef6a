//! Listing snapshots.

use super::record::{self, StoredSnapshot};
use crate::{
    directory::{
        calls::{Output, ReaderGone},
        engine::Engine,
        layout::VolumeLayout,
    },
    error::{Error, Result},
    id::VolumeId,
    name::VolumeName,
    snapshot::{SnapshotName, SnapshotRecord},
    volume::{ListOptions, ListStates},
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) fn snapshots(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        let (engine, volume) = (Arc::clone(self), volume.clone());
        let target = format!("volume {volume}");
        let work = move |out: &mut Output<SnapshotRecord>| match engine.listed(&volume, &options) {
            Ok((layout, id, names)) => drop(engine.give_snapshots(&layout, &id, names, &options, out)),
            Err(error) => drop(out.give(Err(error))),
        };
        self.calls.stream(work).map(move |item| item.map_err(|e| e.during("snapshots", &target))).boxed()
    }

    /// The names that a listing goes through.
    fn listed(
        &self,
        volume: &VolumeName,
        options: &ListOptions,
    ) -> Result<(VolumeLayout, VolumeId, Vec<Result<SnapshotName>>)> {
        if options.states != ListStates::Ready {
            return Err(Error::invalid("states", "a snapshot has no trash"));
        }
        let located = self.locate(volume)?;
        let names = after(record::names(&located.layout)?, options.after.as_deref());
        Ok((located.layout, located.stored.volume.id, names))
    }

    fn give_snapshots(
        &self,
        layout: &VolumeLayout,
        id: &VolumeId,
        names: Vec<Result<SnapshotName>>,
        options: &ListOptions,
        out: &mut Output<SnapshotRecord>,
    ) -> Result<(), ReaderGone> {
        let mut left = options.limit.unwrap_or(usize::MAX);
        for name in names {
            if left == 0 {
                break;
            }
            match name.and_then(|name| self.counting(layout, id, &name)) {
                Ok(Some(stored)) if options.accepts(&stored.snapshot.labels) => {
                    out.give(Ok(stored.snapshot))?;
                    left -= 1;
                }
                Ok(_) => {}
                Err(error) => out.give(Err(error))?,
            }
        }
        Ok(())
    }

    /// The snapshot `name`, if it is one: what a restore has only prepared is none.
    ///
    /// # Errors
    /// `Corrupt`; `NotFound` for the volume.
    pub(crate) fn counting(
        &self,
        layout: &VolumeLayout,
        id: &VolumeId,
        name: &SnapshotName,
    ) -> Result<Option<StoredSnapshot>> {
        // In this order: a tree that is not live any more never is again.
        let Some(stored) = record::read(layout, name)? else { return Ok(None) };
        let live = self.locate_id(id)?.stored.generation;
        Ok(stored.counts(&live).then_some(stored))
    }
}

/// What comes after the last name of the page before. A foreign file is shown on the first page.
fn after(names: Vec<Result<SnapshotName>>, last: Option<&str>) -> Vec<Result<SnapshotName>> {
    let Some(last) = last else { return names };
    names.into_iter().filter(|name| name.as_ref().is_ok_and(|name| name.as_str() > last)).collect()
}
