//! Changes of a head that nobody holds, by whoever finds it so: a compare-and-swap without a lease.
//!
//! Each is done or not, whoever did it, so an answer that was lost costs a look and nothing else.

use super::{
    names::UniqueName,
    record::{Head, Stage, Trashed},
};
use persist_core::{Error, ErrorKind, Result, VolumeName, Vouch};

/// A change of a head that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FreeChange {
    /// The volume's name is written: it is live, unless it has another name by now.
    Named(VolumeName),
    /// A creation, a deletion or a taking back that was interrupted is undone.
    Undo,
    /// The volume is about to be deleted: from now on nobody takes a snapshot.
    Announce,
    /// The volume is deleted, for good or into the trash. Only of the version that was announced.
    Delete(Option<Trashed>),
    /// A volume of the trash is taken back, under this name and described anew.
    Return(VolumeName, UniqueName),
    /// A volume of the trash is deleted for good.
    Purge,
    /// The volume is described anew.
    Describe(UniqueName),
    /// The lease of an attachment is ended that the caller vouches is dead. The epoch stays: nobody else
    /// has it, and its holder finds the head changed.
    Release(Vouch),
}

impl FreeChange {
    /// Whether `head` is so already.
    pub fn is_done(&self, head: &Head) -> bool {
        match self {
            Self::Named(name) => head.stage == Stage::Live && head.name == *name,
            Self::Undo => !matches!(head.stage, Stage::Naming | Stage::Deleting | Stage::Returning(_)),
            Self::Announce => false,
            Self::Delete(_) => matches!(head.stage, Stage::Trashed(_) | Stage::Deleted),
            Self::Return(_, record) | Self::Describe(record) => head.record == *record,
            Self::Purge => head.stage == Stage::Deleted,
            Self::Release(vouch) => {
                head.lease.as_ref().is_none_or(|lease| lease.attachment != vouch.attachment)
            }
        }
    }

    /// The head after this change of `head`.
    ///
    /// # Errors
    /// `InUse` while somebody holds the lease; `NotFound` for a deleted volume; `Conflict` for a vouch that
    /// is about another epoch; `Internal` for a stage that the change does not begin in.
    pub fn of(&self, head: &Head, nonce: u128) -> Result<Head> {
        if let Self::Release(vouch) = self {
            return released(head, vouch, nonce);
        }
        if head.lease.is_some() {
            return Err(Error::new(ErrorKind::InUse, "the volume is attached").context("id", &head.volume));
        }
        let mut next = Head { stage: self.next_stage(head)?, ..head.clone() };
        match self {
            Self::Return(name, record) => (next.name, next.record) = (name.clone(), *record),
            Self::Describe(record) => next.record = *record,
            _ => {}
        }
        next.sealed(nonce)
    }

    fn next_stage(&self, head: &Head) -> Result<Stage> {
        match (self, head.stage) {
            (Self::Named(name), _) if *name != head.name => {
                Err(Error::not_found("the volume has another name"))
            }
            (Self::Named(_), Stage::Naming | Stage::Returning(_)) => Ok(Stage::Live),
            (Self::Undo, Stage::Naming) | (Self::Purge, Stage::Trashed(_)) => Ok(Stage::Deleted),
            (Self::Undo, Stage::Deleting) => Ok(Stage::Live),
            (Self::Undo, Stage::Returning(trashed)) => Ok(Stage::Trashed(trashed)),
            (Self::Announce, Stage::Naming | Stage::Live | Stage::Deleting) => Ok(Stage::Deleting),
            (Self::Delete(trash), Stage::Deleting) => Ok(trash.map_or(Stage::Deleted, Stage::Trashed)),
            (Self::Return(..), Stage::Trashed(trashed)) => Ok(Stage::Returning(trashed)),
            (Self::Describe(_), stage) => head.check_there().map(|()| stage),
            _ => {
                head.check_there()?;
                Err(Error::internal("a change does not begin in this stage")
                    .context("change", format_args!("{self:?}"))
                    .context("stage", format_args!("{:?}", head.stage)))
            }
        }
    }
}

fn released(head: &Head, vouch: &Vouch, nonce: u128) -> Result<Head> {
    head.check_there()?;
    if vouch.epoch != head.epoch {
        return Err(super::lease::stale_vouch(vouch, head));
    }
    let next = Head { lease: None, ..head.clone() };
    next.sealed(nonce)
}
