//! The life of a volume: created, named, deleted, taken back, and what an interruption leaves.
//!
//! The head comes first and the name after it, so whatever a kill leaves has a head that says how far it
//! came. An acknowledgement is a change of the head, so whoever undoes what looks abandoned undoes nothing
//! that was acknowledged.

use super::{
    Remote,
    head::Changed,
    names::{Claimed, Named},
    record::Record,
    take::in_use,
};
use crate::head::{
    free::FreeChange,
    record::{Head, Stage, Trashed},
    writer::{ETag, Found},
};
use object_store::ObjectStore as _;
use persist_core::{Epoch, Error, ErrorKind, Result, Retry, VolumeId, VolumeName};

/// What publishing a volume came to.
#[derive(Debug)]
pub(crate) enum Published {
    /// The volume has its name.
    Named(Head, ETag),
    /// The name is another volume's: what was to be published is undone.
    Taken(Head, ETag),
}

/// A deletion that was announced, in the version of the head that says so.
#[derive(Debug)]
pub(crate) struct Announced {
    /// The head.
    pub(crate) head: Head,
    etag: ETag,
}

/// What was found of a volume that a call has left unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// Nothing: it is as it should be.
    None,
    /// It was finished.
    Finished,
    /// It was undone.
    Undone,
    /// Somebody holds it: its lease has to run out, or be ended, first.
    Held,
}

impl Remote {
    /// Begins a new volume: its head, which nothing names yet, then its record. The caller writes `fmt`, and
    /// what the volume shall hold under a lease of the new head; then it [publishes](Self::publish) it.
    ///
    /// # Errors
    /// `Unavailable` with `Verify`: what is there then has no name, and `prune` removes it.
    pub(crate) async fn begin(&self, record: &Record) -> Result<(Head, ETag)> {
        let draft = self.draft(record, Epoch::ZERO)?;
        let head = Head::new(record.id.clone(), record.name.clone(), draft.name, self.nonce())?;
        let etag = self.create_head(&head).await?;
        self.write_record(&record.id, &draft).await?;
        Ok((head, etag))
    }

    /// Gives a volume that was begun, or is being taken back, its name. Nobody holds its head.
    ///
    /// # Errors
    /// `Unavailable` with `Backoff` if it was undone meanwhile, by a `prune`: begin again; with `Verify`: it
    /// may have its name then, and `prune` finishes or undoes it.
    pub(crate) async fn publish(&self, name: &VolumeName, volume: &VolumeId) -> Result<Published> {
        loop {
            let base = match self.resolve(name).await? {
                Named::Volume(head, _) if head.volume == *volume => return self.named(name, volume).await,
                Named::Volume(head, _) => return self.taken_by(name, &head.volume, volume).await,
                Named::Free(base) => base,
            };
            // Lost is resolved by another look: only a name that is another's ends it.
            if self.claim(name, Some(volume), &base).await? == Claimed::Won {
                return self.named(name, volume).await;
            }
        }
    }

    /// Announces the deletion of the volume of this name: from now on nobody can take a snapshot of it. The caller
    /// looks whether it may go, and then [ends](Self::end_deletion) or [undoes](Self::undo_deletion) it.
    ///
    /// # Errors
    /// `InUse` with the holder while it is attached; `Unavailable` with `Verify`: a repeat goes on.
    pub(crate) async fn begin_deletion(&self, name: &VolumeName) -> Result<Option<Announced>> {
        let Some(id) = self.entry(name).await?.volume else { return Ok(None) };
        match self.announce(&id, name).await? {
            Some((head, etag)) => Ok(Some(Announced { head, etag })),
            None => self.free_name(name, &id).await.map(|()| None),
        }
    }

    /// Leaves the volume as it was.
    ///
    /// # Errors
    /// As the object store gives them: then a `prune` undoes it.
    pub(crate) async fn undo_deletion(&self, announced: &Announced) -> Result<()> {
        self.try_change(&announced.head, &announced.etag, &FreeChange::Undo).await.map(drop)
    }

    /// Deletes the volume for good or into the trash, and gives its name free.
    ///
    /// # Errors
    /// `InUse` if it was attached meanwhile; `Unavailable` with `Verify`: a repeat goes on.
    pub(crate) async fn end_deletion(&self, announced: &Announced, trash: Option<Trashed>) -> Result<Head> {
        let Announced { head, etag } = announced;
        match self.try_change(head, etag, &FreeChange::Delete(trash)).await? {
            Changed::Done(gone, _) => self.free_name(&head.name, &head.volume).await.map(|()| gone),
            Changed::Other(Found::Head(now, _)) if now.lease.is_some() => Err(in_use(&now, &head.name)),
            Changed::Other(_) => Err(changed_meanwhile(&head.name)),
        }
    }

