//! Subvolumes and quota groups of btrfs. Quota is used where it is enabled already, and never enabled here.

mod probe;
mod quota;

pub(super) use probe::PREFIX as PROBE_PREFIX;
pub use probe::probe;
pub use quota::{Quota, limit_bytes, quota, referenced_bytes};

use super::{Writes, cause::cause, raw::btrfs as raw};
use crate::error::{Error, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use std::{
    ffi::CString,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// The inode number of the root of every subvolume, and of nothing else on btrfs.
pub const ROOT_INODE: u64 = raw::SUBVOLUME_ROOT_INODE;

/// Makes the empty subvolume `at`, which does not exist. Needs no privilege.
///
/// # Errors
/// As the filesystem reports them: `Unsupported` where it is not btrfs.
pub fn create_subvolume(at: &Path) -> Result<()> {
    let (parent, name) = place(at)?;
    raw::create(&parent, &name).map_err(|error| cause(error, "create the subvolume", at.display()))
}

/// Makes `to`, which does not exist, a snapshot of the subvolume `from` in one moment. Subvolumes inside it
/// are empty directories in the snapshot (btrfs-subvolume(8)).
///
/// # Errors
/// As the filesystem reports them: `Denied` for a subvolume of another owner without privilege.
pub fn snapshot(from: &Path, to: &Path, writes: Writes) -> Result<()> {
    let source = directory(from)?;
    let (parent, name) = place(to)?;
    let flags = if writes == Writes::Refused { raw::RDONLY } else { 0 };
    raw::snapshot(&source, &parent, &name, flags).map_err(|error| cause(error, "snapshot", from.display()))
}

/// Removes the subvolume `at` with its content, in one step. Without privilege this needs the mount option
/// `user_subvol_rm_allowed`; where it is refused, [`set_writes`] and emptying it by hand still work, since
/// rmdir(2) removes an empty subvolume.
///
/// # Errors
/// As the filesystem reports them: `Denied` without privilege and without that option.
pub fn destroy_subvolume(at: &Path) -> Result<()> {
    let (parent, name) = place(at)?;
    raw::destroy(&parent, &name).map_err(|error| cause(error, "remove the subvolume", at.display()))
}

/// Whether the directory `at` is the root of a subvolume: on btrfs, and on btrfs alone, its inode number
/// says so.
///
/// # Errors
/// As the filesystem reports them; a symbolic link is not followed.
pub fn is_subvolume(at: &Path) -> Result<bool> {
    let named = |error| cause(error, "look at", at.display());
    let stat = rustix::fs::statx(CWD, at, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::TYPE);
    let stat = stat.map_err(named)?;
    let directory = rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()).is_dir();
    if !directory || stat.stx_ino != raw::SUBVOLUME_ROOT_INODE {
        return Ok(false);
    }
    let magic = rustix::fs::statfs(at).map_err(named)?.f_type;
    Ok(super::filesystem::is_btrfs(magic as u64))
}

/// Whether the subvolume `at` has subvolumes inside it, which its snapshots do not have.
///
/// # Errors
/// As the filesystem reports them: `Unsupported` by a kernel before 4.18.
pub fn holds_subvolumes(at: &Path) -> Result<bool> {
    let inside = raw::subvolumes_inside(directory(at)?);
    inside.map(|count| count > 0).map_err(|error| cause(error, "look at", at.display()))
}

/// Whether the subvolume `at` may be written.
///
/// # Errors
/// As the filesystem reports them.
pub fn writes(at: &Path) -> Result<Writes> {
    let flags = raw::flags(&directory(at)?).map_err(|error| cause(error, "look at", at.display()))?;
    Ok(if flags & raw::RDONLY == 0 { Writes::Allowed } else { Writes::Refused })
}

/// Sets whether the subvolume `at` may be written. Its owner may do this; what is open for writing is stopped
/// as well.
///
/// # Errors
/// As the filesystem reports them.
pub fn set_writes(at: &Path, writes: Writes) -> Result<()> {
    set_writes_of(directory(at)?, at, writes)
}

/// As [`set_writes`], of the subvolume whose root `root` is; `shown` names it in errors.
///
/// # Errors
/// As [`set_writes`]; `Invalid` if it is not the root of a subvolume.
pub fn set_writes_of(root: impl AsFd, shown: &Path, writes: Writes) -> Result<()> {
    let named = |error| cause(error, "seal or unseal", shown.display());
    let flags = raw::flags(&root).map_err(named)?;
    let wanted = match writes {
        Writes::Refused => flags | raw::RDONLY,
        Writes::Allowed => flags & !raw::RDONLY,
    };
    if flags == wanted { Ok(()) } else { raw::set_flags(&root, wanted).map_err(named) }
}

fn directory(at: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(at, flags, Mode::empty()).map_err(|error| cause(error, "open", at.display()))
}

/// The opened parent of `at`, and its name there.
fn place(at: &Path) -> Result<(OwnedFd, CString)> {
    let (Some(parent), Some(name)) = (at.parent(), at.file_name()) else {
        return Err(Error::internal("a subvolume has a parent and a name").during("open", at.display()));
    };
    let name = CString::new(name.as_bytes()).map_err(|_| Error::invalid("path", "a path holds no NUL"))?;
    Ok((directory(parent)?, name))
}
