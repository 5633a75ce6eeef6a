//! Names: the newest numbered record of a name says which volume it is, or that it is free.
//!
//! A volume that was deleted gives its name free in two steps: its own record says `Trashed` (from then on
//! it is deleted), and the record after its name's newest says `FreedBy`. Whoever comes between does the
//! second step; the volume's exclusion orders that against taking the volume back.

use super::{
    durable::Claimed,
    engine::Engine,
    exclusion::{Exclusion, Hold},
    marker::root::make_private,
    records::{self, Numbered},
    recovery::is_there,
    stored::{Located, NameRecord},
};
use crate::{
    error::{Error, ErrorKind, Result},
    id::VolumeId,
    name::VolumeName,
    open::OpenMode,
    progress::Meter,
    volume::VolumeState,
};
use std::path::{Path, PathBuf};

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Named {
    /// Nothing; the number of its newest record, if it has one.
    Free(Option<u64>),
    /// A volume that can be used.
    Ready(Box<Located>),
    /// A volume that was deleted, or taken back under another name, and has not given this one free yet.
    Stale(Box<Located>),
}

/// The right to make the next record of a name: its directory stays meanwhile.
#[derive(Debug)]
pub(crate) struct NameClaim {
    directory: PathBuf,
    _kept: Exclusion,
}

impl Engine {
    /// What `name` stands for now. Waits for nobody.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read, and for a name whose volume is not there; `Unavailable` where
    /// the store itself is not there any more.
    pub(crate) fn resolve(&self, name: &VolumeName) -> Result<Named> {
        let directory = self.layout.name(name);
        let mut missing = None;
        loop {
            let Some(Numbered { number, record }) = records::newest(&directory)? else {
                // Where the store is not, as after an unmount, nothing can be said of any name.
                let store = is_there(&self.layout.names())?;
                return if store { Ok(Named::Free(None)) } else { Err(self.gone()) };
            };
            let NameRecord::Names(id) = record else { return Ok(Named::Free(Some(number))) };
            match self.locate_id(&id) {
                Ok(found) if is_ready_as(&found, name) => return Ok(Named::Ready(Box::new(found))),
                Ok(found) => return Ok(Named::Stale(Box::new(found))),
                // A volume gives its name free before it is removed: look again, but only once.
                Err(e) if e.kind() == ErrorKind::NotFound && missing != Some(number) => {
                    missing = Some(number);
                }
                Err(e) if e.kind() == ErrorKind::NotFound => return Err(lost(name, &id)),
                Err(e) => return Err(e),
            }
        }
    }

    /// The volume that the newest record of `name` names, in whatever state it is.
    ///
    /// # Errors
    /// `Corrupt`; as the filesystem reports them.
    pub(crate) fn volume_named(&self, name: &VolumeName) -> Result<Option<VolumeId>> {
        Ok(match records::newest(&self.layout.name(name))? {
            Some(Numbered { record: NameRecord::Names(id), .. }) => Some(id),
            _ => None,
        })
    }

    /// Whether the newest record of `name` says that it is the volume `id`.
    ///
    /// # Errors
    /// `Corrupt`; as the filesystem reports them.
    pub(crate) fn names(&self, name: &VolumeName, id: &VolumeId) -> Result<bool> {
        Ok(self.volume_named(name)?.as_ref() == Some(id))
    }

    /// Makes the name of a ready volume durable, before anything is built on it, if it may not be: its creator
    /// is, or has died, between the link and its flush. Who made it durable has ended the intent after that.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn confirm_name(&self, found: &Located) -> Result<()> {
        let volume = &found.stored.volume;
        if self.mode == OpenMode::ReadOnly || !is_there(&self.layout.intent(&volume.id))? {
            return Ok(());
        }
        self.durable.directory(&self.layout.name(&volume.name))
    }

    /// Makes what was found in `directory` durable, before it is acknowledged as there already: who made it
    /// may have died before its flush. A store that was opened read-only acknowledges nothing.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn confirm(&self, directory: &Path) -> Result<()> {
        match self.mode {
            OpenMode::ReadOnly => Ok(()),
            _ => self.durable.directory(directory),
        }
    }

    /// Makes sure that `name` has a directory, and keeps it until the claim is made.
    ///
    /// # Errors
    /// As the filesystem reports them; `Unavailable` once stopped.
    pub(crate) fn begin_claim(&self, name: &VolumeName, meter: &Meter) -> Result<NameClaim> {
        let kept = Exclusion::take(&self.layout.names_exclusion(), Hold::Shared, meter)?;
        let directory = self.layout.name(name);
        make_private(&directory)?;
        Ok(NameClaim { directory, _kept: kept })
    }

    /// Makes `record` the newest of the name, if `previous` still is. The name's directory is durable by
    /// now: flushed after [`begin_claim`](Self::begin_claim), or named before.
    ///
    /// # Errors
    /// As the filesystem reports them: it may be made then.
    pub(crate) fn claim(
        &self,
        claim: &NameClaim,
        previous: Option<u64>,
        record: &NameRecord,
    ) -> Result<Claimed> {
        if records::newest_number(&claim.directory)? != previous {
            return Ok(Claimed::Lost);
        }
        records::publish(&self.durable, &claim.directory, previous, record)
    }

    /// Gives `name` free if it still stands for the volume `id`. The caller holds the volume's exclusion
    /// and knows that the volume is not ready under this name.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    pub(crate) fn free_name(&self, name: &VolumeName, id: &VolumeId, meter: &Meter) -> Result<()> {
        let claim = self.begin_claim(name, meter)?;
        match records::newest(&claim.directory)? {
            Some(Numbered { number, record: NameRecord::Names(named) }) if named == *id => {
                // Lost means that another was faster with the same.
                self.claim(&claim, Some(number), &NameRecord::FreedBy(id.clone())).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Finishes what a deletion, or a taking back, left behind: `name` is given free.
    ///
    /// # Errors
    /// As [`free_name`](Self::free_name); `Unavailable` once stopped.
    pub(crate) fn free_stale(&self, name: &VolumeName, stale: &Located, meter: &Meter) -> Result<()> {
        let _excluded = match self.exclude(&stale.layout, meter) {
            // It was removed meanwhile, and before that its name was given free.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            held => held?,
        };
        let id = &stale.stored.volume.id;
        match self.locate_id(id) {
            Ok(now) if is_ready_as(&now, name) => Ok(()),
            Ok(_) => {
                // Its deletion must not be undone by a power cut once its name is another's.
                self.durable.directory(&stale.layout.records())?;
                self.free_name(name, id, meter)
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Removes the directory of a name that is free, unless somebody claims a name just now.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn forget_name(&self, name: &VolumeName) -> Result<()> {
        let Some(_alone) = Exclusion::attempt(&self.layout.names_exclusion(), Hold::Alone)? else {
            return Ok(());
        };
        let directory = self.layout.name(name);
        match records::newest(&directory)? {
            Some(Numbered { record: NameRecord::Names(_), .. }) => Ok(()),
            _ => records::remove_all(&directory),
        }
    }
}

fn is_ready_as(found: &Located, name: &VolumeName) -> bool {
    let volume = &found.stored.volume;
    volume.state == VolumeState::Ready && volume.name == *name
}

fn lost(name: &VolumeName, id: &VolumeId) -> Error {
    Error::new(ErrorKind::Corrupt, "the volume that this name stands for is not there")
        .context("volume", name)
        .context("id", id)
        .advise("bring its directory back below volumes/, or move the name's directory away")
}
