//! What the store keeps about an attachment, and its file.

use super::{
    decide::Seen,
    plan::{At, Plan},
};
use crate::{
    attachment::{AttachmentRecord, TargetKind},
    directory::{
        durable::{Claimed, DRAFT_PREFIX},
        engine::Engine,
        fresh,
        layout::VolumeLayout,
        place::Verdict,
        records,
        recovery::is_there,
        stored::{Located, changed_meanwhile},
    },
    error::{Error, ErrorKind, Result},
    id::{AttachmentId, Epoch, Generation},
    lease::Vouch,
    linux::cause::cause,
    snapshot::SnapshotName,
};
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};

/// An attachment as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredAttachment {
    /// What callers see.
    pub(crate) record: AttachmentRecord,
    /// How its path is made.
    pub(super) plan: Plan,
    /// The trees that it is shown, the newest last. More than one only for a reader that was refreshed.
    pub(super) shown: Vec<Shown>,
    /// The vouch that made room for it.
    pub(super) vouch: Option<Vouch>,
}

/// A tree that an attachment is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// Its place under `views/<id>/`, where it has one.
    pub(super) number: u64,
    pub(super) generation: Generation,
    /// The snapshot that it is of; none for the live tree.
    pub(super) snapshot: Option<SnapshotName>,
}

/// What is kept with a minted epoch, for people who look.
#[derive(Debug, Serialize, Deserialize)]
struct Minted {
    by: AttachmentId,
}

impl StoredAttachment {
    /// Whether it needs the snapshot `name`: one that a reader is shown is not deleted.
    pub(crate) fn needs(&self, name: &SnapshotName) -> bool {
        self.shown.iter().any(|shown| shown.snapshot.as_ref() == Some(name))
    }

    /// The trees that it is shown.
    pub(crate) fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.shown.iter().map(|shown| &shown.generation)
    }

    /// What the target is.
    pub(super) fn kind(&self) -> TargetKind {
        match self.plan.at {
            At::Symlink => TargetKind::Symlink,
            At::Mount | At::Store => TargetKind::Mount,
        }
    }

    /// This attachment, as decisions read it.
    pub(super) fn seen<'a>(&'a self, verdict: &'a Verdict) -> Seen<'a> {
        Seen { record: &self.record, kind: self.kind(), verdict }
    }

    /// The tree that it is shown now.
    pub(super) fn newest(&self) -> Result<&Shown> {
        self.shown.last().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the record of an attachment names no tree")
                .context("attachment", &self.record.id)
                .advise("keep the record as evidence, then detach it")
        })
    }
}

impl Engine {
    /// The attachments on record and what this host can say about their holders, in no order.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read: never taken for an absent one.
    pub(crate) fn attached(&self, layout: &VolumeLayout) -> Result<Vec<(StoredAttachment, Verdict)>> {
        let mut found = Vec::new();
        for id in attachment_ids(layout)? {
            if let Some(stored) = read(layout, &id?)? {
                let verdict = self.verdict(&stored);
                found.push((stored, verdict));
            }
        }
        Ok(found)
    }

    pub(super) fn verdict(&self, stored: &StoredAttachment) -> Verdict {
        match &self.node {
            Some(here) => self.place.verdict(&stored.record.holder, here),
            None => Verdict::CannotTell,
        }
    }

    /// Mints the next epoch of a volume, durably. The caller holds the volume's exclusion, and has located it since.
    ///
    /// # Errors
    /// `Unavailable` with `Backoff` if another took the number: the exclusion ended unnoticed, as with an NFS client
    /// that was cut off for too long, and what was decided under it is void.
    pub(super) fn mint_epoch(&self, located: &Located, by: &AttachmentId) -> Result<Epoch> {
        let newest = located.stored.volume.epoch;
        let previous = (newest > Epoch::ZERO).then(|| newest.get());
        let minted = Minted { by: by.clone() };
        match records::publish(&self.durable, &located.layout.epochs(), previous, &minted)? {
            Claimed::Won => Ok(newest.next()),
            Claimed::Lost => Err(changed_meanwhile(&located.stored.volume)),
        }
    }

