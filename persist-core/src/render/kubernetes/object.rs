//! The objects, as the API has them.

use super::{AccessMode, ClaimOptions, Place};
use crate::render::{WorkloadPath, Yes};
use serde::Serialize;
use std::collections::BTreeMap;

/// What says of a volume that no lease of ours keeps a second writer away.
const FENCING: &str = "persist/fencing";

/// A volume of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PersistentVolume {
    /// `v1`.
    pub api_version: &'static str,
    /// `PersistentVolume`.
    pub kind: &'static str,
    /// Its name.
    pub metadata: Metadata,
    /// What it is.
    pub spec: VolumeSpec,
}

/// A pod's right to a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PersistentVolumeClaim {
    /// `v1`.
    pub api_version: &'static str,
    /// `PersistentVolumeClaim`.
    pub kind: &'static str,
    /// Its name and namespace.
    pub metadata: Metadata,
    /// What it is a right to.
    pub spec: ClaimSpec,
}

/// Names of an object, and remarks on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Remarks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<&'static str, &'static str>,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct VolumeSpec {
    /// Its size.
    pub capacity: Quantity,
    /// Who may use it.
    pub access_modes: [AccessMode; 1],
    /// `Filesystem`.
    pub volume_mode: &'static str,
    /// `Retain`: the cluster deletes nothing of ours.
    pub persistent_volume_reclaim_policy: &'static str,
    /// Empty: no provisioner is asked, also not the default one.
    pub storage_class_name: &'static str,
    /// The one claim it is for.
    pub claim_ref: ClaimReference,
    /// Options of its mount.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<String>,
    /// A directory of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSource>,
    /// The node that has the directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<NodeAffinity>,
    /// An export of a file server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nfs: Option<NfsSource>,
    /// A volume of a CSI driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiSource>,
}

/// A size in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Quantity {
    /// As the API writes it.
    pub storage: String,
}

/// The claim that a volume is reserved for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClaimReference {
    /// `v1`.
    pub api_version: &'static str,
    /// `PersistentVolumeClaim`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A directory of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LocalSource {
    /// Where it is.
    pub path: String,
}

/// An export of a file server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct NfsSource {
    /// The server.
    pub server: String,
    /// What it exports.
    pub path: String,
    /// Present for a reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Yes>,
}

/// A volume of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CsiSource {
    /// The driver.
    pub driver: String,
    /// Its name of the volume: one volume of the cluster has it.
    pub volume_handle: String,
    /// Present for a reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Yes>,
    /// What the driver is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volume_attributes: BTreeMap<String, String>,
}

/// Which nodes can reach a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NodeAffinity(Required);

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Required {
    required: Terms,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Terms {
    node_selector_terms: [Term; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Term {
    match_expressions: [Expression; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Expression {
    key: &'static str,
    operator: &'static str,
    values: [String; 1],
}

/// What a claim is a right to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ClaimSpec {
    /// Who may use it.
    pub access_modes: [AccessMode; 1],
    /// Empty: no provisioner is asked.
    pub storage_class_name: &'static str,
    /// The one volume.
    pub volume_name: String,
    /// How large it must be.
    pub resources: Requests,
}

/// What a claim asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Requests {
    /// At least this.
    pub requests: Quantity,
}

/// An entry of `spec.volumes` of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PodVolume {
    /// Its name in the pod.
    pub name: String,
    /// The claim.
    pub persistent_volume_claim: PersistentVolumeClaimSource,
}

/// The claim of a volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PersistentVolumeClaimSource {
    /// Its name.
    pub claim_name: String,
    /// Present for a reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Yes>,
}

/// An entry of `volumeMounts` of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct VolumeMount {
    /// Its name in the pod.
    pub name: String,
    /// Where the workload sees it.
    pub mount_path: WorkloadPath,
    /// Present for a reader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Yes>,
    /// `Enabled` for a reader: what is mounted inside is read-only as well, or the pod does not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recursive_read_only: Option<&'static str>,
    /// How mounts below spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount_propagation: Option<&'static str>,
}

impl NodeAffinity {
    /// The node of this name alone, by the label that every node has.
    pub fn to_host(name: impl Into<String>) -> Self {
        let expression = Expression { key: "kubernetes.io/hostname", operator: "In", values: [name.into()] };
        Self(Required { required: Terms { node_selector_terms: [Term { match_expressions: [expression] }] } })
    }
}

impl PersistentVolume {
    pub(super) fn new(claim: &ClaimOptions, spec: VolumeSpec, fencing: Option<&'static str>) -> Self {
        let annotations = fencing.map(|fencing| (FENCING, fencing)).into_iter().collect();
        let metadata = Metadata { name: claim.name.clone(), namespace: None, annotations };
        Self { api_version: "v1", kind: "PersistentVolume", metadata, spec }
    }
}

impl VolumeSpec {
    pub(super) fn new(claim: &ClaimOptions, place: Place, access: AccessMode) -> Self {
        let mut spec = Self {
            capacity: Quantity::of(claim),
            access_modes: [access],
            volume_mode: "Filesystem",
            persistent_volume_reclaim_policy: "Retain",
            storage_class_name: "",
            claim_ref: ClaimReference {
                api_version: "v1",
                kind: "PersistentVolumeClaim",
                name: claim.name.clone(),
                namespace: claim.namespace.clone(),
            },
            mount_options: Vec::new(),
            local: None,
            node_affinity: None,
            nfs: None,
            csi: None,
        };
        match place {
            Place::Local { source, affinity } => {
                (spec.local, spec.node_affinity) = (Some(source), Some(affinity))
            }
            Place::Nfs { source, mount_options } => {
                (spec.nfs, spec.mount_options) = (Some(source), mount_options)
            }
            Place::Csi(source) => spec.csi = Some(source),
        }
        spec
    }
}

impl PersistentVolumeClaim {
    pub(super) fn new(claim: &ClaimOptions, access: AccessMode) -> Self {
        let metadata = Metadata {
            name: claim.name.clone(),
            namespace: Some(claim.namespace.clone()),
            annotations: BTreeMap::new(),
        };
        let spec = ClaimSpec {
            access_modes: [access],
            storage_class_name: "",
            volume_name: claim.name.clone(),
            resources: Requests { requests: Quantity::of(claim) },
        };
        Self { api_version: "v1", kind: "PersistentVolumeClaim", metadata, spec }
    }
}

impl Quantity {
    fn of(claim: &ClaimOptions) -> Self {
        Self { storage: claim.size_bytes.to_string() }
    }
}

impl PodVolume {
    pub(super) fn new(claim: &ClaimOptions, read_only: Option<Yes>) -> Self {
        let source = PersistentVolumeClaimSource { claim_name: claim.name.clone(), read_only };
        Self { name: claim.name.clone(), persistent_volume_claim: source }
    }
}

impl VolumeMount {
    pub(super) fn new(
        claim: &ClaimOptions,
        target: &WorkloadPath,
        read_only: Option<Yes>,
        mount_propagation: Option<&'static str>,
    ) -> Self {
        let recursive_read_only = read_only.map(|Yes| "Enabled");
        Self {
            name: claim.name.clone(),
            mount_path: target.clone(),
            read_only,
            recursive_read_only,
            mount_propagation,
        }
    }
}
