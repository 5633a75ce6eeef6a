//! The changes of a head: each gives the next body, sealed; nothing else ever becomes one.

use super::record::{CommitName, Head, Lease, PackName, SessionId, Stage};
use persist_core::{Error, ErrorKind, Result};

impl Head {
    /// Taken by a session: the next epoch, its lease.
    ///
    /// # Errors
    /// `NotFound` for a deleted volume.
    pub fn taken(&self, lease: Lease, nonce: u128) -> Result<Self> {
        self.check_live()?;
        let next = Self { epoch: self.epoch.next(), lease: Some(lease), ..self.clone() };
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

    /// Packs condemned by its holder: written before anything looks who needs them.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease; `Exhausted` for more tombstones than a head holds.
    pub fn condemned(
        &self,
        session: SessionId,
        packs: impl IntoIterator<Item = PackName>,
        nonce: u128,
    ) -> Result<Self> {
        self.check_held(session)?;
        let mut next = self.clone();
        next.tombstones.extend(packs);
        next.sealed(nonce)
    }

    /// Tombstones dropped by its holder, for packs that are gone for certain or that stay.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn absolved<'a>(
        &self,
        session: SessionId,
        packs: impl IntoIterator<Item = &'a PackName>,
        nonce: u128,
    ) -> Result<Self> {
        self.check_held(session)?;
        let mut next = self.clone();
        for pack in packs {
            next.tombstones.remove(pack);
        }
        next.sealed(nonce)
    }

    /// Deleted by its holder. Final.
    ///
    /// # Errors
    /// `Fenced` unless `session` holds the lease.
    pub fn deleted(&self, session: SessionId, nonce: u128) -> Result<Self> {
        self.check_held(session)?;
        let next = Self { stage: Stage::Deleted, lease: None, ..self.clone() };
        next.sealed(nonce)
    }

    fn check_live(&self) -> Result<()> {
        match self.stage {
            Stage::Live => Ok(()),
            Stage::Deleted => Err(Error::new(ErrorKind::NotFound, "the volume was deleted")),
        }
    }

    fn check_held(&self, session: SessionId) -> Result<()> {
        self.check_live()?;
        match &self.lease {
            Some(lease) if lease.session == session => Ok(()),
            _ => Err(Error::fenced(self.epoch, self.epoch, None)
                .context("because", "the lease is not this session's")),
        }
    }
}
