//! Extended attributes of an entry, symbolic links included.

use crate::tree::{entry::Xattr, stat::Handle};
use bytes::Bytes;
use rustix::{
    fs::{
        XattrFlags, fgetxattr, flistxattr, flistxattr_query, fremovexattr, fsetxattr, lgetxattr, llistxattr,
        lremovexattr, lsetxattr,
    },
    io::Errno,
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The most that the kernel lists or returns (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`, limits.h).
pub(crate) const VALUE_MAX_BYTES: usize = 65536;

/// Room for the names or the value that nearly every file has; more is asked for again.
const USUAL_BYTES: usize = 1024;

/// Every attribute, sorted by name. One system call where there are none.
pub(crate) fn read(handle: Handle<'_>) -> Result<Vec<Xattr>, Errno> {
    let mut found = Vec::new();
    for name in names(handle)? {
        match filled(|buffer| get(handle, &name, buffer)) {
            Ok(value) => found.push(Xattr { name, value: Bytes::from(value) }),
            // It was removed between the two calls, or this user may list but not read it (trusted.*).
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether an open file or directory has no attribute.
pub(crate) fn has_none(file: BorrowedFd<'_>) -> bool {
    matches!(flistxattr_query(file), Ok(0) | Err(Errno::OPNOTSUPP))
}

/// The names of every attribute; none on a filesystem that has no attributes.
pub(crate) fn names(handle: Handle<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let list = match filled(|buffer| list(handle, buffer)) {
        Ok(list) => list,
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let names = list.split(|b| *b == 0).filter(|name| !name.is_empty() && !is_shadow(name));
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// XFS lists its own form of an ACL beside `system.posix_acl_*` (fs/xfs/xfs_acl.h): one fact, said twice.
fn is_shadow(name: &[u8]) -> bool {
    matches!(name, b"trusted.SGI_ACL_FILE" | b"trusted.SGI_ACL_DEFAULT")
}

/// Sets one attribute, whether it is there or not.
pub(crate) fn set(handle: Handle<'_>, xattr: &Xattr) -> Result<(), Errno> {
    let (name, flags) = (xattr.name.as_slice(), XattrFlags::empty());
    match handle {
        Handle::Open(fd) => fsetxattr(fd, name, &xattr.value, flags),
        Handle::Name { .. } => lsetxattr(magic(handle), name, &xattr.value, flags),
    }
}

/// Removes one attribute.
pub(crate) fn remove(handle: Handle<'_>, name: &[u8]) -> Result<(), Errno> {
    match handle {
        Handle::Open(fd) => fremovexattr(fd, name),
        Handle::Name { .. } => lremovexattr(magic(handle), name),
    }
}

/// Whether an attribute is somebody's data; the rest (labels, `system.nfs4_acl`, filesystem properties)
/// is made up by the filesystem or set by policy and cannot or must not be removed.
pub(crate) fn is_removable(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted.", b"system.posix_acl_", b"security.capability"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn list(handle: Handle<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    match handle {
        Handle::Open(fd) => flistxattr(fd, buffer),
        Handle::Name { .. } => llistxattr(magic(handle), buffer),
    }
}

fn get(handle: Handle<'_>, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
    match handle {
        Handle::Open(fd) => fgetxattr(fd, name, buffer),
        Handle::Name { .. } => lgetxattr(magic(handle), name, buffer),
    }
}

/// Calls with a small buffer, and with the largest one if that was too small.
fn filled(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; USUAL_BYTES];
    match call(&mut small) {
        Ok(length) => return Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {}
        Err(error) => return Err(error),
    }
    let mut large = vec![0; VALUE_MAX_BYTES];
    let length = call(&mut large)?;
    large.truncate(length);
    Ok(large)
}

/// The calls by name resolve a path: the directory's magic link (proc_pid_fd(5)), then one component that
/// the `l` variants do not follow.
fn magic(handle: Handle<'_>) -> Vec<u8> {
    match handle {
        Handle::Open(fd) => format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(),
        Handle::Name { dir, name } => {
            let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.to_bytes());
            path
        }
    }
}
