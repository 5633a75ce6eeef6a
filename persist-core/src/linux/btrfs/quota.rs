//! Quota groups: what sysfs shows of them, and the one limit that we set.

use super::{super::raw::btrfs as raw, directory};
use crate::{error::Result, linux::cause::cause};
use std::path::{Path, PathBuf};

/// Whether a btrfs counts by subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quota {
    /// It does, and its numbers hold.
    Enabled,
    /// It does, but its numbers are off until a rescan (btrfs-quota(8)): no limit can be trusted.
    Inconsistent,
    /// It does not, or the kernel does not say so in sysfs.
    Disabled,
}

/// Whether the btrfs at `at` counts by subvolume. Never changes it.
///
/// # Errors
/// As the filesystem reports them.
pub fn quota(at: &Path) -> Result<Quota> {
    let groups = groups(at)?;
    Ok(match std::fs::read_to_string(groups.join("inconsistent")) {
        Ok(text) if text.trim_ascii() == "0" => Quota::Enabled,
        Ok(_) => Quota::Inconsistent,
        Err(_) => Quota::Disabled,
    })
}

/// Limits the data that the subvolume `at` refers to, in bytes, or lifts the limit. Needs
/// `CAP_SYS_ADMIN` and enabled quota.
///
/// # Errors
/// As the filesystem reports them.
pub fn limit_bytes(at: &Path, limit: Option<u64>) -> Result<()> {
    let named = |error| cause(error, "limit the size of", at.display());
    let root = directory(at)?;
    let id = raw::subvolume_id(&root).map_err(named)?;
    // The largest number stands for "no limit" in the interface; a limit of that size is none either.
    raw::limit_referenced(&root, id, limit.unwrap_or(u64::MAX)).map_err(named)
}

/// How many bytes the subvolume `at` refers to, as of the last commit of the filesystem; `None` where quota
/// is not enabled.
///
/// # Errors
/// As the filesystem reports them.
pub fn referenced_bytes(at: &Path) -> Result<Option<u64>> {
    let id = raw::subvolume_id(&directory(at)?).map_err(|error| cause(error, "look at", at.display()))?;
    let text = std::fs::read_to_string(groups(at)?.join(format!("0_{id}/referenced")));
    Ok(text.ok().and_then(|text| text.trim_ascii().parse().ok()))
}

/// Where sysfs shows the quota groups, whether it does or not (the kernel's `sysfs-fs-btrfs`).
fn groups(at: &Path) -> Result<PathBuf> {
    let id = raw::filesystem_id(&directory(at)?).map_err(|error| cause(error, "look at", at.display()))?;
    Ok(PathBuf::from(format!("/sys/fs/btrfs/{}/qgroups", uuid::Uuid::from_bytes(id))))
}
