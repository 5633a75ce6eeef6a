//! Whether a pin holds: decided by what is read *after* it was written.
//!
//! Whoever pins writes the pin, *then* reads the head, the tombstones and the commit. The pruner writes its
//! tombstones, *then* lists the pins. Whichever comes second sees the first.

use super::{
    names::{CommitName, Condemned},
    record::{Head, Stage},
};
use std::collections::BTreeSet;

/// How it stands with a commit that was just pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The pin keeps it.
    Kept,
    /// It is not there any more.
    Gone,
    /// A pruner may not have seen the pin: it is removed, or stays.
    Condemned,
    /// A deleter may not have seen the pin.
    VolumeDeleting,
    /// There is no volume any more.
    VolumeGone,
}

impl Fate {
    /// What the head alone decides; none if it also takes the tombstones.
    pub fn by_head(head: &Head, commit: &CommitName) -> Option<Self> {
        if head.check_there().is_err() {
            return Some(Self::VolumeGone);
        }
        if head.stage == Stage::Deleting {
            return Some(Self::VolumeDeleting);
        }
        (head.commit.as_ref() == Some(commit)).then_some(Self::Kept)
    }

    /// What all tombstones of that head decide; none if it also takes a look at the commit.
    pub fn by_tombstones(tombstones: &BTreeSet<Condemned>, commit: &CommitName) -> Option<Self> {
        tombstones.contains(&Condemned::Commit(commit.clone())).then_some(Self::Condemned)
    }

    /// What a look at the commit decides, after that at the tombstones: it is removed with all that only it needs,
    /// and is condemned for as long as any of that may go.
    pub fn by_object(commit: Seen) -> Self {
        match commit {
            Seen::There => Self::Kept,
            Seen::Missing => Self::Gone,
        }
    }
}

/// What a look at an object saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seen {
    /// It is there.
    There,
    /// It is not.
    Missing,
}