    /// Makes the epoch known that the outer store has granted: the next one minted here is above it.
    ///
    /// # Errors
    /// `Fenced` if a higher one is known; as [`mint_epoch`](Self::mint_epoch).
    pub(super) fn take_granted(
        &self,
        located: &Located,
        by: &AttachmentId,
        granted: Option<Epoch>,
    ) -> Result<Epoch> {
        let granted = granted.ok_or_else(|| Error::internal("no epoch was granted"))?;
        let newest = self.newest_epoch(&located.layout)?;
        if newest > granted {
            return Err(Error::fenced(granted, newest, None));
        }
        if newest < granted {
            let minted = Minted { by: by.clone() };
            let (epochs, previous) = (located.layout.epochs(), granted.get().checked_sub(1));
            if records::publish(&self.durable, &epochs, previous, &minted)? == Claimed::Lost {
                return Err(changed_meanwhile(&located.stored.volume));
            }
        }
        Ok(granted)
    }

    /// Makes the record of a new attachment.
    pub(super) fn record_attachment(&self, layout: &VolumeLayout, stored: &StoredAttachment) -> Result<()> {
        let path = layout.attachment(&stored.record.id);
        match self.durable.create(&path, &records::encode(stored)?)? {
            Claimed::Won => Ok(()),
            Claimed::Lost => {
                Err(Error::internal("a new attachment's id is in use").context("id", &stored.record.id))
            }
        }
    }

    /// Replaces the record of an attachment. The caller holds the volume's exclusion.
    pub(super) fn rewrite_attachment(&self, layout: &VolumeLayout, stored: &StoredAttachment) -> Result<()> {
        self.durable.replace(&layout.attachment(&stored.record.id), &records::encode(stored)?)
    }

    /// The record of an attachment; `None` only if the store is there and has none.
    ///
    /// # Errors
    /// `Unavailable` while the store itself is not there, as when its filesystem was unmounted: then nobody
    /// has taken anything over. `Corrupt`.
    pub(super) fn on_record(
        &self,
        layout: &VolumeLayout,
        id: &AttachmentId,
    ) -> Result<Option<StoredAttachment>> {
        if let Some(stored) = read(layout, id)? {
            return Ok(Some(stored));
        }
        if !is_there(&self.layout.marker())? {
            return Err(self.gone());
        }
        // It may have come back between the two looks.
        read(layout, id)
    }

    pub(in crate::directory) fn gone(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "the store is not where it was opened")
            .context("store", self.layout.root().display())
            .advise("mount its filesystem again, or bring its directory back")
    }

    /// Finds the volume that has the attachment `id` on record: one look a volume.
    pub(super) fn volume_of(&self, id: &AttachmentId) -> Result<Option<VolumeLayout>> {
        let volumes = self.layout.volumes();
        let named = |e| cause(e, "list", volumes.display());
        let entries = match fresh::read_dir(&volumes) {
            // A store has this directory: without it, nothing can be said of any attachment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.gone()),
            entries => entries.map_err(named)?,
        };
        for entry in entries {
            let name = entry.map_err(named)?.file_name();
            let Some(volume) = name.to_str().and_then(crate::id::VolumeId::parse) else { continue };
            let layout = self.layout.volume(&volume);
            let path = layout.attachment(id);
            match fresh::symlink_metadata(&path) {
                Ok(_) => return Ok(Some(layout)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(cause(e, "stat", path.display())),
            }
        }
        Ok(None)
    }
}

/// Reads the record of the attachment `id`; `None` if there is none.
pub(super) fn read(layout: &VolumeLayout, id: &AttachmentId) -> Result<Option<StoredAttachment>> {
    match records::read(&layout.attachment(id)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The attachments that a volume has on record, in no order; a foreign file is one `Corrupt` item.
pub(super) fn attachment_ids(layout: &VolumeLayout) -> Result<Vec<Result<AttachmentId>>> {
    let directory = layout.attachments();
    let named = |e| cause(e, "list", directory.display());
    let entries = match fresh::read_dir(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(named)?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(named)?.file_name();
        let text = name.to_string_lossy();
        match AttachmentId::parse(&text) {
            Some(id) => ids.push(Ok(id)),
            None if text.starts_with(DRAFT_PREFIX) || fresh::is_removed(&text) => {}
            None => ids.push(Err(foreign(directory.join(&name)))),
        }
    }
    Ok(ids)
}

fn foreign(path: PathBuf) -> Error {
    Error::new(ErrorKind::Corrupt, "a file that is not ours is among the attachments")
        .during("list", path.display())
        .advise("move it away")
}
