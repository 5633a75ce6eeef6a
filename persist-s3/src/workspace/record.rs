//! The stat record: for every path of a tree what the kernel showed of it when it was the base, beside what the
//! tree in the bucket holds for it.
//!
//! It makes an unchanged commit cost one statx(2) a file. It is never trusted further than that: a record that
//! is lost, torn, or of another base is as none, and every file is read again.

mod read;
mod write;

pub use read::Rows;
pub(super) use write::DRAFT;
pub use write::{Finished, RowWriter, merge};

use crate::head::record::{CommitName, Digest};
use persist_core::{
    Result, VolumeId,
    linux::cause::cause,
    tree::{Handle, Kind, Metadata, Stat, TreePath, Xattr},
};
use serde::{Deserialize, Serialize};
use std::{os::fd::AsFd, path::Path};

/// Which tree a record is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    /// The volume.
    pub volume: VolumeId,
    /// The commit; `None` for an empty volume.
    pub base: Option<CommitName>,
}

/// One path of the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub path: TreePath,
    /// What the kernel showed of it.
    pub applied: Applied,
    /// Whether the times prove that nothing changed while they stay.
    pub freshness: Freshness,
    /// What the tree in the bucket holds for it: opaque here.
    pub reference: Vec<u8>,
}

/// What the kernel showed of an entry right after it was written or read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Its type.
    pub kind: AppliedKind,
    /// Which inode it was: its number, and when it was made where that is known. Not the device: a snapshot
    /// of btrfs has the same inodes on another one.
    pub inode: (u64, i64, u32),
    /// Its length in bytes.
    pub size: u64,
    /// Last modification of the content: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Last change of anything: seconds and nanoseconds.
    pub ctime: (i64, u32),
    /// Permission bits, set-id and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The inode flags that are kept.
    pub flags: u32,
    /// The device that it stands for.
    pub device: u64,
    /// Under which path the file first appears, if it has several names.
    pub link: Option<TreePath>,
    /// Of the target of a symbolic link.
    pub target: Option<Digest>,
    /// Its extended attributes, sorted by name.
    pub xattrs: Vec<XattrMark>,
}

/// An extended attribute, known again by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XattrMark {
    /// The name with its namespace.
    pub name: Vec<u8>,
    /// Of the value.
    pub digest: Digest,
}

/// The type of an entry, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppliedKind {
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

/// Whether an entry's times prove that nothing changed while they stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// They do: the last change was clearly before the cut.
    Settled,
    /// A change right after the cut could have left them as they are: it is read again.
    Racy,
}

/// The kernel's clock of file times, read before the flush that a cut begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds and nanoseconds.
    pub time: (i64, u32),
}

/// How much older than the cut a change must be to be clearly older: two ticks of the coarsest clock that Linux
/// stamps files with (CONFIG_HZ=100: 10 ms).
const TICKS_NS: i128 = 20_000_000;

/// As [`TICKS_NS`], on a filesystem that keeps whole seconds (ext4 with small inodes) or even seconds (FAT).
const WHOLE_SECONDS_NS: i128 = 2_000_000_000;

impl Stamp {
    /// The clock that the filesystem of `directory` stamps files with, as it is now.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn now(directory: &Path) -> Result<Self> {
        let named = |e: std::io::Error| cause(e, "create", directory.display());
        let file = tempfile::tempfile_in(directory).map_err(named)?;
        let stat = Stat::of(Handle::Open(file.as_fd())).map_err(|e| cause(e, "stat", directory.display()))?;
        Ok(Self { time: stat.ctime })
    }

    /// How an entry of this ctime is recorded.
    pub fn judges(self, ctime: (i64, u32)) -> Freshness {
        let margin = if self.time.1 == 0 || ctime.1 == 0 { WHOLE_SECONDS_NS } else { TICKS_NS };
        if nanoseconds(ctime) + margin < nanoseconds(self.time) {
            Freshness::Settled
        } else {
            Freshness::Racy
        }
    }

    /// From when on an entry of this ctime is settled.
    pub fn settles(ctime: (i64, u32)) -> Self {
        let margin = if ctime.1 == 0 { WHOLE_SECONDS_NS } else { TICKS_NS };
        let at = nanoseconds(ctime) + margin + 1;
        let second = 1_000_000_000;
        let time = (
            i64::try_from(at.div_euclid(second)).unwrap_or(i64::MAX),
            u32::try_from(at.rem_euclid(second)).unwrap_or_default(),
        );
        Self { time }
    }
}

