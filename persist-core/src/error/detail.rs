//! The part of an error that a program reads.

use crate::{
    attachment::{Access, AttachmentId},
    capability::Capabilities,
    clock::Timestamp,
    holder::{NodeId, Workload},
    id::Epoch,
    snapshot::SnapshotName,
};
use std::fmt;

/// The facts that belong to an error's kind.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing beyond the line.
    #[default]
    None,
    /// The argument that is wrong.
    Field(&'static str),
    /// What the caller wanted and what the store has.
    Differences(Vec<Difference>),
    /// Who holds the volume.
    Holders(Vec<HolderSeen>),
    /// The epochs of a lost session, and the snapshot that keeps its work.
    Fenced {
        /// The epoch that lost.
        mine: Epoch,
        /// The epoch that writes now.
        current: Epoch,
        /// Where the work of the lost session is kept.
        salvage: Option<SnapshotName>,
    },
    /// How much is used and how much may be; the unit is in the message.
    Limit {
        /// What is used, or would be.
        used: u64,
        /// The limit that stopped it.
        limit: u64,
    },
    /// The capability that this opened store does not have.
    Capability(Capabilities),
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The field's name.
    pub field: &'static str,
    /// What the caller asked for.
    pub wanted: String,
    /// What the store has.
    pub actual: String,
}

impl Difference {
    /// Records that `field` was wanted as one thing and found as another.
    pub fn new(field: &'static str, wanted: impl fmt::Display, actual: impl fmt::Display) -> Self {
        Self { field, wanted: wanted.to_string(), actual: actual.to_string() }
    }
}

/// A holder of a volume, as the refused caller sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HolderSeen {
    /// The attachment; what a vouch must name.
    pub attachment: AttachmentId,
    /// The epoch it writes under; what a vouch must name.
    pub epoch: Epoch,
    /// The node that holds it.
    pub node: NodeId,
    /// The workload that holds it.
    pub workload: Workload,
    /// In which mode.
    pub access: Access,
    /// Since when, by the holder's clock.
    pub since: Timestamp,
    /// The last renewal of its lease, by the holder's clock; none where nothing renews.
    pub renewed: Option<Timestamp>,
    /// The process that serves it, where it runs on this host.
    pub pid: Option<u32>,
}

impl HolderSeen {
    /// What a refused caller is told about the holder of `record`.
    pub fn of(record: &crate::attachment::AttachmentRecord) -> Self {
        Self {
            attachment: record.id.clone(),
            epoch: record.epoch,
            node: record.holder.node.id.clone(),
            workload: record.holder.workload.clone(),
            access: record.access,
            since: record.since,
            renewed: None,
            pid: None,
        }
    }

    /// Adds the process that serves the attachment.
    #[must_use]
    pub fn with_pid(mut self, pid: u32) -> Self {
        self.pid = Some(pid);
        self
    }

    /// Adds the time of the last renewal.
    #[must_use]
    pub fn with_renewed(mut self, renewed: Timestamp) -> Self {
        self.renewed = Some(renewed);
        self
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Field(field) => write!(f, " (in `{field}`)"),
            Self::Differences(list) => list.iter().try_for_each(|d| write!(f, ", {d}")),
            Self::Holders(list) => list.iter().try_for_each(|h| write!(f, ", held by {h}")),
            Self::Fenced { mine, current, salvage } => {
                write!(f, ", my epoch {mine}, now {current}")?;
                salvage.iter().try_for_each(|name| write!(f, ", my work is kept as snapshot {name}"))
            }
            Self::Limit { used, limit } => write!(f, ", used {used} of {limit}"),
            Self::Capability(capability) => write!(f, " (needs {capability})"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}, is {}", self.field, self.wanted, self.actual)
    }
}

impl fmt::Display for HolderSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on node {} ({:?}", self.workload, self.node, self.access)?;
        write!(f, ", attachment {}, epoch {}, since {}", self.attachment, self.epoch, self.since)?;
        self.renewed.iter().try_for_each(|at| write!(f, ", renewed {at}"))?;
        self.pid.iter().try_for_each(|pid| write!(f, ", pid {pid}"))?;
        f.write_str(")")
    }
}
