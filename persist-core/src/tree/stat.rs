//! One statx(2): what an entry is, without opening it.

use super::entry::{EntryKind, Metadata};
use rustix::{
    fs::{AtFlags, FileType, StatxFlags, makedev, readlinkat, statx},
    io::Errno,
};
use std::{
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
};

/// An entry that is already resolved: nothing below follows a link.
#[derive(Debug, Clone, Copy)]
pub enum Handle<'a> {
    /// It is open, for more than its path (not `O_PATH`).
    Open(BorrowedFd<'a>),
    /// It is called `name`, one component, in the opened directory `dir`.
    Name {
        /// The directory.
        dir: BorrowedFd<'a>,
        /// One component; a symbolic link is meant itself.
        name: &'a CStr,
    },
}

/// Where the symbolic link `name` of the opened directory `dir` points. What is no link any more since it was
/// looked at (readlink(2), `EINVAL`) is gone as that link.
pub(super) fn link_target(dir: BorrowedFd<'_>, name: &CStr) -> Result<CString, Errno> {
    readlinkat(dir, name, Vec::new())
        .map_err(|error| if error == Errno::INVAL { Errno::NOENT } else { error })
}

/// The type of an entry, without what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// Identity of an inode: device, number, and the time it was made where the filesystem knows it (so that
/// a number used again is another inode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode {
    /// The device.
    pub device: u64,
    /// The number on it.
    pub number: u64,
    /// When it was made: seconds and nanoseconds; zero where unknown.
    pub born: (i64, u32),
}

/// What statx(2) says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its type.
    pub kind: Kind,
    /// Permission bits, set-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Its length in bytes.
    pub size: u64,
    /// What it occupies, in units of 512 bytes.
    pub blocks: u64,
    /// How many names it has.
    pub links: u32,
    /// Its number.
    pub ino: u64,
    /// The device it is on.
    pub dev: u64,
    /// The device it stands for.
    pub rdev: u64,
    /// The mount it is on; zero on kernels that do not say (before 5.8).
    pub mount: u64,
    /// Last modification of the content: seconds (may be negative) and nanoseconds.
    pub mtime: (i64, u32),
    /// Last change of anything.
    pub ctime: (i64, u32),
    /// When it was made; zero where unknown.
    pub born: (i64, u32),
    /// Those of [`KEPT_FLAGS`] that are set.
    pub flags: u32,
    /// Whether it is the root of a mount.
    pub mount_root: MountRoot,
}

/// Whether an entry is the root of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountRoot {
    /// It is.
    Yes,
    /// It is not, or the kernel does not say (before 5.8).
    No,
}

/// Inode flags that are kept: append-only, immutable, no dump. Their values are the same in
/// `FS_IOC_GETFLAGS` (linux/fs.h) and in `stx_attributes` (linux/stat.h).
pub const KEPT_FLAGS: u32 = 0x10 | 0x20 | 0x40;

const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

impl Stat {
    /// Looks at `handle` with one system call.
    ///
    /// # Errors
    /// The kernel's number; map it with [`cause`](crate::linux::cause::cause).
    pub fn of(handle: Handle<'_>) -> Result<Self, Errno> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let raw = match handle {
            Handle::Open(fd) => statx(fd, c"", flags | AtFlags::EMPTY_PATH, mask)?,
            Handle::Name { dir, name } => statx(dir, name, flags, mask)?,
        };
        let attributes = raw.stx_attributes.bits();
        let born = raw.stx_mask & StatxFlags::BTIME.bits() != 0;
        let known_mount = raw.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        let is_mount = attributes & STATX_ATTR_MOUNT_ROOT != 0;
        Ok(Self {
            kind: Kind::of(FileType::from_raw_mode(u32::from(raw.stx_mode))).ok_or(Errno::OPNOTSUPP)?,
            mode: u32::from(raw.stx_mode) & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            blocks: raw.stx_blocks,
            links: raw.stx_nlink,
            ino: raw.stx_ino,
            dev: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            rdev: makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
            mount: if known_mount { raw.stx_mnt_id } else { 0 },
            mtime: (raw.stx_mtime.tv_sec, raw.stx_mtime.tv_nsec),
            ctime: (raw.stx_ctime.tv_sec, raw.stx_ctime.tv_nsec),
            born: if born { (raw.stx_btime.tv_sec, raw.stx_btime.tv_nsec) } else { (0, 0) },
            flags: u32::try_from(attributes & u64::from(KEPT_FLAGS)).unwrap_or(0),
            mount_root: if is_mount { MountRoot::Yes } else { MountRoot::No },
        })
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Which inode it is.
    pub fn inode(&self) -> Inode {
        Inode { device: self.dev, number: self.ino, born: self.born }
    }

    /// Whether it has other names beside this one; directories never do.
    pub fn has_other_names(&self) -> bool {
        self.links > 1 && !self.is_directory()
    }

    /// Whether content or metadata may have changed between `self` and `later`.
    pub fn differs(&self, later: &Self) -> bool {
        (self.inode(), self.size, self.mtime, self.ctime)
            != (later.inode(), later.size, later.mtime, later.ctime)
    }

    /// Owner, mode, time and flags; the attributes are left empty.
    pub fn metadata(&self) -> Metadata {
        Metadata {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime_s: self.mtime.0,
            mtime_ns: self.mtime.1,
            flags: self.flags,
            xattrs: Vec::new(),
        }
    }

    /// The kind with what statx(2) knows of it: a file's data ranges and a link's target are not.
    pub fn entry_kind(&self, target: Vec<u8>) -> EntryKind {
        match self.kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File => EntryKind::File { size: self.size, data: None },
            Kind::Symlink => EntryKind::Symlink { target },
            Kind::Fifo => EntryKind::Fifo,
            Kind::Socket => EntryKind::Socket,
            Kind::CharacterDevice => EntryKind::CharacterDevice { device: self.rdev },
            Kind::BlockDevice => EntryKind::BlockDevice { device: self.rdev },
        }
    }
}

impl Kind {
    /// The kind that the kernel calls `raw`; `None` for what Linux does not have.
    pub(crate) fn of(raw: FileType) -> Option<Self> {
        Some(match raw {
            FileType::Directory => Self::Directory,
            FileType::RegularFile => Self::File,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharacterDevice,
            FileType::BlockDevice => Self::BlockDevice,
            FileType::Unknown => return None,
        })
    }

    /// Whether it is a character or block device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharacterDevice | Self::BlockDevice)
    }
}

impl From<&EntryKind> for Kind {
    fn from(kind: &EntryKind) -> Self {
        match kind {
            EntryKind::Directory => Self::Directory,
            EntryKind::File { .. } => Self::File,
            EntryKind::Symlink { .. } => Self::Symlink,
            EntryKind::Fifo => Self::Fifo,
            EntryKind::Socket => Self::Socket,
            EntryKind::CharacterDevice { .. } => Self::CharacterDevice,
            EntryKind::BlockDevice { .. } => Self::BlockDevice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_link_that_became_a_file_is_gone_as_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "x").unwrap();
        let opened = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(link_target(opened.as_fd(), c"file"), Err(Errno::NOENT));
        assert_eq!(link_target(opened.as_fd(), c"nothing"), Err(Errno::NOENT));
    }
}
