//! The `Volume` of Apache Mesos, as `mesos.proto` has it and its HTTP API takes it in JSON.

use super::{WorkloadPath, refusal::refused};
use crate::error::Result;
use serde::{Deserialize, Serialize};

/// An entry of `ContainerInfo.volumes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Volume {
    /// Where the workload sees it.
    pub container_path: WorkloadPath,
    /// Whether it may write.
    pub mode: Mode,
    /// Where the volume comes from.
    pub source: VolumeSource,
}

/// Whether the workload may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It may.
    #[serde(rename = "RW")]
    ReadWrite,
    /// It may not.
    #[serde(rename = "RO")]
    ReadOnly,
}

/// Where a volume comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum VolumeSource {
    /// A directory of the agent's host.
    HostPath {
        /// Which.
        host_path: HostPath,
    },
    /// A volume of a Docker volume driver, which the agent mounts.
    DockerVolume {
        /// Which.
        docker_volume: DockerVolume,
    },
}

/// A directory of the agent's host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HostPath {
    /// Where it is.
    pub path: String,
    /// How mounts below spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount_propagation: Option<MountPropagation>,
}

/// How mounts below a directory spread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MountPropagation {
    /// The word of `MountPropagation.Mode`.
    pub mode: String,
}

/// A volume of a Docker volume driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DockerVolume {
    /// The driver.
    pub driver: String,
    /// The volume.
    pub name: String,
    /// What the driver is told at create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_options: Option<Parameters>,
}

/// Keys with values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parameters {
    /// Each of them.
    pub parameter: Vec<Parameter>,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Parameter {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

impl MountPropagation {
    pub(super) fn of(mode: &str) -> Self {
        Self { mode: mode.to_owned() }
    }
}

/// Refuses volumes of one container of which one is inside another: the agent mounts them in no promised order.
///
/// # Errors
/// `Unsupported`, naming `target`.
pub fn check_together(volumes: &[Volume]) -> Result<()> {
    for (index, volume) in volumes.iter().enumerate() {
        for other in &volumes[index + 1..] {
            let (a, b) = (&volume.container_path, &other.container_path);
            if a.holds_or_is(b) || b.holds_or_is(a) {
                let why = format!("{a} and {b} are inside each other");
                return Err(refused("Mesos volumes", "target", why));
            }
        }
    }
    Ok(())
}
