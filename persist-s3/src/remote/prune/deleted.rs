//! What is left of a volume that was deleted for good.

use super::{AT_ONCE, PinWatches, StalePins, part};
use crate::{
    head::{free::FreeChange, record::Stage, writer::Found},
    keys::{Key, Part},
    remote::{Remote, commits::Commits},
};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use persist_core::{ErrorKind, Result, VolumeId, clock::Timestamp};
use std::collections::BTreeSet;

impl Remote {
    /// Deletes a volume for good whose time in the trash is over at `now`, by the deleter's clock; what is
    /// not in the trash is left alone.
    ///
    /// # Errors
    /// As the object store gives them.
    pub(crate) async fn purge(&self, volume: &VolumeId, now: Timestamp) -> Result<()> {
        let Found::Head(head, etag) = self.find(volume).await? else { return Ok(()) };
        match head.stage {
            Stage::Trashed(trashed) if trashed.until <= now => {
                // Of this version only: it may be taken back meanwhile.
                self.try_change(&head, &etag, &FreeChange::Purge).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// How many bytes [`remove_deleted`](Self::remove_deleted) would remove.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn deleted_bytes(
        &self,
        volume: &VolumeId,
        commits: &dyn Commits,
        pins: &mut PinWatches,
    ) -> Result<u64> {
        Ok(self.removable(volume, commits, pins, StalePins::Stay).await?.iter().map(|(_, size)| size).sum())
    }

    /// Removes the objects of a volume that was deleted for good, but its head, and what forks and readers
    /// still need. Nobody pins it any more: a pin is written before the head is read.
    ///
    /// # Errors
    /// As the object store and the commits give them; a repeat goes on.
    pub(crate) async fn remove_deleted(
        &self,
        volume: &VolumeId,
        commits: &dyn Commits,
        pins: &mut PinWatches,
    ) -> Result<u64> {
        let removable = self.removable(volume, commits, pins, StalePins::End).await?;
        // By value, not by reference: a closure over references would make the future one that cannot be sent.
        let gone = stream::iter(removable).map(|(path, size)| async move {
            self.remove(&path).await?;
            Ok(size)
        });
        gone.buffer_unordered(AT_ONCE).try_fold(0, |bytes, size| future::ok(bytes + size)).await
    }

    async fn removable(
        &self,
        volume: &VolumeId,
        commits: &dyn Commits,
        pins: &mut PinWatches,
        stale: StalePins,
    ) -> Result<Vec<(object_store::path::Path, u64)>> {
        let Found::Head(head, _) = self.find(volume).await? else { return Ok(Vec::new()) };
        if head.stage != Stage::Deleted {
            return Ok(Vec::new());
        }
        let mut needed = BTreeSet::new();
        let pinned = self.pinned(volume, pins, stale).await?;
        for commit in &pinned {
            match commits.reach(volume, commit).await {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                reached => needed.extend(reached?.iter().map(part).map(|part| self.keys.of(volume, part))),
            }
        }
        let mut removable = Vec::new();
        let mut listed = self.list(&self.keys.all_of(volume, None), None);
        while let Some(meta) = listed.try_next().await? {
            let kept = match self.keys.parse(&meta.location) {
                // A foreign object is not ours to remove.
                None | Some(Key::Marker | Key::Name(_)) => true,
                Some(Key::Volume(_, Part::Head | Part::Pin(_))) => true,
                Some(Key::Volume(_, Part::Fmt)) => !pinned.is_empty(),
                Some(Key::Volume(..)) => needed.contains(&meta.location),
            };
            if !kept {
                removable.push((meta.location, meta.size));
            }
        }
        Ok(removable)
    }
}
