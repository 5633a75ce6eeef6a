//! Attachments: a volume reachable at a path, for a holder, in an access mode, under an epoch.

mod options;
mod report;

pub use crate::id::AttachmentId;
pub use options::{
    AdoptOptions, AttachOptions, AttachmentFilter, BusyFiles, DetachOptions, IdMapping, LocalCopy,
    MountPolicy, Permission, Propagation, RefreshOptions, TargetKind,
};
pub use report::{AttachReport, DetachReport, Mounted, RefreshReport};

use crate::{
    capability::{Capabilities, Fencing},
    clock::Timestamp,
    holder::Holder,
    id::{Epoch, VolumeId},
    lease::{LeaseState, LeaseWatch},
    name::VolumeName,
    quiesce::SyncPolicy,
    snapshot::SnapshotName,
};
use serde::{Deserialize, Serialize};
use std::{
    any::Any,
    fmt,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Who may write beside this attachment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Access {
    /// One writing workload in the world.
    #[default]
    ReadWrite,
    /// Many workloads of one node write; each is a claim on the node's one lease.
    SharedOnNode,
    /// Many nodes write; only where the store is coherent.
    SharedAcrossNodes,
    /// Reads only: live where that can be enforced, else pinned.
    ReadOnly,
}

impl Access {
    /// The capability that a store needs for it.
    pub fn capability(self) -> Capabilities {
        match self {
            Self::ReadWrite => Capabilities::empty(),
            Self::SharedOnNode => Capabilities::SHARED_ON_NODE,
            Self::SharedAcrossNodes => Capabilities::SHARED_ACROSS_NODES,
            Self::ReadOnly => Capabilities::MANY_READERS,
        }
    }

    /// Whether it may write.
    pub fn writes(self) -> bool {
        self != Self::ReadOnly
    }

    /// Whether a holder in this mode and one in `other` may be there at once.
    pub fn allows(self, mine: &Holder, other: Self, theirs: &Holder) -> bool {
        match (self, other) {
            (Self::ReadOnly, _) | (_, Self::ReadOnly) => true,
            (Self::SharedOnNode, Self::SharedOnNode) => mine.node == theirs.node,
            (Self::SharedAcrossNodes, Self::SharedAcrossNodes) => true,
            _ => false,
        }
    }
}

/// What the store keeps about an attachment: the truth on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachmentRecord {
    /// Its identity; survives `adopt`.
    pub id: AttachmentId,
    /// The volume.
    pub volume: VolumeId,
    /// The volume's name at attach.
    pub volume_name: VolumeName,
    /// Who holds it.
    pub holder: Holder,
    /// In which mode.
    pub access: Access,
    /// Under which epoch: for a reader, the epoch it saw.
    pub epoch: Epoch,
    /// Where the caller wanted it; `None` for the volume's own path.
    pub target: Option<PathBuf>,
    /// The snapshot that a reader is pinned to.
    pub snapshot: Option<SnapshotName>,
    /// Since when, by the holder's clock.
    pub since: Timestamp,
    /// When the store syncs it by itself.
    pub sync: SyncPolicy,
}

impl AttachmentRecord {
    /// The record of an attachment at the volume's own path, synced at detach.
    pub fn new(
        id: AttachmentId,
        volume: (VolumeId, VolumeName),
        holder: Holder,
        access: Access,
        epoch: Epoch,
        since: Timestamp,
    ) -> Self {
        Self {
            id,
            volume: volume.0,
            volume_name: volume.1,
            holder,
            access,
            epoch,
            target: None,
            snapshot: None,
            since,
            sync: SyncPolicy::default(),
        }
    }
}

/// A live attachment. Dereferences to its record and keeps its store alive.
///
/// Dropping it neither detaches nor blocks: the attachment stays until `detach`, as its record does.
#[derive(Clone)]
pub struct Attachment {
    record: AttachmentRecord,
    path: PathBuf,
    report: AttachReport,
    lease: LeaseWatch,
    keep: Arc<dyn Any + Send + Sync>,
}

impl Attachment {
    /// For implementors: a live attachment of `record`, reachable at `path`, watched by `lease`. `keep`
    /// holds what must live as long as the handle does (the opened store, a lock).
    pub fn new(
        record: AttachmentRecord,
        path: PathBuf,
        report: AttachReport,
        lease: LeaseWatch,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        Self { record, path, report, lease, keep }
    }

    /// For wrapper stores: the same attachment, which keeps `outer` alive as well.
    #[must_use]
    pub fn keeping(mut self, outer: Arc<dyn Any + Send + Sync>) -> Self {
        self.keep = Arc::new((self.keep, outer));
        self
    }

    /// Where the volume's files are: the target if one was given, else a path of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record.
    pub fn record(&self) -> &AttachmentRecord {
        &self.record
    }

    /// What attaching did, and what holds of this attachment.
    pub fn report(&self) -> &AttachReport {
        &self.report
    }

    /// How a writer that loses its place is kept from writing here.
    pub fn fencing(&self) -> Fencing {
        self.report.fencing
    }

    /// The state of the lease now.
    pub fn lease(&self) -> LeaseState {
        self.lease.state()
    }

    /// Watches the lease.
    pub fn watch(&self) -> LeaseWatch {
        self.lease.clone()
    }
}

impl Deref for Attachment {
    type Target = AttachmentRecord;

    fn deref(&self) -> &AttachmentRecord {
        &self.record
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("record", &self.record)
            .field("path", &self.path)
            .field("report", &self.report)
            .field("lease", &self.lease())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::{BootId, Liveness, Node, NodeId, Workload};

    fn holder(node: &str, workload: &str) -> Holder {
        let node = Node::new(NodeId::new(node).unwrap(), BootId::new("b").unwrap());
        Holder::new(node, Workload::new(workload).unwrap(), Liveness::External)
    }

    #[test]
    fn writers_exclude_each_other_unless_they_share_in_the_same_way() {
        use Access::{ReadOnly, ReadWrite, SharedAcrossNodes, SharedOnNode};
        let (here, there) = (holder("a", "1"), holder("b", "2"));
        let beside =
            |x: Access, y: Access, other: &Holder| x.allows(&here, y, other) && y.allows(other, x, &here);
        let also_here = holder("a", "2");
        assert!(!beside(ReadWrite, ReadWrite, &also_here));
        assert!(!beside(ReadWrite, SharedOnNode, &also_here));
        assert!(!beside(ReadWrite, SharedAcrossNodes, &there));
        assert!(!beside(SharedOnNode, SharedAcrossNodes, &also_here));
        assert!(beside(SharedOnNode, SharedOnNode, &also_here));
        assert!(!beside(SharedOnNode, SharedOnNode, &there));
        assert!(beside(SharedAcrossNodes, SharedAcrossNodes, &there));
        for access in [ReadWrite, SharedOnNode, SharedAcrossNodes, ReadOnly] {
            assert!(beside(ReadOnly, access, &there));
        }
    }
}
