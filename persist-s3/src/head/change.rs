//! The changes of a head: each gives the next body, sealed; nothing else ever becomes one.

use super::{
    names::{CommitName, Condemned, UniqueName},
    record::{Head, Lease, Removal, SessionId, Stage, TOMBSTONES_MAX, Trashed},
};
use persist_core::{Error, ErrorKind, Result};
use std::collections::BTreeSet;

/// A change of a head by the session that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing but the write id: the lease goes on.
    Renew,
    /// The volume moves to a commit.
    Commit(CommitName),
    /// The lease is given back.
    Release,
    /// What is about to be removed, before anybody looks who needs it: as many as a head holds.
    Condemn(Vec<Condemned>),
    /// The same, listed in an immutable object.
    CondemnListed(UniqueName),
    /// The removal begins of these, of what is condemned; the rest is spared. Before the first delete is sent.
    Remove(Vec<Condemned>),
    /// The same of what an immutable object lists.
    RemoveListed(UniqueName),
    /// All tombstones are dropped: what they named is gone for certain, or stays.
    Absolve,
    /// Another description of the volume.
    Describe(UniqueName),
    /// The volume is deleted, for good or into the trash.
    Delete(Option<Trashed>),
}

/// How whoever takes a head came to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBy {
    /// By the volume's name: it has one.
    Name,
    /// By the volume's identity: it may have no name yet.
    Id,
}

impl Change {
    /// The head after this change of `head` by `session`.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Exhausted` for more tombstones than a head holds;
    /// `Internal` for a commit that is not the next one of its epoch, and for what is condemned or removed while
    /// a removal has begun.
    pub fn of(&self, head: &Head, session: SessionId, nonce: u128) -> Result<Head> {
        match self {
            Self::Renew => head.renewed(session, nonce),
            Self::Commit(commit) => head.committed(session, commit.clone(), nonce),
            Self::Release => head.released(session, nonce),
            Self::Condemn(names) => head.condemned(session, names.iter().cloned(), nonce),
            Self::CondemnListed(list) => head.condemned_by_list(session, *list, nonce),
            Self::Remove(names) => head.removing(session, (names.iter().cloned().collect(), None), nonce),
            Self::RemoveListed(list) => head.removing(session, (BTreeSet::new(), Some(*list)), nonce),
            Self::Absolve => head.absolved(session, nonce),
            Self::Describe(record) => head.described(session, *record, nonce),
            Self::Delete(trash) => head.deleted(session, *trash, nonce),
        }
    }
}

impl Head {
    /// Taken by a session: the next epoch, its lease.
    ///
    /// # Errors
    /// `NotFound` for a deleted volume.
    pub fn taken(&self, found: FoundBy, lease: Lease, nonce: u128) -> Result<Self> {
        self.check_there()?;
        let stage = match (found, self.stage) {
            // Whoever made it has not named it yet: if he is interrupted, a prune undoes it.
            (FoundBy::Id, Stage::Naming) => Stage::Naming,
            // It has a name, and whoever was about to delete it finds that it changed.
            _ => Stage::Live,
        };
        let next = Self { stage, epoch: self.epoch.next(), lease: Some(lease), ..self.clone() };
        next.sealed(nonce)
    }

