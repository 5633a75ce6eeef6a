//! The one system call of these tests that no safe wrapper has.
#![expect(unsafe_code, reason = "the shutdown ioctl of ext4 and XFS has no safe wrapper")]

use rustix::ioctl::{Setter, ioctl, opcode};
use std::path::Path;

/// Stops the filesystem at once, its journal not flushed: as a power cut does.
///
/// `FS_IOC_SHUTDOWN` is `_IOR('X', 125, __u32)` (include/uapi/linux/fs.h of Linux); 2 is
/// `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`.
pub fn shut_down(mount: &Path) {
    const FS_IOC_SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    const NO_LOG_FLUSH: u32 = 2;
    let root = std::fs::File::open(mount).unwrap();
    // SAFETY: the ioctl reads one u32 through the pointer that `Setter` passes, and nothing else.
    unsafe { ioctl(&root, Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }.unwrap();
}
