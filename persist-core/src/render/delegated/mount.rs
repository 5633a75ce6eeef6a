//! A command of mount(8) that mounts an NFS export.

use super::{Delegated, Nfs, check_ids_as_stored, check_label_without_walk, check_propagation_unset};
use crate::{
    error::Result,
    render::{Arguments, RenderOptions, WorkloadPath},
};

const TARGET: &str = "mount";

/// `mount --types nfs ... SERVER:/EXPORT TARGET`, at `target` of this host.
///
/// # Errors
/// `Unsupported` for ids, propagation, and a label other than a context.
pub fn nfs(source: &Nfs, target: &WorkloadPath, options: &RenderOptions) -> Result<Delegated<Arguments>> {
    check_ids_as_stored(TARGET, options)?;
    check_label_without_walk(TARGET, options)?;
    check_propagation_unset(TARGET, options.propagation)?;
    let words = source.mount_options(TARGET, options)?.join(",");
    let device = source.device();
    let line = ["mount", "--types", "nfs", "--options", &words, "--", &device, target.as_str()];
    Ok(Delegated::new(line.into_iter().collect()))
}
