//! What the calls about volumes take and report.

use super::{Protection, Source, VolumeRecord, VolumeSpec};
use crate::{
    name::{LabelKey, Labels, VolumeName},
    progress::CallOptions,
    snapshot::Outcome,
    tree::{TreeTotals, Trust},
};
use std::time::Duration;

/// How a volume is created.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// What the volume is made to be.
    pub spec: VolumeSpec,
    /// What it holds.
    pub source: Source,
    /// Whether what the source says about privilege is believed (set-id bits, devices, `security.*` and
    /// `trusted.*` attributes). Without it, a [`Source::Tree`] is not, whatever store it comes from: a store
    /// holds what its writers put there, and only the caller knows whether to believe them, as for a copy
    /// of a volume of its own. A [`Source::Directory`] is believed: what it says is in force on this host
    /// already. `Invalid` with any other source, and with a directory that is moved: those stay as they are.
    pub trust: Option<Trust>,
}

/// What `create` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CreateReport {
    /// The volume.
    pub volume: VolumeRecord,
    /// Whether this call created it or it was there.
    pub outcome: Outcome,
    /// What was copied, cloned or moved into it by this call.
    pub imported: Option<TreeTotals>,
    /// What could not be kept or was not as asked, one sentence each.
    pub remarks: Vec<String>,
}

impl CreateReport {
    /// Reports a creation.
    pub fn new(volume: VolumeRecord, outcome: Outcome) -> Self {
        Self { volume, outcome, imported: None, remarks: Vec::new() }
    }
}

/// Which volumes or snapshots are listed, and from where.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ListOptions {
    /// Begin after this name: the last one of the previous page.
    pub after: Option<String>,
    /// At most this many; `None` for all.
    pub limit: Option<usize>,
    /// Only those that have all these labels with these values.
    pub labels: Labels,
    /// In which states.
    pub states: ListStates,
}

/// In which states volumes are listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListStates {
    /// Those that can be attached, in the order of their names.
    #[default]
    Ready,
    /// Those in the trash, in the order of their ids; `after` is an id.
    Trashed,
}

impl ListOptions {
    /// Whether something with `labels` passes the filter.
    pub fn accepts(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Begins after the volume `name`.
    #[must_use]
    pub fn after_volume(self, name: &VolumeName) -> Self {
        self.with_after(name.as_str())
    }
}

/// What changes about a volume. All of it is applied, or nothing.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UpdateOptions {
    /// Labels to set (`Some`) and to remove (`None`).
    pub labels: std::collections::BTreeMap<LabelKey, Option<String>>,
    /// A new enforced size in bytes; `Some(None)` lifts the limit.
    pub size_bytes: Option<Option<u64>>,
    /// A new protection.
    pub protection: Option<Protection>,
}

/// What `update` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct UpdateReport {
    /// The volume after it.
    pub volume: VolumeRecord,
    /// Whether this call changed anything.
    pub outcome: Outcome,
}

impl UpdateReport {
    /// Reports an update.
    pub fn new(volume: VolumeRecord, outcome: Outcome) -> Self {
        Self { volume, outcome }
    }
}

/// How a volume is deleted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// What happens to its snapshots.
    pub snapshots: SnapshotsAlong,
    /// What happens to its data.
    pub trash: Trash,
}

/// What happens to the snapshots of a volume that is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotsAlong {
    /// A volume that has any is not deleted.
    #[default]
    Refuse,
    /// They go with it.
    Delete,
}

/// What happens to the data of a volume that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trash {
    /// It can be taken back for this long.
    KeepFor(Duration),
    /// It is removed at once.
    Bypass,
}

/// How long deleted data can be taken back unless told otherwise: long enough to notice on the Monday
/// after.
pub const TRASH_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

impl Default for Trash {
    fn default() -> Self {
        Self::KeepFor(TRASH_WINDOW)
    }
}

/// What `delete` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeleteReport {
    /// Whether this call deleted it or it was not there.
    pub outcome: Outcome,
    /// The volume in the trash: its id takes it back.
    pub trashed: Option<VolumeRecord>,
}

impl DeleteReport {
    /// Reports a deletion.
    pub fn new(outcome: Outcome, trashed: Option<VolumeRecord>) -> Self {
        Self { outcome, trashed }
    }
}
