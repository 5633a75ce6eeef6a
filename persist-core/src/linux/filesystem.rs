//! What a path lives on: looked at without a trace, and probed with files that have no name.

mod class;

pub use class::{Class, Foreign, Kind, classify};

use super::{Writes, btrfs, cause::cause, mountinfo::MountTable};
use crate::error::Result;
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, SeekFrom, StatVfsMountFlags, StatxFlags, XattrFlags, open},
    io::Errno,
};
use std::{
    fs::File,
    path::Path,
    time::{Duration, Instant},
};

bitflags::bitflags! {
    /// What a filesystem was seen to do for this process.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
    pub struct Abilities: u32 {
        /// Files share blocks until either is changed (`FICLONE` of ioctl_ficlone(2)).
        const REFLINK = 1;
        /// Holes are told from data (`SEEK_HOLE` of lseek(2)).
        const HOLES = 1 << 1;
        /// Extended attributes of users (xattr(7)).
        const USER_XATTRS = 1 << 2;
        /// Extended attributes of the administrator.
        const TRUSTED_XATTRS = 1 << 3;
        /// SELinux labels can be set.
        const LABELS = 1 << 4;
        /// Subvolumes are made, cut and removed.
        const SUBVOLUMES = 1 << 5;
        /// The size of a subvolume is limited, and the limit was seen to hold.
        const SUBVOLUME_LIMITS = 1 << 6;
    }
}

/// What the kernel says about the filesystem under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Look {
    /// What it is good for.
    pub class: Class,
    /// Its type (`ext4`), or its magic number where the mount table does not show it.
    pub name: String,
    /// Whether it is mounted read-only.
    pub writes: Writes,
    /// The longest name of a file, in bytes.
    pub file_name_max_bytes: u64,
}

/// What was tried on a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probed {
    /// What it was seen to do.
    pub abilities: Abilities,
    /// How long a flush of one small file took.
    pub fsync_latency: Duration,
}

impl Look {
    /// What is known about a filesystem.
    pub fn new(class: Class, name: impl Into<String>, writes: Writes, file_name_max_bytes: u64) -> Self {
        Self { class, name: name.into(), writes, file_name_max_bytes }
    }
}

impl Probed {
    /// What was tried.
    pub fn new(abilities: Abilities, fsync_latency: Duration) -> Self {
        Self { abilities, fsync_latency }
    }
}

/// Looks at the filesystem that the directory `at` is on. Writes nothing.
///
/// # Errors
/// As the filesystem reports them.
pub fn look(at: &Path) -> Result<Look> {
    let named = |error| cause(error, "look at", at.display());
    let statfs = rustix::fs::statfs(at).map_err(named)?;
    let statvfs = rustix::fs::statvfs(at).map_err(named)?;
    let stat = rustix::fs::statx(CWD, at, AtFlags::empty(), StatxFlags::MNT_ID).map_err(named)?;
    let magic = statfs.f_type as u64;
    let table = MountTable::read()?;
    let mount = table.by_id(stat.stx_mnt_id).filter(|_| stat.stx_mask & StatxFlags::MNT_ID.bits() != 0);
    let options: Vec<_> = mount
        .map(|mount| mount.options.iter().chain(&mount.filesystem_options).map(String::as_str).collect())
        .unwrap_or_default();
    let name = mount.map_or("", |mount| mount.filesystem.as_str());
    let read_only = statvfs.f_flag.contains(StatVfsMountFlags::RDONLY);
    Ok(Look {
        class: classify(Kind { magic, name, options: &options }),
        name: if name.is_empty() { format!("filesystem {magic:#x}") } else { name.to_owned() },
        writes: if read_only { Writes::Refused } else { Writes::Allowed },
        file_name_max_bytes: statvfs.f_namemax,
    })
}

/// Whether the text of `path` says that it is on a filesystem that is not this host's own, and the type of
/// that. Touches nothing but the mount table, so a dead file server cannot hang it.
///
/// # Errors
/// As the system reports them for the mount table.
pub fn foreign(path: &Path) -> Result<Option<(Foreign, String)>> {
    let table = MountTable::read()?;
    let Some(mount) = table.covering(path) else { return Ok(None) };
    Ok(match classify(Kind { magic: 0, name: &mount.filesystem, options: &[] }) {
        Class::Foreign(foreign) => Some((foreign, mount.filesystem.clone())),
        _ => None,
    })
}

