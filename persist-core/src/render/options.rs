//! What a rendering takes.

use crate::attachment::{IdMapping, Propagation};

/// How a workload sees a volume. What a target cannot express is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderOptions {
    /// Whether the workload may write.
    pub mode: Mode,
    /// Whose files it sees.
    pub ids: Ids,
    /// What happens to SELinux labels.
    pub label: Label,
    /// How mounts below the target spread; without it, as the runtime does unless it is told.
    pub propagation: Option<Propagation>,
}

/// Whether a workload may write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// As the volume is attached.
    #[default]
    AsAttached,
    /// It may not, by any path below the target.
    ReadOnly,
}

/// Whose files a workload sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ids {
    /// The owners on the volume, as this host's numbers.
    #[default]
    AsStored,
    /// The owners on the volume as the workload's own numbers: root's files are those of its root. The
    /// runtime maps them by the workload's user namespace.
    OfWorkload,
    /// Whoever owns the root of the volume is the workload's root.
    OwnerIsRoot,
    /// These ranges, and nobody else.
    Mapped(Vec<IdMapping>),
}

/// What happens to SELinux labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Label {
    /// Nothing: the volume has the label that its root was created with, which new files inherit.
    #[default]
    AsIs,
    /// The runtime walks the volume and gives every file a label that its workloads share.
    Shared,
    /// The runtime walks the volume and gives every file a label of this workload alone. Refused for a volume
    /// that others use or that has a label.
    Private,
    /// All files have this context (`context=` of mount(8)). Only where the runtime mounts the filesystem.
    Context(String),
}
