//! What Linux alone has (feature `tree`): errors of the kernel in our words, what is under a path,
//! subvolumes, mounts, processes, and raw system calls.

pub mod boot;
pub mod btrfs;
pub mod cause;
pub mod filesystem;
pub mod mount;
pub mod mountinfo;
pub mod process;
pub(crate) mod raw;

/// Whether a cut or a mount may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// It may not, by anybody.
    Refused,
    /// It may.
    Allowed,
}
