//! A volume of Docker's own driver `local`, on an NFS export. Podman takes the same words.

use super::{
    Delegated, NO_FENCING, Nfs, check_ids_as_stored, check_label_without_walk, check_propagation_unset,
};
use crate::{
    error::{Error, Result},
    name::VolumeName,
    render::{Arguments, Mode, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};

const SYNTAX: Syntax = Syntax { target: "docker volume", without: &[',', '"'] };

/// The two commands' words.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DockerVolume {
    /// For `docker`: `volume create ...`. The options hold for the life of the volume: a second create of the same
    /// name with others changes nothing.
    pub create: Arguments,
    /// For `docker run`: `--mount ...`. What the image has at the target is not copied into the volume.
    pub mount: Arguments,
}

/// The volume `name` on `source`, seen at `target`.
///
/// # Errors
/// `Unsupported` for ids, propagation, a label other than a context, and a target with a comma or a quote.
pub fn nfs(
    source: &Nfs,
    name: &VolumeName,
    target: &WorkloadPath,
    options: &RenderOptions,
) -> Result<Delegated<DockerVolume>> {
    check_ids_as_stored(SYNTAX.target, options)?;
    check_label_without_walk(SYNTAX.target, options)?;
    check_propagation_unset(SYNTAX.target, options.propagation)?;
    let to = SYNTAX.text("target", target.as_str())?;
    if to.trim() != to {
        return Err(refused(SYNTAX.target, "target", "white space at the end of a path is lost"));
    }
    if source.server.contains('%') {
        return Err(Error::invalid("server", "the daemon resolves no address with a zone"));
    }
    let mut words = vec![format!("addr={}", source.server)];
    words.extend(source.mount_options(SYNTAX.target, options)?);
    let create = [
        "volume",
        "create",
        "--driver",
        "local",
        "--label",
        &format!("persist.fencing={NO_FENCING}"),
        "--opt",
        "type=nfs",
        "--opt",
        &format!("o={}", words.join(",")),
        "--opt",
        &format!("device=:{}", source.export),
        name.as_str(),
    ]
    .into_iter()
    .collect();
    let read_only = if options.mode == Mode::ReadOnly { ",readonly" } else { "" };
    let mount = format!("type=volume,source={name},target={to},volume-nocopy{read_only}");
    Ok(Delegated::new(DockerVolume { create, mount: ["--mount".to_owned(), mount].into_iter().collect() }))
}
