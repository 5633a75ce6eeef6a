//! Who holds an attachment, and what would prove that the holder is dead.

use crate::{
    error::{Error, Result},
    name::name,
};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr};

name! {
    /// The identity of a node: a host that attaches. Same alphabet as a volume name.
    NodeId, "node", crate::name::word
}

name! {
    /// One boot of a node: a rebooted node is not its old self.
    BootId, "boot", crate::name::word
}

name! {
    /// The caller's name of what uses a volume: a container id, a service and its instance, a target path.
    ///
    /// 1 to 1024 bytes of printable text; never used as a path.
    Workload, "workload", workload
}

/// A host in one of its boots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Node {
    /// Which host.
    pub id: NodeId,
    /// Which boot of it.
    pub boot: BootId,
}

impl Node {
    /// A host in one of its boots.
    pub fn new(id: NodeId, boot: BootId) -> Self {
        Self { id, boot }
    }
}

/// A process, identified so that a later one of the same number is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessId {
    /// The process number, in its pid namespace.
    pub pid: u32,
    /// Its start time in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start_ticks: u64,
    /// The inode of its pid namespace (pid_namespaces(7)): numbers of two namespaces are not comparable.
    pub namespace: u64,
}

impl ProcessId {
    /// Identifies a process.
    pub fn new(pid: u32, start_ticks: u64, namespace: u64) -> Self {
        Self { pid, start_ticks, namespace }
    }
}

/// What would prove that a holder is dead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Liveness {
    /// Its process is gone: judged by pid and start time, on the same host, boot and pid namespace only.
    /// The default: `None` stands for the process that calls attach.
    Process(Option<ProcessId>),
    /// Its host has booted again; judged by stores that only one host can reach.
    Boot,
    /// Nothing that we can see: only a vouch, or an expired lease. For orchestrators, whose workloads
    /// outlive the process that attached for them.
    #[default]
    External,
}

/// Who owns an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The node in its boot.
    pub node: Node,
    /// What uses the volume.
    pub workload: Workload,
    /// What would prove that it is dead.
    pub liveness: Liveness,
}

impl Holder {
    /// Names a holder.
    pub fn new(node: Node, workload: Workload, liveness: Liveness) -> Self {
        Self { node, workload, liveness }
    }

    /// Whether two holders are the same one: node, boot and workload. What proves death is not identity.
    pub fn is_same(&self, other: &Self) -> bool {
        self.node == other.node && self.workload == other.workload
    }
}

fn workload(text: &str) -> Result<(), &'static str> {
    const WORKLOAD_MAX_BYTES: usize = 1024;
    match text {
        "" => Err("a workload must not be empty"),
        text if text.len() > WORKLOAD_MAX_BYTES => Err("a workload has at most 1024 bytes"),
        text if text.chars().any(char::is_control) => Err("a workload has no control characters"),
        _ => Ok(()),
    }
}