    /// Takes a volume of the trash back, as `record` describes it.
    ///
    /// # Errors
    /// `NotFound` if it is not in the trash; as [`publish`](Self::publish).
    pub(crate) async fn take_back(&self, record: &Record) -> Result<Published> {
        self.settle_leftover(&record.id).await?;
        let (head, etag) = self.find_there(&record.id).await?;
        let begun = match head.stage {
            Stage::Trashed(_) => {
                let draft = self.draft(record, head.epoch)?;
                self.write_record(&record.id, &draft).await?;
                self.try_change(&head, &etag, &FreeChange::Return(record.name.clone(), draft.name)).await?
            }
            _ => Changed::Other(Found::Head(head, etag)),
        };
        match begun {
            Changed::Done(..) => self.publish(&record.name, &record.id).await,
            Changed::Other(_) => {
                Err(Error::not_found("the volume is not in the trash").context("id", &record.id))
            }
        }
    }

    /// Finishes or undoes what an interrupted call has left of a volume. What is under way in another process
    /// may be undone as well: that call then says so, and its repeat succeeds.
    ///
    /// # Errors
    /// As the object store gives them.
    pub(crate) async fn settle_leftover(&self, volume: &VolumeId) -> Result<Leftover> {
        let Found::Head(head, etag) = self.find(volume).await? else { return Ok(Leftover::None) };
        let unfinished = matches!(head.stage, Stage::Naming | Stage::Returning(_) | Stage::Deleting);
        if !unfinished {
            return Ok(Leftover::None);
        }
        if head.lease.is_some() {
            return Ok(Leftover::Held);
        }
        // Undone is only the version that was read: its creator acknowledges nothing without changing it.
        if head.stage != Stage::Deleting && self.entry(&head.name).await?.volume.as_ref() == Some(volume) {
            self.change_free(volume, &FreeChange::Named(head.name)).await?;
            return Ok(Leftover::Finished);
        }
        match self.try_change(&head, &etag, &FreeChange::Undo).await? {
            Changed::Done(..) => Ok(Leftover::Undone),
            Changed::Other(_) => Ok(Leftover::None),
        }
    }

    /// The identities of all volumes, in whatever stage.
    ///
    /// # Errors
    /// As the object store gives them.
    pub(crate) async fn volumes(&self) -> Result<Vec<VolumeId>> {
        let prefix = self.keys.volumes();
        let listed =
            self.data.list_with_delimiter(Some(&prefix)).await.map_err(|e| super::cause::of_read(&e))?;
        Ok(listed.common_prefixes.iter().filter_map(|path| self.keys.parse_volume(path)).collect())
    }

    /// Announces the deletion; none if there is no such volume any more.
    async fn announce(&self, volume: &VolumeId, name: &VolumeName) -> Result<Option<(Head, ETag)>> {
        loop {
            let (head, etag) = self.find_there(volume).await?;
            if head.check_there().is_err() || head.name != *name {
                return Ok(None);
            }
            if head.lease.is_some() {
                return Err(in_use(&head, name));
            }
            if let Changed::Done(head, etag) = self.try_change(&head, &etag, &FreeChange::Announce).await? {
                return Ok(Some((head, etag)));
            }
        }
    }

    async fn named(&self, name: &VolumeName, volume: &VolumeId) -> Result<Published> {
        match self.change_free(volume, &FreeChange::Named(name.clone())).await {
            Ok((head, etag)) => Ok(Published::Named(head, etag)),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(undone(volume)),
            Err(e) => Err(e),
        }
    }

    /// The name is another volume's: what was begun for it is undone, and the other is acknowledged only
    /// once nobody can undo it.
    async fn taken_by(&self, name: &VolumeName, other: &VolumeId, mine: &VolumeId) -> Result<Published> {
        self.change_free(mine, &FreeChange::Undo).await?;
        match self.named(name, other).await? {
            Published::Named(head, etag) | Published::Taken(head, etag) => Ok(Published::Taken(head, etag)),
        }
    }
}

fn undone(volume: &VolumeId) -> Error {
    Error::new(ErrorKind::Unavailable, "the volume was undone by a prune before it had its name")
        .with_retry(Retry::Backoff)
        .context("id", volume)
        .advise("repeat the call")
}

fn changed_meanwhile(name: &VolumeName) -> Error {
    Error::new(ErrorKind::Unavailable, "the volume was changed while it was deleted")
        .with_retry(Retry::Backoff)
        .context("volume", name)
        .advise("repeat the call")
}

#[cfg(test)]
mod tests;
