//! Volumes of Kubernetes that the kubelet mounts.

use super::{Csi, Delegated, NO_FENCING, Nfs};
use crate::{
    attachment::Access,
    error::{Error, Result},
    render::{
        Mode, RenderOptions, WorkloadPath, Yes,
        kubernetes::{AccessMode, ClaimOptions, CsiSource, NfsSource, Place, Provisioned, provisioned},
    },
};

/// The objects that show `source` at `target` in pods, as many as `access` allows.
///
/// # Errors
/// `Unsupported` for ids and labels, which are the pod's; for propagation of a reader; for a target with a colon.
pub fn nfs(
    source: &Nfs,
    access: Access,
    target: &WorkloadPath,
    options: &RenderOptions,
    claim: &ClaimOptions,
) -> Result<Delegated<Provisioned>> {
    let place = Place::Nfs {
        source: NfsSource {
            server: source.server.clone(),
            path: source.export.clone(),
            read_only: reader(access, options),
        },
        mount_options: source.mount_options("Kubernetes volume", &RenderOptions::default())?,
    };
    render(place, access, target, options, claim)
}

/// The objects that show the volume of a CSI driver at `target`.
///
/// [`check_together`](crate::render::kubernetes::check_together) refuses two volumes with one handle.
///
/// # Errors
/// As [`nfs`]; `Invalid` for a handle of more than 128 bytes (the CSI specification, Size Limits).
pub fn csi(
    source: &Csi,
    access: Access,
    target: &WorkloadPath,
    options: &RenderOptions,
    claim: &ClaimOptions,
) -> Result<Delegated<Provisioned>> {
    /// The CSI specification, Size Limits.
    const HANDLE_MAX_BYTES: usize = 128;
    if source.handle.len() > HANDLE_MAX_BYTES {
        return Err(Error::invalid("handle", "the handle of a volume has at most 128 bytes"));
    }
    let place = Place::Csi(CsiSource {
        driver: source.driver.clone(),
        volume_handle: source.handle.clone(),
        read_only: reader(access, options),
        volume_attributes: source.attributes.clone(),
    });
    render(place, access, target, options, claim)
}

fn render(
    place: Place,
    access: Access,
    target: &WorkloadPath,
    options: &RenderOptions,
    claim: &ClaimOptions,
) -> Result<Delegated<Provisioned>> {
    let mode = match (reader(access, options), access) {
        (Some(Yes), _) => AccessMode::ReadOnlyMany,
        (None, Access::SharedAcrossNodes) => AccessMode::ReadWriteMany,
        (None, _) => AccessMode::ReadWriteOnce,
    };
    provisioned(place, mode, target, options, claim, Some(NO_FENCING)).map(Delegated::new)
}

fn reader(access: Access, options: &RenderOptions) -> Option<Yes> {
    (!access.writes() || options.mode == Mode::ReadOnly).then_some(Yes)
}
