//! A volume that is provisioned by hand in Kubernetes: a `PersistentVolume`, the one claim that it is for, and
//! what a pod says to use it (API `v1`).

mod object;

pub use object::{
    ClaimReference, ClaimSpec, CsiSource, LocalSource, Metadata, NfsSource, NodeAffinity, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeClaimSource, PodVolume, Quantity, Requests, VolumeMount,
    VolumeSpec,
};

use super::{Ids, Label, Mode, RenderOptions, WorkloadPath, Yes, refusal::refused, text::Syntax};
use crate::{
    attachment::Propagation,
    error::{Error, Result},
};
use serde::Serialize;

const SYNTAX: Syntax = Syntax { target: "Kubernetes volume", without: &[':'] };

/// What the objects are called, and how large the volume is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimOptions {
    /// Of the volume, the claim, and the volume of the pod.
    pub name: String,
    /// Of the claim and the pod.
    pub namespace: String,
    /// What the objects must say; Kubernetes enforces nothing of it here.
    pub size_bytes: u64,
}

impl ClaimOptions {
    /// Names the objects.
    ///
    /// # Errors
    /// `Invalid` for a name that is no DNS label (RFC 1123): up to 63 lower-case letters, digits and dashes, no
    /// dash at either end. A volume of a pod has no other names, so the same one is used for all.
    pub fn new(name: impl Into<String>, namespace: impl Into<String>, size_bytes: u64) -> Result<Self> {
        let (name, namespace) = (name.into(), namespace.into());
        check_label("name", &name)?;
        check_label("namespace", &namespace)?;
        if size_bytes == 0 {
            return Err(Error::invalid("size_bytes", "a volume of Kubernetes has a size"));
        }
        Ok(Self { name, namespace, size_bytes })
    }
}

/// All that it takes. The first two are objects for `kubectl apply`; the last two go into the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Provisioned {
    /// The volume, reserved for the claim.
    pub persistent_volume: PersistentVolume,
    /// The claim, for this volume and no other.
    pub persistent_volume_claim: PersistentVolumeClaim,
    /// For `spec.volumes` of the pod.
    pub volume: PodVolume,
    /// For `spec.containers[].volumeMounts` of the pod.
    pub volume_mount: VolumeMount,
}

/// How many nodes and pods may use a volume (`accessModes`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum AccessMode {
    /// One node.
    ReadWriteOnce,
    /// Many nodes, which only read.
    ReadOnlyMany,
    /// Many nodes.
    ReadWriteMany,
}

/// Where the volume is, in one of the three forms that are rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Local { source: LocalSource, affinity: NodeAffinity },
    Nfs { source: NfsSource, mount_options: Vec<String> },
    Csi(CsiSource),
}

/// The objects for a volume at `place`.
pub(super) fn provisioned(
    place: Place,
    access: AccessMode,
    target: &WorkloadPath,
    options: &RenderOptions,
    claim: &ClaimOptions,
    fencing: Option<&'static str>,
) -> Result<Provisioned> {
    check_expressible(options)?;
    SYNTAX.text("target", target.as_str())?;
    let reader = (access == AccessMode::ReadOnlyMany || options.mode == Mode::ReadOnly).then_some(Yes);
    Ok(Provisioned {
        persistent_volume: PersistentVolume::new(claim, VolumeSpec::new(claim, place, access), fencing),
        persistent_volume_claim: PersistentVolumeClaim::new(claim, access),
        volume: PodVolume::new(claim, reader),
        volume_mount: VolumeMount::new(claim, target, reader, propagation(options, reader)?),
    })
}

/// Refuses volumes that a kubelet would take for one another: two with one handle of one driver.
///
/// # Errors
/// `Unsupported`, naming `handle`.
pub fn check_together(volumes: &[PersistentVolume]) -> Result<()> {
    let handle = |volume: &PersistentVolume| {
        volume.spec.csi.as_ref().map(|csi| (csi.driver.clone(), csi.volume_handle.clone()))
    };
    let mut seen = std::collections::BTreeSet::new();
    for (driver, handle) in volumes.iter().filter_map(handle) {
        if !seen.insert((driver, handle.clone())) {
            let why = format!("two volumes have the handle {handle}");
            return Err(refused("Kubernetes volumes", "handle", why));
        }
    }
    Ok(())
}

fn check_expressible(options: &RenderOptions) -> Result<()> {
    if options.ids != Ids::AsStored {
        return Err(refused(SYNTAX.target, "ids", "a pod maps ids for all of its volumes (spec.hostUsers)"));
    }
    if options.label != Label::AsIs {
        let why = "the kubelet takes the label from the pod (securityContext.seLinuxOptions)";
        return Err(refused(SYNTAX.target, "label", why));
    }
    Ok(())
}

/// The words of `mountPropagation`. `recursiveReadOnly` is taken with none of them.
fn propagation(options: &RenderOptions, reader: Option<Yes>) -> Result<Option<&'static str>> {
    match (options.propagation, reader) {
        (None | Some(Propagation::Private), _) => Ok(None),
        (Some(_), Some(Yes)) => {
            Err(refused(SYNTAX.target, "propagation", "a recursively read-only mount is private"))
        }
        (Some(Propagation::Slave), None) => Ok(Some("HostToContainer")),
        (Some(Propagation::Shared), None) => Ok(Some("Bidirectional")),
    }
}

fn check_label(field: &'static str, text: &str) -> Result<()> {
    /// RFC 1123, section 2.1.
    const LENGTH_MAX: usize = 63;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = (1..=LENGTH_MAX).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_label {
        return Ok(());
    }
    let shown = crate::name::shortened(text);
    Err(Error::invalid(field, "a name of Kubernetes here is a DNS label")
        .context("value", format!("{shown:?}")))
}
