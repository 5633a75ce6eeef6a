//! ioctls of btrfs (btrfs-ioctl(2), the kernel's `linux/btrfs.h`); the structures are as that header has them.

use rustix::ioctl::{Opcode, opcode};
use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd},
};

/// `BTRFS_SUBVOL_RDONLY`.
pub(in crate::linux) const RDONLY: u64 = 1 << 1;

/// `BTRFS_FIRST_FREE_OBJECTID`: the inode number of the root of every subvolume.
pub(in crate::linux) const SUBVOLUME_ROOT_INODE: u64 = 256;

/// Makes the subvolume `name` in the directory `parent`.
pub(in crate::linux) fn create(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: filled(name)? };
    call(parent, SUBVOL_CREATE, &mut args)
}

/// Makes `name` in the directory `parent` a snapshot of the subvolume `source`.
pub(in crate::linux) fn snapshot(
    source: impl AsFd,
    parent: impl AsFd,
    name: &CStr,
    flags: u64,
) -> io::Result<()> {
    let fd = i64::from(source.as_fd().as_raw_fd());
    let mut args = VolArgsV2 { fd, transid: 0, flags, unused: [0; 4], name: filled(name)? };
    call(parent, SNAP_CREATE_V2, &mut args)
}

/// Removes the subvolume `name` of the directory `parent`, with its content.
pub(in crate::linux) fn destroy(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    let mut args = VolArgs { fd: 0, name: filled(name)? };
    call(parent, SNAP_DESTROY, &mut args)
}

/// The flags of the subvolume whose root is `root`.
pub(in crate::linux) fn flags(root: impl AsFd) -> io::Result<u64> {
    let mut flags = 0;
    call(root, SUBVOL_GETFLAGS, &mut flags).map(|()| flags)
}

/// Sets the flags of the subvolume whose root is `root`.
pub(in crate::linux) fn set_flags(root: impl AsFd, mut flags: u64) -> io::Result<()> {
    call(root, SUBVOL_SETFLAGS, &mut flags)
}

/// The identity of the filesystem.
pub(in crate::linux) fn filesystem_id(at: impl AsFd) -> io::Result<[u8; 16]> {
    let mut info = FsInfo { max_id: 0, num_devices: 0, fsid: [0; 16], rest: [0; 992] };
    call(at, FS_INFO, &mut info).map(|()| info.fsid)
}

/// The number of the subvolume that `at` is in; the kernel asks for no privilege for this one question.
pub(in crate::linux) fn subvolume_id(at: impl AsFd) -> io::Result<u64> {
    let mut args = InoLookup { treeid: 0, objectid: SUBVOLUME_ROOT_INODE, name: [0; 4080] };
    call(at, INO_LOOKUP, &mut args).map(|()| args.treeid)
}

/// How many subvolumes are directly inside the one whose root is `root`: at least this many.
pub(in crate::linux) fn subvolumes_inside(root: impl AsFd) -> io::Result<u8> {
    let mut args = RootRefs { min_treeid: 0, refs: [[0; 2]; 255], count: 0, align: [0; 7] };
    match call(root, GET_SUBVOL_ROOTREF, &mut args) {
        // There are more than fit in one answer.
        Err(error) if error.raw_os_error() == Some(libc::EOVERFLOW) => Ok(u8::MAX),
        result => result.map(|()| args.count),
    }
}

/// Limits what the quota group of the subvolume `id` refers to; `u64::MAX` lifts the limit
/// (`BTRFS_QGROUP_CLEAR_VALUE`).
pub(in crate::linux) fn limit_referenced(at: impl AsFd, id: u64, bytes: u64) -> io::Result<()> {
    let mut args = QgroupLimit {
        qgroupid: id,
        flags: LIMIT_REFERENCED,
        max_referenced: bytes,
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    call(at, QGROUP_LIMIT, &mut args)
}

/// `BTRFS_IOCTL_MAGIC`.
const MAGIC: u8 = 0x94;

const SUBVOL_CREATE: Opcode = opcode::write::<VolArgs>(MAGIC, 14);
const SNAP_DESTROY: Opcode = opcode::write::<VolArgs>(MAGIC, 15);
const INO_LOOKUP: Opcode = opcode::read_write::<InoLookup>(MAGIC, 18);
const SNAP_CREATE_V2: Opcode = opcode::write::<VolArgsV2>(MAGIC, 23);
const SUBVOL_GETFLAGS: Opcode = opcode::read::<u64>(MAGIC, 25);
const SUBVOL_SETFLAGS: Opcode = opcode::write::<u64>(MAGIC, 26);
const FS_INFO: Opcode = opcode::read::<FsInfo>(MAGIC, 31);
const QGROUP_LIMIT: Opcode = opcode::read::<QgroupLimit>(MAGIC, 43);

const GET_SUBVOL_ROOTREF: Opcode = opcode::read_write::<RootRefs>(MAGIC, 61);

/// `BTRFS_QGROUP_LIMIT_MAX_RFER`.
const LIMIT_REFERENCED: u64 = 1;

/// `BTRFS_PATH_NAME_MAX` + 1.
const V1_NAME_BYTES: usize = 4088;

/// `BTRFS_SUBVOL_NAME_MAX` + 1.
const V2_NAME_BYTES: usize = 4040;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolArgs {
    fd: i64,
    name: [u8; V1_NAME_BYTES],
}

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct VolArgsV2 {
    fd: i64,
    transid: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; V2_NAME_BYTES],
}

/// `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct FsInfo {
    max_id: u64,
    num_devices: u64,
    fsid: [u8; 16],
    rest: [u8; 992],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct InoLookup {
    treeid: u64,
    objectid: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_get_subvol_rootref_args`.
#[repr(C)]
struct RootRefs {
    min_treeid: u64,
    refs: [[u64; 2]; 255],
    count: u8,
    align: [u8; 7],
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct QgroupLimit {
    qgroupid: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

fn filled<const N: usize>(name: &CStr) -> io::Result<[u8; N]> {
    let bytes = name.to_bytes_with_nul();
    let mut field = [0; N];
    let place = field.get_mut(..bytes.len()).ok_or(io::ErrorKind::InvalidFilename)?;
    place.copy_from_slice(bytes);
    Ok(field)
}

/// `op` is one of the constants above, each made from the type of its argument.
fn call<T>(fd: impl AsFd, op: Opcode, argument: &mut T) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `op` carries the size of `T`, a plain structure of the kernel's header in which every bit
    // pattern is a value; it is borrowed for the length of the call, and the kernel keeps no pointer to it.
    let result = unsafe { libc::ioctl(fd, op as _, std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<VolArgs>(), 4096);
        assert_eq!(size_of::<VolArgsV2>(), 4096);
        assert_eq!(size_of::<FsInfo>(), 1024);
        assert_eq!(size_of::<InoLookup>(), 4096);
        assert_eq!(size_of::<RootRefs>(), 4096);
        assert_eq!(size_of::<QgroupLimit>(), 48);
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let long = std::ffi::CString::new("x".repeat(V2_NAME_BYTES)).unwrap();
        assert!(filled::<V2_NAME_BYTES>(&long).is_err());
        assert!(filled::<V1_NAME_BYTES>(&long).is_ok());
    }
}
