//! The requests and answers of Docker's volume plugin protocol, version 1
//! (<https://docs.docker.com/engine/extend/plugins_volume/>).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The media type of every answer, as Docker's own client asks for it.
pub const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// `VolumeDriver.Create`.
#[derive(Debug, Deserialize)]
pub struct CreateRequest {
    /// The volume.
    #[serde(rename = "Name")]
    pub name: String,
    /// What was given by `-o`; Docker sends `null` for nothing.
    #[serde(rename = "Opts", default)]
    pub options: Option<BTreeMap<String, String>>,
}

/// `VolumeDriver.Get`, `Path` and `Remove`.
#[derive(Debug, Deserialize)]
pub struct NameRequest {
    /// The volume.
    #[serde(rename = "Name")]
    pub name: String,
}

/// `VolumeDriver.Mount` and `Unmount`.
#[derive(Debug, Deserialize)]
pub struct ClaimRequest {
    /// The volume.
    #[serde(rename = "Name")]
    pub name: String,
    /// Who mounts: Docker chooses one for every use of a volume by a container.
    #[serde(rename = "ID")]
    pub id: String,
}

/// `Persist.Vouch`, which is no call of Docker's: an operator's, by this program.
#[derive(Debug, Deserialize)]
pub struct VouchRequest {
    /// The volume.
    #[serde(rename = "Name")]
    pub name: String,
    /// Who is dead, by the ID of the attachment.
    #[serde(rename = "Attachment")]
    pub attachment: String,
    /// Under which epoch it has the volume.
    #[serde(rename = "Epoch")]
    pub epoch: u64,
    /// How the operator knows.
    #[serde(rename = "Reason")]
    pub reason: String,
}

/// The answer to `VolumeDriver.Mount` and `Path`.
#[derive(Debug, Serialize)]
pub struct Mountpoint {
    /// Where the volume is; empty if no container of this host has it.
    #[serde(rename = "Mountpoint")]
    pub path: String,
}

/// A volume in the answers to `VolumeDriver.Get` and `List`.
#[derive(Debug, Default, Serialize)]
pub struct Volume {
    /// Its name.
    #[serde(rename = "Name")]
    pub name: String,
    /// Where it is; empty if no container of this host has it.
    #[serde(rename = "Mountpoint", skip_serializing_if = "String::is_empty")]
    pub mountpoint: String,
    /// When it was created, by RFC 3339.
    #[serde(rename = "CreatedAt", skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What `docker volume inspect` shows as `Status`.
    #[serde(rename = "Status", skip_serializing_if = "Map::is_empty")]
    pub status: Map<String, Value>,
}

/// The answer to `VolumeDriver.Get`.
#[derive(Debug, Serialize)]
pub struct Got {
    /// The volume.
    #[serde(rename = "Volume")]
    pub volume: Volume,
}

/// The answer to `VolumeDriver.List`.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// The volumes, in the order of their names.
    #[serde(rename = "Volumes")]
    pub volumes: Vec<Volume>,
}

/// The answer to `VolumeDriver.Capabilities`.
#[derive(Debug, Serialize)]
pub struct CapabilitiesAnswer {
    /// What the driver can do.
    #[serde(rename = "Capabilities")]
    pub capabilities: DriverCapabilities,
}

/// What the driver can do.
#[derive(Debug, Serialize)]
pub struct DriverCapabilities {
    /// How far a volume reaches.
    #[serde(rename = "Scope")]
    pub scope: Scope,
}

/// How far a volume reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// It stays with this host.
    Local,
    /// Another host of the cluster can have it next.
    Global,
}

/// The answer to `Plugin.Activate`.
#[derive(Debug, Serialize)]
pub struct Activated {
    /// The kinds of plugin that this one is.
    #[serde(rename = "Implements")]
    pub implements: [&'static str; 1],
}

/// The answer of a call that has nothing to say.
#[derive(Debug, Serialize)]
pub struct Done {}