fn nanoseconds(time: (i64, u32)) -> i128 {
    i128::from(time.0) * 1_000_000_000 + i128::from(time.1)
}

impl Applied {
    /// What the kernel shows: `stat`, and the attributes and the target that were read with it.
    pub fn new(stat: &Stat, xattrs: &[Xattr], target: Option<&[u8]>, link: Option<TreePath>) -> Self {
        Self {
            kind: stat.kind.into(),
            inode: (stat.ino, stat.born.0, stat.born.1),
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            flags: stat.flags,
            device: stat.rdev,
            link,
            target: target.map(Digest::of),
            xattrs: marks(xattrs),
        }
    }

    /// Whether the kernel shows the very same inode in the very same state.
    pub fn is(&self, stat: &Stat, link: Option<&TreePath>) -> bool {
        // Every change of content, owner, mode, attributes, flags and names moves ctime (inode(7)).
        self.kind == stat.kind.into()
            && self.inode == (stat.ino, stat.born.0, stat.born.1)
            && (self.size, self.mtime, self.ctime) == (stat.size, stat.mtime, stat.ctime)
            && self.link.as_ref() == link
    }

    /// The metadata that a commit records for an entry whose tree says `intended`, of which this was applied, and
    /// which is `now`: only what differs from what was applied is a change; what could not be applied here
    /// (owners without privilege, attributes that the filesystem does not take) stays as intended.
    pub fn merged(&self, intended: &Metadata, now: &Metadata) -> Metadata {
        let pick = |applied: u32, now: u32, intended: u32| if applied == now { intended } else { now };
        let time = (now.mtime_s, now.mtime_ns);
        let (mtime_s, mtime_ns) =
            if time == self.mtime { (intended.mtime_s, intended.mtime_ns) } else { time };
        Metadata {
            mode: pick(self.mode, now.mode, intended.mode),
            uid: pick(self.uid, now.uid, intended.uid),
            gid: pick(self.gid, now.gid, intended.gid),
            mtime_s,
            mtime_ns,
            flags: pick(self.flags, now.flags, intended.flags),
            xattrs: self.merged_xattrs(&intended.xattrs, &now.xattrs),
        }
    }

    fn merged_xattrs(&self, intended: &[Xattr], now: &[Xattr]) -> Vec<Xattr> {
        let applied = |name: &[u8]| self.xattrs.iter().find(|mark| mark.name == name);
        let there = |name: &[u8]| now.iter().any(|xattr| xattr.name == name);
        // Those that were never applied, and those that are as they were applied.
        let unchanged = |xattr: &&Xattr| match applied(&xattr.name) {
            None => !there(&xattr.name),
            Some(mark) => now.iter().any(|n| n.name == mark.name && Digest::of(&n.value) == mark.digest),
        };
        let changed =
            |xattr: &&Xattr| applied(&xattr.name).is_none_or(|mark| mark.digest != Digest::of(&xattr.value));
        let kept = intended.iter().filter(unchanged).chain(now.iter().filter(changed));
        let mut merged: Vec<Xattr> = kept.cloned().collect();
        merged.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        merged
    }
}

/// The marks of these attributes.
pub(super) fn marks(xattrs: &[Xattr]) -> Vec<XattrMark> {
    xattrs.iter().map(XattrMark::of).collect()
}

impl XattrMark {
    fn of(xattr: &Xattr) -> Self {
        Self { name: xattr.name.clone(), digest: Digest::of(&xattr.value) }
    }
}

impl From<Kind> for AppliedKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Directory => Self::Directory,
            Kind::File => Self::File,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo => Self::Fifo,
            Kind::Socket => Self::Socket,
            Kind::CharacterDevice => Self::CharacterDevice,
            Kind::BlockDevice => Self::BlockDevice,
        }
    }
}

#[cfg(test)]
mod tests;
