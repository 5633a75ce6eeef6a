//! Reading and writing everything that a filesystem says about an entry beside its content.

pub(crate) mod xattrs;

use super::{
    entry::{Metadata, TreePath, Xattr},
    losses::{Loss, Losses},
    stat::{Handle, KEPT_FLAGS, Kind, Stat},
};
use crate::{error::Result, linux::cause::cause, tree::Trust};
use rustix::{
    fs::{
        AtFlags, CWD, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat,
        fchmod, fchown, fstatvfs, futimens, ioctl_getflags, ioctl_setflags, openat, utimensat,
    },
    io::Errno,
};
use std::os::fd::{AsRawFd, OwnedFd};

/// What is known about the entry that metadata is written to: saves system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// Nothing is known: everything is written, and attributes that are not wanted are removed.
    Unknown,
    /// This process has just made it, and this is its owner and group: it has no attributes.
    Fresh {
        /// The owner.
        uid: u32,
        /// The group.
        gid: u32,
    },
}

/// Reads everything about the entry `handle`, whose `stat` was just read: one system call, and two for
/// each attribute that it has.
///
/// # Errors
/// The kernel's number, `ENOENT` if it went away.
pub fn read_metadata(handle: Handle<'_>, stat: &Stat) -> Result<Metadata, Errno> {
    Ok(Metadata { xattrs: xattrs::read(handle)?, ..stat.metadata() })
}

/// Writes metadata under one policy; what cannot be written is counted.
#[derive(Debug)]
pub struct MetadataWriter<'a> {
    trust: Trust,
    losses: &'a mut Losses,
}

/// One entry that metadata is written to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The entry.
    pub handle: Handle<'a>,
    /// Its type.
    pub kind: Kind,
    /// What is known about it.
    pub present: Present,
    /// Where it is in the tree, for reports.
    pub path: &'a dyn Located,
}

/// Something that knows where it is in a tree; asked only when there is something to report.
pub trait Located {
    /// The path.
    fn tree_path(&self) -> TreePath;
}

impl Located for TreePath {
    fn tree_path(&self) -> TreePath {
        self.clone()
    }
}

impl std::fmt::Debug for dyn Located + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tree_path().fmt(f)
    }
}

/// Whether flags are written with the rest, or later by [`MetadataWriter::write_flags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagsWhen {
    /// With the rest, last of all.
    Now,
    /// Later: an immutable file cannot get further names, an immutable directory no entries.
    Later,
}

impl<'a> MetadataWriter<'a> {
    /// Writes as `trust` allows and counts into `losses`.
    pub fn new(trust: Trust, losses: &'a mut Losses) -> Self {
        Self { trust, losses }
    }

    /// Writes `wanted` to `target`: owner, attributes, mode, time, and flags last (unless later).
    ///
    /// # Promise
    /// What the filesystem or the lack of privilege does not allow is counted, not an error. A file whose
    /// owner could not be kept gets no set-id bits.
    ///
    /// # Errors
    /// What says that the device or the space is at its end (`EIO`, `ENOSPC`, `EDQUOT`, `EROFS`, ...).
    pub fn write(&mut self, target: Target<'_>, wanted: &Metadata, flags: FlagsWhen) -> Result<()> {
        let owner = self.write_owner(target, wanted)?;
        self.write_xattrs(target, &wanted.xattrs)?;
        self.write_mode(target, wanted, owner)?;
        self.write_time(target, wanted)?;
        match flags {
            FlagsWhen::Now => self.write_flags(target, wanted),
            FlagsWhen::Later => Ok(()),
        }
    }

    fn write_owner(&mut self, target: Target<'_>, wanted: &Metadata) -> Result<OwnerKept> {
        if target.present == (Present::Fresh { uid: wanted.uid, gid: wanted.gid }) {
            return Ok(OwnerKept::Yes);
        }
        match chown(target.handle, wanted.uid, wanted.gid) {
            Ok(()) => Ok(OwnerKept::Yes),
            Err(error) => self.lost(target, Loss::Owner, "chown", error).map(|()| OwnerKept::No),
        }
    }

