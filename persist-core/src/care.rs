//! Looking after a store: health, usage, verification, and finishing what was interrupted.

use crate::{
    clock::Timestamp,
    error::{Error, ErrorKind},
    id::VolumeId,
    name::VolumeName,
    progress::CallOptions,
    snapshot::SnapshotName,
    tree::TreePath,
};
use serde::{Deserialize, Serialize};

/// One statement about the health of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Whose view it is.
    pub view: View,
    /// How it is.
    pub status: HealthStatus,
    /// A word for programs: `store-readable`, `record-unreadable`, `helper-stuck`, ...
    pub reason: String,
    /// One sentence for people.
    pub message: String,
}

impl Health {
    /// States how something is.
    pub fn new(
        view: View,
        status: HealthStatus,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { view, status, reason: reason.into(), message: message.into() }
    }
}

/// Whose view a statement is; the two are never merged into one truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum View {
    /// What the store knows.
    Store,
    /// What this node sees; may be old.
    Node {
        /// From when the answer is, if it is a copy.
        as_of: Option<Timestamp>,
    },
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HealthStatus {
    /// As it should be.
    Good,
    /// Works, but somebody should look.
    Degraded,
    /// Does not work.
    Bad,
}

/// What `usage` counts.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UsageOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// Only this volume; without it, the store.
    pub volume: Option<VolumeName>,
}

/// How much is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes that the volumes' trees take up, holes not counted.
    pub volume_bytes: u64,
    /// Bytes that the snapshots take up, holes not counted; what they share with volumes may be counted
    /// in both where the filesystem does not tell.
    pub snapshot_bytes: u64,
    /// Bytes in the trash and in interrupted work.
    pub reclaimable_bytes: u64,
    /// Entries of the volumes' trees.
    pub files: u64,
    /// Bytes that can still be written, where known.
    pub free_bytes: Option<u64>,
}

/// What `verify` checks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// Only this volume; without it, the store.
    pub volume: Option<VolumeName>,
}

/// What `verify` found. Nothing was changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Entries that were checked.
    pub files: u64,
    /// Bytes that were read and found readable, and right where the store can tell.
    pub bytes: u64,
    /// What is wrong; empty if nothing is.
    pub faults: Vec<Fault>,
    /// What this store cannot tell (a filesystem without checksums), one sentence each.
    pub remarks: Vec<String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// In which volume.
    pub volume: Option<VolumeId>,
    /// In which snapshot of it.
    pub snapshot: Option<SnapshotName>,
    /// At which entry.
    pub path: Option<TreePath>,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    /// Something wrong with `volume`, or with the store if there is none.
    pub fn new(volume: Option<VolumeId>, what: impl Into<String>) -> Self {
        Self { volume, snapshot: None, path: None, what: what.into() }
    }
}

/// What `prune` may do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// Whether anything is removed.
    pub mode: PruneMode,
}

/// Whether `prune` removes what it finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PruneMode {
    /// Only says what would be done.
    #[default]
    Report,
    /// Does it.
    Apply,
}

/// What `prune` did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneReport {
    /// Each piece of work, in the order in which it is done.
    pub items: Vec<PruneItem>,
    /// Bytes that it frees.
    pub bytes: u64,
    /// What could not be looked at, finished or removed, and is tried again by the next prune; the rest
    /// went on.
    pub failures: Vec<PruneFailure>,
}

/// A piece of work that failed, while the others went on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneFailure {
    /// The volume it belongs to, where one is known.
    pub volume: Option<VolumeId>,
    /// What the caller should do about it.
    pub kind: ErrorKind,
    /// What failed, where, why, and what to do, in one line.
    pub what: String,
}

impl PruneFailure {
    /// A piece of work that failed with `error`.
    pub fn new(volume: Option<VolumeId>, error: &Error) -> Self {
        Self { volume, kind: error.kind(), what: error.to_string() }
    }
}

/// One piece of work of `prune`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneItem {
    /// Why it is there.
    pub reason: PruneReason,
    /// The volume it belongs to, where one is known.
    pub volume: Option<VolumeId>,
    /// What it is, for people.
    pub what: String,
    /// Bytes that it frees.
    pub bytes: u64,
}

impl PruneItem {
    /// One piece of work.
    pub fn new(reason: PruneReason, volume: Option<VolumeId>, what: impl Into<String>, bytes: u64) -> Self {
        Self { reason, volume, what: what.into(), bytes }
    }
}

/// Why `prune` does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PruneReason {
    /// An interrupted operation is finished.
    Finish,
    /// An interrupted operation is undone.
    Undo,
    /// A volume in the trash is past its window.
    TrashExpired,
    /// A volume is past its [`Lifetime`](crate::Lifetime).
    LifetimeEnded,
    /// An attachment whose holder is proven dead.
    DeadHolder,
    /// Nothing refers to it.
    Unreferenced,
}
