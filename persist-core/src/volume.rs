//! Volumes: named filesystem trees with a durable identity.

pub mod check;
pub mod compat;
mod options;

pub use options::{
    CreateOptions, CreateReport, DeleteOptions, DeleteReport, ListOptions, ListStates, SnapshotsAlong,
    TRASH_WINDOW, Trash, UpdateOptions, UpdateReport,
};

use crate::{
    clock::Timestamp,
    id::{Epoch, VolumeId},
    name::{Labels, VolumeName},
    snapshot::SnapshotName,
    tree::TreeSource,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// What a volume is made to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeSpec {
    /// Owner, mode and label of the root; set once, when the volume is created.
    pub root: RootSpec,
    /// The size that the store enforces, in bytes. Needs
    /// [`ENFORCED_SIZE`](crate::Capabilities::ENFORCED_SIZE); never only a label.
    pub size_bytes: Option<u64>,
    /// The caller's labels.
    pub labels: Labels,
    /// Whether the volume may be deleted.
    pub protection: Protection,
    /// How long the volume lives without being asked for.
    pub lifetime: Lifetime,
}

/// The root directory of a new volume. On a volume made from a source, what is not given is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RootSpec {
    /// The owner; without one, the owner of the process that creates.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// Permission bits (the lower twelve of `st_mode`); without them, 0755.
    pub mode: Option<u32>,
    /// The SELinux label, which new files inherit. Needs [`LABEL`](crate::Capabilities::LABEL).
    pub selinux_label: Option<String>,
}

/// Whether a volume may be deleted. Nothing passes protection until it is lifted by `update`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protection {
    /// It may.
    #[default]
    None,
    /// It may not.
    Protected,
}

/// How long a volume lives without being asked for; enforced by `prune`, never while it is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Lifetime {
    /// Until it is deleted.
    #[default]
    Kept,
    /// Until its last attachment is detached.
    Attachment,
    /// For this long after it was created.
    For(Duration),
}

/// What a new volume holds. An unknown or unusable source is an error, never an empty volume.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Source {
    /// Nothing.
    #[default]
    Empty,
    /// A snapshot of a volume of this store.
    Snapshot {
        /// The volume that it is of.
        volume: VolumeName,
        /// Its name.
        snapshot: SnapshotName,
    },
    /// A volume of this store as it is now.
    Volume(VolumeName),
    /// A directory of this host.
    Directory {
        /// Where it is; a symbolic link is refused.
        path: PathBuf,
        /// What happens to the directory.
        import: Import,
    },
    /// Any tree; see [`CreateOptions::trust`].
    Tree(Arc<dyn TreeSource>),
    /// A volume of this store that was deleted and is still in the trash.
    Trashed(VolumeId),
}

/// What happens to a directory that is imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Import {
    /// It stays.
    #[default]
    Copy,
    /// Its content becomes the volume's; needs the same filesystem.
    Move,
}

/// Where a volume came from, as kept in its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Origin {
    /// Empty.
    #[default]
    Empty,
    /// A snapshot.
    Snapshot {
        /// The volume that it was of.
        volume: VolumeId,
        /// Its name.
        snapshot: SnapshotName,
    },
    /// A volume as it was then.
    Volume(VolumeId),
    /// A directory of a host.
    Directory(PathBuf),
    /// A tree that the caller gave.
    Tree,
}

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum VolumeState {
    /// It can be attached.
    #[default]
    Ready,
    /// It was deleted and can be taken back until then, by the store's clock.
    Trashed {
        /// When it was deleted.
        since: Timestamp,
        /// From when `prune` may remove it.
        until: Timestamp,
    },
}

/// What the store knows about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeRecord {
    /// Its identity.
    pub id: VolumeId,
    /// Its name.
    pub name: VolumeName,
    /// What it was made to be, with the labels, the size and the protection of now.
    pub spec: VolumeSpec,
    /// Where it came from.
    pub origin: Origin,
    /// When it was created, by the clock of the node that did.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: VolumeState,
    /// The newest epoch.
    pub epoch: Epoch,
    /// The snapshot that the tree was last restored from.
    pub restored_from: Option<SnapshotName>,
}

impl VolumeRecord {
    /// The record of a volume that was just created empty.
    pub fn new(id: VolumeId, name: VolumeName, spec: VolumeSpec, created: Timestamp) -> Self {
        Self {
            id,
            name,
            spec,
            origin: Origin::default(),
            created,
            state: VolumeState::default(),
            epoch: Epoch::ZERO,
            restored_from: None,
        }
    }
}