    fn write_xattrs(&mut self, target: Target<'_>, wanted: &[Xattr]) -> Result<()> {
        if target.present == Present::Unknown {
            self.remove_unwanted(target, wanted)?;
        }
        for xattr in wanted {
            let loss = loss_of(&xattr.name);
            if self.trust == Trust::Untrusted && matches!(loss, Loss::Security | Loss::Trusted) {
                self.losses.add(loss, || target.path.tree_path(), "left out of an untrusted tree");
                continue;
            }
            match xattrs::set(target.handle, xattr) {
                Ok(()) => {}
                // ext4 also says so of an attribute that is larger than it can ever hold.
                Err(Errno::NOSPC) if has_room(target.handle) => self.count(target, loss, Errno::NOSPC),
                Err(error) => self.lost(target, loss, "setxattr", error)?,
            }
        }
        Ok(())
    }

    fn remove_unwanted(&mut self, target: Target<'_>, wanted: &[Xattr]) -> Result<()> {
        let names = match xattrs::names(target.handle) {
            Ok(names) => names,
            Err(error) => return self.lost(target, Loss::Attribute, "listxattr", error),
        };
        for name in names.iter().filter(|name| xattrs::is_removable(name)) {
            if wanted.iter().any(|xattr| xattr.name == *name) {
                continue;
            }
            match xattrs::remove(target.handle, name) {
                Err(error) if error != Errno::NODATA => {
                    self.lost(target, loss_of(name), "removexattr", error)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn write_mode(&mut self, target: Target<'_>, wanted: &Metadata, owner: OwnerKept) -> Result<()> {
        if target.kind == Kind::Symlink {
            return Ok(());
        }
        let mut mode = wanted.mode & 0o7777;
        let set_id = mode & SET_ID != 0 && target.kind != Kind::Directory;
        if set_id && (self.trust == Trust::Untrusted || owner == OwnerKept::No) {
            let why = if owner == OwnerKept::No {
                "its owner was not kept"
            } else {
                "left out of an untrusted tree"
            };
            self.losses.add(Loss::SetId, || target.path.tree_path(), why);
            mode &= !SET_ID;
        }
        match chmod(target.handle, mode) {
            Err(error) => self.lost(target, Loss::Mode, "chmod", error),
            Ok(()) if mode & SET_ID != 0 => self.check_set_id(target, mode),
            Ok(()) => Ok(()),
        }
    }

    /// chmod(2) drops the set-group-id bit without an error where the caller is not in the group.
    fn check_set_id(&mut self, target: Target<'_>, mode: u32) -> Result<()> {
        match Stat::of(target.handle) {
            Ok(stat) if stat.mode == mode => Ok(()),
            Ok(_) => {
                self.losses.add(Loss::SetId, || target.path.tree_path(), "not allowed for this user");
                Ok(())
            }
            Err(error) => self.lost(target, Loss::SetId, "stat", error),
        }
    }

    /// Writes the modification time; the time of access is left alone.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_time(&mut self, target: Target<'_>, wanted: &Metadata) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: wanted.mtime_s, tv_nsec: i64::from(wanted.mtime_ns) },
        };
        let result = match target.handle {
            Handle::Open(fd) => futimens(fd, &times),
            Handle::Name { dir, name } => utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        };
        match result {
            Err(error) => self.lost(target, Loss::Time, "utimensat", error),
            Ok(()) if SURE_SECONDS.contains(&wanted.mtime_s) => Ok(()),
            Ok(()) => self.check_time(target, wanted),
        }
    }

    /// The kernel clamps a time that the filesystem cannot hold, without an error (utimensat(2)).
    fn check_time(&mut self, target: Target<'_>, wanted: &Metadata) -> Result<()> {
        match Stat::of(target.handle) {
            Ok(stat) if stat.mtime == (wanted.mtime_s, wanted.mtime_ns) => Ok(()),
            Ok(_) => {
                self.losses.add(Loss::Time, || target.path.tree_path(), "beyond what the filesystem holds");
                Ok(())
            }
            Err(error) => self.lost(target, Loss::Time, "stat", error),
        }
    }

    /// Writes the inode flags, which must come last: an immutable entry takes nothing more.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_flags(&mut self, target: Target<'_>, wanted: &Metadata) -> Result<()> {
        let flags = wanted.flags & KEPT_FLAGS;
        if flags == 0 && target.present != Present::Unknown {
            return Ok(());
        }
        match set_flags(target.handle, target.kind, flags) {
            Err(_) if flags == 0 => Ok(()),
            Err(error) => self.lost(target, Loss::Flags, "setflags", error),
            Ok(()) => Ok(()),
        }
    }

    /// Counts what was refused; ends the call where going on makes no sense.
    fn lost(&mut self, target: Target<'_>, loss: Loss, operation: &'static str, error: Errno) -> Result<()> {
        if is_fatal(error) {
            return Err(cause(error, operation, target.path.tree_path()));
        }
        self.count(target, loss, error);
        Ok(())
    }

    fn count(&mut self, target: Target<'_>, loss: Loss, error: Errno) {
        self.losses.add(loss, || target.path.tree_path(), std::io::Error::from(error));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnerKept {
    Yes,
    No,
}

/// `S_ISUID | S_ISGID` (inode(7)).
const SET_ID: u32 = 0o6000;

/// Seconds that every filesystem holds: a signed 32-bit count from 1970 on. Outside, it is looked at.
const SURE_SECONDS: std::ops::Range<i64> = 0..1 << 31;

/// What no report may hide: the device, the space, or this process is at its end.
fn is_fatal(error: Errno) -> bool {
    matches!(
        error,
        Errno::IO | Errno::ROFS | Errno::STALE | Errno::NOMEM | Errno::MFILE | Errno::NFILE | Errno::NOENT
    ) || matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::UCLEAN | Errno::TIMEDOUT)
}

/// Whether the filesystem has room for one more attribute of any size.
fn has_room(handle: Handle<'_>) -> bool {
    let (Handle::Open(fd) | Handle::Name { dir: fd, .. }) = handle;
    fstatvfs(fd).is_ok_and(|v| v.f_bavail.saturating_mul(v.f_frsize) > xattrs::VALUE_MAX_BYTES as u64)
}

fn loss_of(name: &[u8]) -> Loss {
    match name {
        n if n.starts_with(b"security.") => Loss::Security,
        n if n.starts_with(b"trusted.") => Loss::Trusted,
        n if n.starts_with(b"system.posix_acl_") => Loss::Acl,
        _ => Loss::Attribute,
    }
}

fn chown(handle: Handle<'_>, uid: u32, gid: u32) -> Result<(), Errno> {
    // The kernel reads -1 as "leave as it is" (chown(2)): no file has that owner.
    let (uid, gid) =
        ((uid != u32::MAX).then(|| Uid::from_raw(uid)), (gid != u32::MAX).then(|| Gid::from_raw(gid)));
    match handle {
        Handle::Open(fd) => fchown(fd, uid, gid),
        Handle::Name { dir, name } => chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
    }
}

/// fchmodat(2) follows links and fchmodat2(2) is younger than our kernels: a path descriptor is opened
/// without following, and changed through its magic link (proc_pid_fd(5)).
fn chmod(handle: Handle<'_>, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode);
    match handle {
        Handle::Open(fd) => fchmod(fd, mode),
        Handle::Name { dir, name } => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(dir, name, flags, Mode::empty())?;
            chmodat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), mode, AtFlags::empty())
        }
    }
}

