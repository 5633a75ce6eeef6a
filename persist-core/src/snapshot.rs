//! Snapshots: immutable, named points in time of a volume.

mod restore;

pub use restore::{DeleteSnapshotOptions, Replaced, RestoreOptions, RestoreReport};

use crate::{
    capability::Consistency,
    clock::Timestamp,
    error::{Error, Result},
    id::{Epoch, VolumeId},
    name::{Labels, VolumeName, name},
    progress::CallOptions,
    quiesce::{HookRun, Quiesce},
    tree::TreeTotals,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

name! {
    /// The name of a snapshot, unique within its volume; the idempotency key of `snapshot`.
    ///
    /// The same alphabet as a [`VolumeName`].
    SnapshotName, "snapshot", crate::name::word
}

/// Why a snapshot exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SnapshotKind {
    /// Somebody asked for it.
    #[default]
    Named,
    /// It keeps the work of a fenced writer. Restoring it promotes the work.
    Salvage,
    /// It keeps what a restore replaced.
    Replaced,
}

/// What the store knows about a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotRecord {
    /// Its name.
    pub name: SnapshotName,
    /// The volume it is of.
    pub volume: VolumeId,
    /// The volume's name when it was taken.
    pub volume_name: VolumeName,
    /// Why it exists.
    pub kind: SnapshotKind,
    /// When the tree was cut, by the clock of the node that cut it.
    pub taken: Timestamp,
    /// The epoch that wrote what it covers.
    pub epoch: Epoch,
    /// The consistency that the cut reached.
    pub consistency: Consistency,
    /// The hooks that ran around the cut.
    pub hooks: Vec<HookRun>,
    /// How large the tree is, where it was counted.
    pub totals: Option<TreeTotals>,
    /// The caller's labels.
    pub labels: Labels,
}

impl SnapshotRecord {
    /// A named snapshot of `volume` that was cut at `taken`, per file, with nothing else known.
    pub fn new(name: SnapshotName, volume: VolumeId, volume_name: VolumeName, taken: Timestamp) -> Self {
        Self {
            name,
            volume,
            volume_name,
            kind: SnapshotKind::default(),
            taken,
            epoch: Epoch::ZERO,
            consistency: Consistency::default(),
            hooks: Vec::new(),
            totals: None,
            labels: Labels::new(),
        }
    }
}

/// How a snapshot is taken.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// The least consistency that the caller accepts; less is an error instead of a snapshot.
    pub consistency: Consistency,
    /// Stops and thaws the writers around the cut.
    pub quiesce: Option<Arc<dyn Quiesce>>,
    /// Kept with the snapshot.
    pub labels: Labels,
}

/// What `snapshot` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// The snapshot.
    pub record: SnapshotRecord,
    /// Whether it was taken by this call or was there.
    pub outcome: Outcome,
    /// What could not be kept or was not as asked, one sentence each.
    pub remarks: Vec<String>,
}

impl SnapshotReport {
    /// Reports a snapshot.
    pub fn new(record: SnapshotRecord, outcome: Outcome) -> Self {
        Self { record, outcome, remarks: Vec::new() }
    }
}

/// Whether a call did its work or found it done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// This call did it.
    Done,
    /// It was so already.
    Already,
}
