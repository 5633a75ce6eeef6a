//! What an opened store promises: flags that were probed, and characteristics that have degrees.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

bitflags! {
    /// Promises about one *opened instance*, probed at open, never a constant of a type.
    ///
    /// The first three describe one act, a durable write. What is not claimed is refused with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), and nothing has moved.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Capabilities: u64 {
        /// A durable write needs no network.
        const FAST = 1;
        /// What was acknowledged survives kill -9 and a power cut; the scope is
        /// [`Characteristics::survives`].
        const RELIABLE = 1 << 1;
        /// A volume detached on one node can be attached on another, nothing copied by hand.
        const PORTABLE = 1 << 2;
        /// Attached reads and writes run at this host's speed.
        const LOCAL_IO = 1 << 3;
        /// `snapshot`, `restore` and volumes from snapshots.
        const SNAPSHOTS = 1 << 4;
        /// A snapshot costs the same whatever the size of the volume.
        const INSTANT_SNAPSHOTS = 1 << 5;
        /// A clone shares its bytes with its origin until either is changed.
        const CLONES = 1 << 6;
        /// [`Access::SharedOnNode`](crate::Access::SharedOnNode).
        const SHARED_ON_NODE = 1 << 7;
        /// [`Access::SharedAcrossNodes`](crate::Access::SharedAcrossNodes).
        const SHARED_ACROSS_NODES = 1 << 8;
        /// [`Access::ReadOnly`](crate::Access::ReadOnly) pinned to a snapshot, any number at once.
        const MANY_READERS = 1 << 9;
        /// [`Access::ReadOnly`](crate::Access::ReadOnly) that follows the writer live and cannot write.
        const LIVE_READERS = 1 << 10;
        /// A volume's size is enforced.
        const ENFORCED_SIZE = 1 << 11;
        /// What leaves this host is encrypted by us.
        const ENCRYPTION = 1 << 12;
        /// An attachment at a target path is a mount of ours, with its policy enforced.
        const MOUNTS = 1 << 13;
        /// Owners can be mapped at attach.
        const ID_MAP = 1 << 14;
        /// An SELinux label can be set on a volume's root at create.
        const LABEL = 1 << 15;
    }
}

impl Capabilities {
    /// The flags' names, in the order of their bits.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter_names().map(|(name, _)| name)
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names();
        names.next().iter().try_for_each(|first| f.write_str(first))?;
        names.try_for_each(|name| write!(f, " {name}"))
    }
}

/// Stored as bits, so that an older reader keeps what it does not know.
impl Serialize for Capabilities {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self::from_bits_retain)
    }
}

/// What a loss may take before acknowledged data is gone; each one includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Survives {
    /// Nothing: the data may go with the process or the container.
    #[default]
    Nothing,
    /// The death of the process, not of the host.
    Process,
    /// A crash or power cut of the host, not the loss of its disk.
    HostCrash,
    /// The loss of the host.
    HostLoss,
    /// The loss of the site.
    SiteLoss,
}

/// How a writer that lost its place is kept from writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fencing {
    /// Nothing keeps it.
    #[default]
    None,
    /// It is told and asked to stop; the bytes it still writes land.
    Advisory,
    /// The store refuses its commits.
    CommitGate,
}

/// How consistent a cut of a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Consistency {
    /// Every file is as it was at some moment of the cut; two files may be of different moments.
    #[default]
    PerFile,
    /// The tree is as a crash at one moment would leave it, because the writers were stopped.
    Crash,
    /// The filesystem cut the tree at one moment.
    Atomic,
    /// The application said that its data was in order, and the cut was atomic or the writers stopped.
    Application,
}

/// Where the locks of applications (flock, fcntl) hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LockScope {
    /// Between the processes of one node.
    #[default]
    Node,
    /// Between all nodes that attach the volume.
    AllNodes,
}

/// Whether a fact was tested or is taken on trust.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Evidence {
    /// Seen on this instance.
    Probed,
    /// Cannot be seen from here (an NFS export's `async`, a disk that lies about flushes).
    #[default]
    Assumed,
}

/// What has degrees: measured or read from the place that was opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Characteristics {
    /// What acknowledged data survives.
    pub survives: Survives,
    /// How that is known.
    pub survives_evidence: Evidence,
    /// How much of the newest work a loss of this host costs: `None` means everything since the data
    /// was last moved elsewhere by the caller.
    pub recovery_point: Option<Duration>,
    /// How a lost writer is fenced.
    pub fencing: Fencing,
    /// Where the locks of applications hold.
    pub locks: LockScope,
    /// The consistency that a cut reaches without hooks.
    pub cut_consistency: Consistency,
    /// What was found underneath: `btrfs`, `xfs with reflink`, `tmpfs`, ...
    pub filesystem: String,
    /// The largest file, in bytes, where known.
    pub file_max_bytes: Option<u64>,
    /// The longest name of a file, in bytes.
    pub file_name_max_bytes: Option<u64>,
    /// How long one small durable write took at open; `None` where nothing was written.
    pub fsync_latency: Option<Duration>,
    /// What a reader should know beyond the flags, one sentence each: why a flag is missing, what is
    /// assumed.
    pub remarks: Vec<String>,
}

/// The facts of an opened store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreInfo {
    /// `local`, `nfs`, `s3`, or the name of a wrapper.
    pub kind: String,
    /// Where it is, without secrets; opens the same store again.
    pub location: String,
    /// The store's identity, written into it when it was created.
    pub id: crate::id::StoreId,
    /// What this instance promises.
    pub capabilities: Capabilities,
    /// What has degrees.
    pub characteristics: Characteristics,
}

impl StoreInfo {
    /// The facts of a store.
    pub fn new(
        kind: impl Into<String>,
        location: impl Into<String>,
        id: crate::id::StoreId,
        capabilities: Capabilities,
        characteristics: Characteristics,
    ) -> Self {
        Self { kind: kind.into(), location: location.into(), id, capabilities, characteristics }
    }

    /// Refuses unless this store has `capability`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming it.
    pub fn require(&self, capability: Capabilities, what: &'static str) -> crate::Result<()> {
        if self.capabilities.contains(capability) {
            return Ok(());
        }
        let missing = capability.difference(self.capabilities);
        Err(crate::Error::unsupported(missing, what).context("store", &self.location))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_survive_a_round_trip() {
        let text = serde_json::to_string(&Capabilities::from_bits_retain(1 << 63 | 1)).unwrap();
        let back: Capabilities = serde_json::from_str(&text).unwrap();
        assert_eq!(back.bits(), 1 << 63 | 1);
    }

    #[test]
    fn flags_print_as_words() {
        assert_eq!((Capabilities::FAST | Capabilities::RELIABLE).to_string(), "FAST RELIABLE");
    }
}
