//! The system calls that `rustix` does not offer: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "raw system calls; every block says why it is sound")]

pub(super) mod btrfs;
pub(super) mod mount;

use std::{
    io,
    os::fd::{IntoRawFd, OwnedFd},
};

// --- descriptors ---

/// Closes `fd` and says whether that worked: a network filesystem reports lost writes here (close(2)).
///
/// # Errors
/// What close(2) reports, `EINTR` excepted: Linux has released the descriptor then.
pub(crate) fn close(fd: OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor was owned and is given up here, so nothing closes it twice.
    let result = unsafe { libc::close(fd.into_raw_fd()) };
    match io::Error::last_os_error() {
        _ if result == 0 => Ok(()),
        error if error.raw_os_error() == Some(libc::EINTR) => Ok(()),
        error => Err(error),
    }
}
