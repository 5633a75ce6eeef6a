//! What the calls about attachments take.

use super::Access;
use crate::{
    capability::Consistency,
    holder::{Liveness, NodeId, Workload},
    lease::{Takeover, Vouch},
    name::VolumeName,
    progress::CallOptions,
    quiesce::{Quiesce, SyncPolicy},
    snapshot::SnapshotName,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// How a volume is attached.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AttachOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// In which mode.
    pub access: Access,
    /// What uses the volume; without a name, the calling process.
    pub workload: Option<Workload>,
    /// What would prove that it is dead; without it, [`Liveness::Process`] of the calling process where
    /// no workload is named, and [`Liveness::External`] where one is.
    pub liveness: Option<Liveness>,
    /// Where the volume shall appear: an absolute path of an existing empty directory for a mount, of
    /// nothing for a link. Without it, the attachment gives the store's own path.
    pub target: Option<PathBuf>,
    /// What the target becomes.
    pub target_kind: TargetKind,
    /// What a mount of ours forbids and maps. Asked for without a mount, it is refused.
    pub policy: Option<MountPolicy>,
    /// For readers: the snapshot to read. Without it, live where that can be enforced.
    pub snapshot: Option<SnapshotName>,
    /// How long to wait for a live holder to leave.
    pub wait: Option<Duration>,
    /// When the volume may be taken from another holder.
    pub takeover: Takeover,
    /// When the store syncs by itself.
    pub sync: SyncPolicy,
    /// Stops and thaws the writers around the cuts that the store makes by itself.
    pub quiesce: Option<Arc<dyn Quiesce>>,
    /// The least consistency of those cuts.
    pub consistency: Consistency,
}

/// What the target of an attachment becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TargetKind {
    /// A bind mount; needs [`MOUNTS`](crate::Capabilities::MOUNTS).
    #[default]
    Mount,
    /// A symbolic link, which needs no privilege and enforces nothing.
    Symlink,
}

/// What a mount of ours forbids and maps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MountPolicy {
    /// Whether set-id bits have an effect (`nosuid`).
    pub set_id: Permission,
    /// Whether device files can be opened (`nodev`).
    pub devices: Permission,
    /// Whether programs can be executed (`noexec`); allowed unless asked otherwise.
    pub execute: Option<Permission>,
    /// Owners shown shifted (mount_setattr(2), idmapped mounts); needs
    /// [`ID_MAP`](crate::Capabilities::ID_MAP).
    pub id_map: Vec<IdMapping>,
    /// How mounts below it spread (mount_namespaces(7)).
    pub propagation: Propagation,
}

/// Whether something is allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Permission {
    /// It is not.
    #[default]
    Denied,
    /// It is.
    Allowed,
}

/// A range of owners on the volume and how the mount shows them; for users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first id on the volume.
    pub on_volume: u32,
    /// The first id as the mount shows it.
    pub on_mount: u32,
    /// How many.
    pub count: u32,
}

/// How mounts below a mount spread to other mount namespaces (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the origin to here.
    Slave,
    /// Both ways.
    Shared,
}

/// How an attachment is taken up again after a restart of our process.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// A new statement of what would prove the holder dead; without it, as before, except that
    /// [`Liveness::Process`] becomes that of the calling process.
    pub liveness: Option<Liveness>,
    /// A new sync policy; without it, as before.
    pub sync: Option<SyncPolicy>,
    /// Stops and thaws the writers around the cuts that the store makes by itself.
    pub quiesce: Option<Arc<dyn Quiesce>>,
    /// The least consistency of those cuts.
    pub consistency: Consistency,
}

/// How a reader moves on to a newer tree.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RefreshOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// The snapshot to move to; without it, the newest state.
    pub snapshot: Option<SnapshotName>,
}

/// How an attachment is ended.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DetachOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// What happens while files are open.
    pub busy: BusyFiles,
    /// What happens to a copy on this node.
    pub local_copy: LocalCopy,
    /// Ends the attachment of a dead holder, from anywhere, without attaching.
    pub vouch: Option<Vouch>,
}

/// What happens if files below a mount of ours are open at detach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BusyFiles {
    /// The detach is refused with `InUse`.
    #[default]
    Refuse,
    /// The mount leaves the tree of names now and goes when the last file is closed (umount2(2),
    /// `MNT_DETACH`); what is written after this call is not covered by its sync.
    Lazy,
}

/// What happens at detach to a copy of the volume on this node, where the store makes one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LocalCopy {
    /// It is removed.
    #[default]
    Remove,
    /// It is kept, so that the next attach here moves only the difference.
    Keep,
}

/// Which attachments are listed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AttachmentFilter {
    /// Only those of this volume.
    pub volume: Option<VolumeName>,
    /// Only those of this node.
    pub node: Option<NodeId>,
    /// Only those of this workload.
    pub workload: Option<Workload>,
}
