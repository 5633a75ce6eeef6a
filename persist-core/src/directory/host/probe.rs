//! Finding out what is under a store: the only part of opening that tries things.

use super::findings::{Ability, Findings, Selinux, Tried};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::{
        btrfs::{self, Quota},
        cause::cause,
        filesystem::{self, Look},
        mount,
    },
    open::OpenMode,
};
use rustix::process::geteuid;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

impl Findings {
    /// Tries what can be done in the store's directory `at`, which was [looked](filesystem::look) at and found
    /// fit. Writes nothing with [`OpenMode::ReadOnly`]; else leaves what [`filesystem::probe`] leaves.
    ///
    /// # Errors
    /// `Denied` for a directory of another user, or one that others may write to; else as the filesystem
    /// reports them. Want of room is a finding, not an error.
    pub fn probe(at: &Path, look: Look, mode: OpenMode) -> Result<Self> {
        check_owner(at)?;
        Ok(Self {
            tried: tried(at, mode)?,
            mounts: ability(mount::probe(at)),
            id_map: ability(mount::probe_id_map(at)),
            quota: if look.name == "btrfs" { btrfs::quota(at)? } else { Quota::Disabled },
            selinux: if filesystem::selinux_is_active() { Selinux::Active } else { Selinux::Absent },
            look,
        })
    }
}

fn tried(at: &Path, mode: OpenMode) -> Result<Tried> {
    if mode == OpenMode::ReadOnly {
        return Ok(Tried::ReadOnly);
    }
    match filesystem::probe(at) {
        Err(error) if error.kind() == ErrorKind::Exhausted => Ok(Tried::Full(error.to_string())),
        probed => probed.map(Tried::Done),
    }
}

/// Refuses a directory in which another user could put something else in the store's place.
///
/// # Errors
/// `Denied`; as the filesystem reports them.
pub fn check_owner(at: &Path) -> Result<()> {
    let metadata = fs::metadata(at).map_err(|error| cause(error, "probe", at.display()))?;
    let (owner, me) = (metadata.uid(), geteuid().as_raw());
    let refusal = |what: &'static str| {
        Error::new(ErrorKind::Denied, what)
            .context("path", at.display())
            .context("owner", owner)
            .context("mode", format_args!("{:04o}", metadata.permissions().mode() & 0o7777))
    };
    if owner != me && owner != 0 {
        let refusal =
            refusal("the store's directory belongs to another user, who could replace what is in it");
        return Err(refusal.context("this user", me).advise("open the store as its owner"));
    }
    if metadata.permissions().mode() & 0o022 != 0 {
        let refusal =
            refusal("other users may write to the store's directory, and could replace what is in it");
        return Err(refusal.advise("take the right away (chmod go-w), or choose a directory of its own"));
    }
    Ok(())
}

fn ability(tried: Result<()>) -> Ability {
    match tried {
        Ok(()) => Ability::Has,
        Err(error) => Ability::Lacks(error.to_string()),
    }
}