fn set_flags(handle: Handle<'_>, kind: Kind, flags: u32) -> Result<(), Errno> {
    let opened: OwnedFd;
    let fd = match handle {
        Handle::Open(fd) => fd,
        Handle::Name { dir, name } if matches!(kind, Kind::File | Kind::Directory) => {
            let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            opened = openat(dir, name, how, Mode::empty())?;
            std::os::fd::AsFd::as_fd(&opened)
        }
        Handle::Name { .. } => return Err(Errno::OPNOTSUPP),
    };
    let now = ioctl_getflags(fd)?;
    let kept = IFlags::from_bits_retain(KEPT_FLAGS);
    let next = (now - kept) | IFlags::from_bits_retain(flags & KEPT_FLAGS);
    if next == now { Ok(()) } else { ioctl_setflags(fd, next) }
}

/// Clears immutable and append-only, so that the entry can be changed or removed.
pub(crate) fn clear_flags(handle: Handle<'_>, kind: Kind) -> Result<(), Errno> {
    set_flags(handle, kind, 0)
}

/// Lets the owner of a directory list, change and enter it; nothing happens to anything else.
pub(crate) fn open_up(handle: Handle<'_>) -> Result<(), Errno> {
    let stat = Stat::of(handle)?;
    match stat.kind {
        Kind::Directory if stat.mode & 0o700 != 0o700 => chmod(handle, stat.mode | 0o700),
        Kind::Directory => Ok(()),
        _ => Err(Errno::NOTDIR),
    }
}

#[cfg(test)]
mod tests;