    /// Renewed by its holder: the same but for its write id.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn renewed(&self, session: SessionId, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        self.clone().sealed(nonce)
    }

    /// Moved to `commit` by its holder.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Internal` for a commit that is not the next one of this
    /// epoch.
    pub fn committed(&self, session: SessionId, commit: CommitName, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        if commit.seq != self.seq + 1 || commit.epoch != self.epoch {
            return Err(
                Error::internal("a commit is not the next one of its epoch").context("commit", commit)
            );
        }
        let next = Self { seq: commit.seq, commit: Some(commit), ..self.clone() };
        next.sealed(nonce)
    }

    /// Given free by its holder: the same epoch, no lease.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn released(&self, session: SessionId, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        let next = Self { lease: None, ..self.clone() };
        next.sealed(nonce)
    }

    /// With more tombstones, by its holder: written before anything looks who needs what they name.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Exhausted` for more tombstones than a head holds; `Internal` if
    /// a removal has begun.
    pub fn condemned(
        &self,
        session: SessionId,
        names: impl IntoIterator<Item = Condemned>,
        nonce: u128,
    ) -> Result<Self> {
        self.check_held(session)?;
        self.check_nothing_is_removed()?;
        let mut next = self.clone();
        next.tombstones.extend(names);
        next.check_tombstones()?;
        next.sealed(nonce)
    }

    /// With the tombstones of an immutable object, by its holder.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Internal` while there is another list, or a
    /// removal has begun.
    pub fn condemned_by_list(&self, session: SessionId, list: UniqueName, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        self.check_nothing_is_removed()?;
        if self.more_tombstones.is_some() {
            return Err(Error::internal("a second list of tombstones"));
        }
        let next = Self { more_tombstones: Some(list), ..self.clone() };
        next.sealed(nonce)
    }

    /// With the removal begun of `these`, by its holder, who has looked who speaks for what was condemned: written
    /// before the first delete is sent. From now on nobody can speak for any of it.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Exhausted` for more tombstones than a head holds; `Internal` if
    /// a removal has begun.
    pub fn removing(
        &self,
        session: SessionId,
        these: (BTreeSet<Condemned>, Option<UniqueName>),
        nonce: u128,
    ) -> Result<Self> {
        self.check_held(session)?;
        self.check_nothing_is_removed()?;
        let (tombstones, more_tombstones) = these;
        let next = Self { tombstones, more_tombstones, removal: Removal::Begun, ..self.clone() };
        next.check_tombstones()?;
        next.sealed(nonce)
    }

    /// Without tombstones, by its holder: what they named is gone for certain, or stays.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn absolved(&self, session: SessionId, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        let (tombstones, removal) = (BTreeSet::new(), Removal::Announced);
        let next = Self { tombstones, more_tombstones: None, removal, ..self.clone() };
        next.sealed(nonce)
    }

    /// With another description, by its holder.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn described(&self, session: SessionId, record: UniqueName, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        let next = Self { record, ..self.clone() };
        next.sealed(nonce)
    }

    /// Deleted by its holder: into the trash, or for good.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn deleted(&self, session: SessionId, trash: Option<Trashed>, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        let stage = trash.map_or(Stage::Deleted, Stage::Trashed);
        let next = Self { stage, lease: None, ..self.clone() };
        next.sealed(nonce)
    }

    /// Refuses a head behind which there is no volume.
    ///
    /// # Errors
    /// `NotFound` for a deleted volume, also one in the trash.
    pub fn check_there(&self) -> Result<()> {
        match self.stage {
            Stage::Naming | Stage::Live | Stage::Deleting | Stage::Returning(_) => Ok(()),
            Stage::Trashed(_) | Stage::Deleted => {
                Err(Error::not_found("the volume was deleted").context("id", &self.volume))
            }
        }
    }

    /// Whoever reads a head whose removal has begun takes all of its tombstones for lost: no other is added.
    fn check_nothing_is_removed(&self) -> Result<()> {
        match self.removal {
            Removal::Announced => Ok(()),
            Removal::Begun => Err(Error::internal("a removal has begun and is not at its end")),
        }
    }

    fn check_tombstones(&self) -> Result<()> {
        if self.tombstones.len() <= TOMBSTONES_MAX {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Exhausted, "a head does not hold so many tombstones")
            .context("tombstones", self.tombstones.len())
            .context("limit", TOMBSTONES_MAX))
    }

    fn check_held(&self, session: SessionId) -> Result<()> {
        self.check_there()?;
        match &self.lease {
            Some(lease) if lease.session == session => Ok(()),
            _ => Err(Error::fenced(self.epoch, self.epoch, None)
                .context("because", "the lease is not this session's")),
        }
    }
}
