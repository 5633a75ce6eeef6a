//! Who is in the way of a restore or of a deletion.

use crate::{
    directory::{engine::Engine, layout::VolumeLayout},
    error::{Error, HolderSeen, Result},
    progress::Meter,
    snapshot::SnapshotName,
};

impl Engine {
    /// Refuses while an attachment shows the snapshot.
    ///
    /// # Errors
    /// `InUse` with the readers.
    pub(super) fn check_unread(
        &self,
        layout: &VolumeLayout,
        name: &SnapshotName,
        meter: &Meter,
    ) -> Result<()> {
        let attached = self.evict_dead(layout, meter)?;
        let readers = attached.iter().filter(|stored| stored.needs(name));
        let readers: Vec<_> = readers.map(|stored| HolderSeen::of(&stored.record)).collect();
        if readers.is_empty() {
            return Ok(());
        }
        Err(Error::in_use("readers are pinned to the snapshot", readers).advise("detach them first"))
    }

    /// Refuses while an attachment shows the live tree: it would go on showing the old one. A reader that is
    /// pinned to a snapshot is in nobody's way.
    ///
    /// # Errors
    /// `InUse` with the holders.
    pub(super) fn check_unattached(&self, layout: &VolumeLayout, meter: &Meter) -> Result<()> {
        let attached = self.evict_dead(layout, meter)?;
        let live = attached.iter().filter(|stored| stored.record.snapshot.is_none());
        let holders: Vec<_> = live.map(|stored| HolderSeen::of(&stored.record)).collect();
        if holders.is_empty() {
            return Ok(());
        }
        Err(Error::in_use("the volume is attached", holders)
            .advise("detach it first, or vouch that its holder is dead"))
    }
}
