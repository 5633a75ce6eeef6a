//! Putting a snapshot back, and taking one away.

use super::{Outcome, SnapshotName};
use crate::{progress::CallOptions, volume::VolumeRecord};

/// How a volume is restored in place.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// What happens to the tree that is replaced.
    pub replaced: Replaced,
}

/// What happens to the tree that a restore replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replaced {
    /// It is kept as a snapshot of kind [`Replaced`](super::SnapshotKind::Replaced), under a name that
    /// the report gives.
    #[default]
    Keep,
    /// It is kept under this name.
    KeepAs(SnapshotName),
    /// It is removed.
    Discard,
}

/// What `restore` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RestoreReport {
    /// The volume after it.
    pub volume: VolumeRecord,
    /// The snapshot that keeps what was replaced.
    pub replaced: Option<SnapshotName>,
    /// Whether the volume was changed by this call or was at that snapshot.
    pub outcome: Outcome,
    /// What could not be kept or was not as asked, one sentence each.
    pub remarks: Vec<String>,
}

impl RestoreReport {
    /// Reports a restore.
    pub fn new(volume: VolumeRecord, replaced: Option<SnapshotName>, outcome: Outcome) -> Self {
        Self { volume, replaced, outcome, remarks: Vec::new() }
    }
}

/// How a snapshot is deleted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeleteSnapshotOptions {
    /// Progress and deadline.
    pub call: CallOptions,
}
