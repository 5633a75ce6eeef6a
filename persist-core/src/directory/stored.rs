//! What a volume's numbered record holds, and how a volume is found by its name.

use super::{
    durable::Claimed,
    engine::Engine,
    exclusion::Exclusion,
    layout::VolumeLayout,
    names::Named,
    records::{self, Numbered},
    snapshots::record,
};
use crate::{
    error::{Error, ErrorKind, Result},
    id::{Epoch, Generation, VolumeId},
    name::VolumeName,
    progress::Meter,
    snapshot::SnapshotName,
    volume::VolumeRecord,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A volume as its newest record describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredVolume {
    /// What callers see; `epoch` is filled in from the epochs that were minted.
    pub(crate) volume: VolumeRecord,
    /// The live tree.
    pub(crate) generation: Generation,
    /// The last restore.
    pub(crate) restored: Option<Restored>,
}

/// A restore, as the next one needs it to say that nothing has changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) snapshot: SnapshotName,
    /// The snapshot's tree: a later snapshot of the same name is another one.
    pub(crate) tree: Generation,
    /// The newest epoch then: a writer that came later has a higher one.
    pub(crate) epoch: Epoch,
}

/// A numbered record of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NameRecord {
    /// The name is this volume's.
    Names(VolumeId),
    /// The name was given free by the deletion of this volume.
    FreedBy(VolumeId),
}

/// A volume that was found, with the number of the record that was read.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) layout: VolumeLayout,
    pub(crate) number: u64,
    pub(crate) stored: StoredVolume,
}

/// The number of the record that a volume is built with.
pub(crate) const FIRST_RECORD: u64 = 1;

impl Engine {
    /// Finds the ready volume `name`.
    ///
    /// # Errors
    /// `NotFound`, also for a name whose volume is in the trash; `Corrupt`.
    pub(crate) fn locate(&self, name: &VolumeName) -> Result<Located> {
        match self.resolve(name)? {
            Named::Ready(located) => Ok(*located),
            Named::Free(_) | Named::Stale(_) => {
                Err(Error::not_found("no such volume").advise("create it, or use bind"))
            }
        }
        .map_err(|e| e.context("volume", name).context("store", self.layout.root().display()))
    }

    /// Finds the ready volume `name` and takes its exclusion.
    ///
    /// # Errors
    /// As [`locate`](Self::locate); `Denied` on a store that was opened read-only; `Unavailable` once stopped.
    pub(crate) fn locate_alone(&self, name: &VolumeName, meter: &Meter) -> Result<(Exclusion, Located)> {
        self.check_writable()?;
        loop {
            meter.check()?;
            // Only which volume it is: what its records say counts once nobody else can change them.
            let seen = match self.volume_named(name)? {
                Some(id) => self.layout.volume(&id),
                None => self.locate(name)?.layout,
            };
            let alone = match self.exclude(&seen, meter) {
                // It was removed while we waited; the name may be another volume's by now, or say nothing true.
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    self.locate(name)?;
                    continue;
                }
                held => held?,
            };
            let now = self.locate(name)?;
            if now.layout == seen {
                self.confirm_name(&now)?;
                return Ok((alone, now));
            }
        }
    }

    /// Reads the volume `id`, in whatever state.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub(crate) fn locate_id(&self, id: &VolumeId) -> Result<Located> {
        let layout = self.layout.volume(id);
        let newest = match records::newest::<StoredVolume>(&layout.records()) {
            Err(e) if e.kind() == ErrorKind::Corrupt && self.was_never_made(id, &layout)? => None,
            newest => newest?,
        };
        let Some(Numbered { number, record: mut stored }) = newest else {
            return Err(Error::not_found("no such volume").context("id", id));
        };
        stored.volume.epoch = self.newest_epoch(&layout)?;
        Ok(Located { layout, number, stored })
    }

    /// Whether the volume `id`, whose record cannot be read, is a creation that a kill or a power cut ended
    /// before its flush: its only record is torn, and a name is only given after the flush.
    fn was_never_made(&self, id: &VolumeId, layout: &VolumeLayout) -> Result<bool> {
        let first = layout.records().join(FIRST_RECORD.to_string());
        let alone = records::newest_number(&layout.records())? == Some(FIRST_RECORD);
        Ok(alone && records::is_torn(&first)? && !self.is_named(id)?)
    }

    /// The trees of a volume that its records name: the live one, those of its snapshots, and what its
    /// attachments are shown.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read: it may name any tree.
    pub(crate) fn referred(&self, located: &Located) -> Result<BTreeSet<Generation>> {
        let mut referred = BTreeSet::from([located.stored.generation.clone()]);
        for stored in record::all(&located.layout)? {
            referred.insert(stored?.generation);
        }
        for (attachment, _) in self.attached(&located.layout)? {
            referred.extend(attachment.generations().cloned());
        }
        Ok(referred)
    }

    /// The newest epoch of a volume.
    pub(crate) fn newest_epoch(&self, layout: &VolumeLayout) -> Result<Epoch> {
        Ok(records::newest_number(&layout.epochs())?.map_or(Epoch::ZERO, Epoch::new))
    }

    /// Publishes `stored` as the record after the one that `located` was read from. The caller holds the
    /// volume's exclusion.
    ///
    /// # Errors
    /// `Unavailable` with `Backoff` if somebody else changed the volume meanwhile.
    pub(crate) fn publish(&self, located: &Located, stored: &StoredVolume) -> Result<()> {
        match records::publish(&self.durable, &located.layout.records(), Some(located.number), stored)? {
            Claimed::Won => Ok(()),
            Claimed::Lost => Err(changed_meanwhile(&stored.volume)),
        }
    }
}

/// The refusal of who finds that `volume` is not as it was when the exclusion was taken: a repeat decides anew.
pub(crate) fn changed_meanwhile(volume: &VolumeRecord) -> Error {
    Error::new(ErrorKind::Unavailable, "the volume was changed by another meanwhile")
        .context("volume", &volume.name)
        .advise("repeat the call")
}
