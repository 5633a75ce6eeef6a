//! A `.mount` unit of an NFS export (systemd.mount(5)).

use super::{
    Delegated, NO_FENCING, Nfs, check_ids_as_stored, check_label_without_walk, check_propagation_unset,
};
use crate::{
    error::Result,
    render::{
        RenderOptions, WorkloadPath,
        unit::{UnitFile, VALUE, mount_unit_name, value},
    },
};

/// The unit that mounts `source` at `target` of this host. systemd orders it after the network by its type, and
/// before `remote-fs.target`; a service that needs it says `RequiresMountsFor=`.
///
/// # Errors
/// `Unsupported` for ids, propagation, a label other than a context, and a path with a quote or a backslash.
pub fn nfs(source: &Nfs, target: &WorkloadPath, options: &RenderOptions) -> Result<Delegated<UnitFile>> {
    check_ids_as_stored(VALUE.target, options)?;
    check_label_without_walk(VALUE.target, options)?;
    check_propagation_unset(VALUE.target, options.propagation)?;
    let what = value("export", &source.device())?;
    let to = value("target", target.as_str())?;
    let words = value("label", &source.mount_options(VALUE.target, options)?.join(","))?;
    let text = format!(
        "# fencing: {NO_FENCING}\n[Unit]\nDescription=An export at {to}\n\n\
         [Mount]\nWhat={what}\nWhere={to}\nType=nfs\nOptions={words}\n\n\
         [Install]\nWantedBy=remote-fs.target\n"
    );
    Ok(Delegated::new(UnitFile { name: mount_unit_name(target.as_str()), text }))
}