/// Tries what the filesystem of the writable directory `at` does. Leaves nothing behind, also when killed,
/// except on btrfs: an empty directory `.draft-probe-*`, which the next probe removes; and where a file needs a name (NFS):
/// a small file of such a name.
///
/// # Errors
/// As the filesystem reports them, where it cannot even keep a small file.
pub fn probe(at: &Path) -> Result<Probed> {
    let named = |error: std::io::Error| cause(error, "probe", at.display());
    let file = unnamed(at).map_err(named)?;
    let fsync_latency = flush_time(&file).map_err(named)?;
    let mut abilities = Abilities::empty();
    abilities.set(Abilities::REFLINK, unnamed(at).is_ok_and(|to| clones(&file, &to)));
    abilities.set(Abilities::HOLES, unnamed(at).is_ok_and(|file| seeks_holes(&file)));
    abilities.set(Abilities::USER_XATTRS, keeps_xattr(&file, "user.persist"));
    abilities.set(Abilities::TRUSTED_XATTRS, keeps_xattr(&file, "trusted.persist"));
    abilities.set(Abilities::LABELS, takes_label(&file));
    if rustix::fs::fstatfs(&file).is_ok_and(|statfs| is_btrfs(statfs.f_type as u64)) {
        abilities |= btrfs::probe(at)?;
    }
    Ok(Probed { abilities, fsync_latency })
}

/// A file that nobody else sees: without a name, or, where there is no such thing (NFS), with one of a probe for a
/// moment. Whoever makes a store at that moment must not take it for somebody's file.
fn unnamed(at: &Path) -> std::io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match open(at, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        Err(_) => Ok(tempfile::Builder::new().prefix(btrfs::PROBE_PREFIX).tempfile_in(at)?.into_file()),
    }
}

/// Whether SELinux decides on this host, so that new files inherit the label of their directory.
pub fn selinux_is_active() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Whether `f_type` of statfs(2) says btrfs.
pub(super) fn is_btrfs(magic: u64) -> bool {
    magic == class::BTRFS
}

/// A block of most filesystems; large enough that btrfs does not keep it inside its metadata.
const BLOCK: [u8; 4096] = [0x70; 4096];

fn flush_time(file: &File) -> std::io::Result<Duration> {
    rustix::io::pwrite(file, &BLOCK, 0)?;
    let start = Instant::now();
    file.sync_all()?;
    Ok(start.elapsed())
}

fn clones(from: &File, to: &File) -> bool {
    let mut back = [0; BLOCK.len()];
    rustix::fs::ioctl_ficlone(to, from).is_ok()
        && rustix::io::pread(to, &mut back, 0) == Ok(BLOCK.len())
        && back == BLOCK
}

/// A filesystem without the ability shows one piece of data (lseek(2)).
fn seeks_holes(file: &File) -> bool {
    const DATA_AT: u64 = 1 << 20;
    rustix::io::pwrite(file, &BLOCK, DATA_AT).is_ok()
        && rustix::fs::seek(file, SeekFrom::Hole(0)) == Ok(0)
        && rustix::fs::seek(file, SeekFrom::Data(0)).is_ok_and(|data| 0 < data && data <= DATA_AT)
}

fn keeps_xattr(file: &File, name: &str) -> bool {
    let mut back = [0; 8];
    rustix::fs::fsetxattr(file, name, b"probe", XattrFlags::empty()).is_ok()
        && rustix::fs::fgetxattr(file, name, &mut back) == Ok(5)
        && back.starts_with(b"probe")
}

/// Sets the label that the file has, or, without SELinux, a label that every policy knows.
fn takes_label(file: &File) -> bool {
    const NAME: &str = "security.selinux";
    const UNLABELED: &[u8] = b"system_u:object_r:unlabeled_t:s0\0";
    let mut label = [0; 4096];
    let label = match rustix::fs::fgetxattr(file, NAME, &mut label) {
        Ok(length) => &label[..length],
        Err(Errno::NODATA) => UNLABELED,
        Err(_) => return false,
    };
    rustix::fs::fsetxattr(file, NAME, label, XattrFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_leaves_no_trace_and_probing_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let look = look(dir.path()).unwrap();
        assert_eq!((look.writes, look.file_name_max_bytes), (Writes::Allowed, 255));
        let probed = probe(dir.path()).unwrap();
        assert!(probed.abilities.contains(Abilities::HOLES), "{probed:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn memory_and_kernel_filesystems_are_recognised() {
        assert_eq!(look(Path::new("/dev/shm")).unwrap().class, Class::Memory);
        assert_eq!(look(Path::new("/proc")).unwrap().class, Class::Unknown);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let error = look(&dir.path().join("missing")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound, "{error}");
    }
}
