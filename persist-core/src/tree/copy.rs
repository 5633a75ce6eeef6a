//! Copying a directory tree to a new directory, every attribute kept or reported.

mod content;
mod copier;
mod entry;
mod links;

use super::{
    beneath::Root,
    crew::Threads,
    entry::TreePath,
    losses::{Losses, OnLoss},
    source::TreeTotals,
    trust::Trust,
    walk::Unreadable,
};
use crate::{error::Result, linux::cause::cause, progress::Meter};
use rustix::fs::{CWD, Mode, mkdirat};
use std::path::Path;

/// How a tree is copied.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Whether set-id bits, devices, `security.*` and `trusted.*` are kept.
    pub trust: Trust,
    /// Whether files share their bytes with their origin.
    pub clone: CloneMode,
    /// What happens when something cannot be kept.
    pub on_loss: OnLoss,
    /// What happens at an entry that this user may not read.
    pub unreadable: Unreadable,
    /// On how many threads.
    pub threads: Threads,
}

/// Whether copied files share their bytes with their origin until one is changed (`FICLONE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CloneMode {
    /// Where the filesystem can; else the bytes are copied, by the server if it is one.
    #[default]
    Auto,
    /// All of them, or the call ends with [`Unsupported`](crate::ErrorKind::Unsupported).
    Require,
    /// None: the copy has blocks of its own, so that a fault of the device cannot hit both.
    Never,
}

/// What a copy has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyReport {
    /// Entries, the root and every name of a file included; bytes of content, a file with several names once.
    pub totals: TreeTotals,
    /// Files that share their bytes with their origin.
    pub cloned: u64,
    /// Files whose bytes were copied, empty ones included.
    pub copied: u64,
    /// Further names of files.
    pub linked: u64,
    /// What could not be kept.
    pub losses: Losses,
}

impl CopyOptions {
    /// Sets [`trust`](Self::trust).
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Sets [`clone`](Self::clone).
    #[must_use]
    pub fn with_clone(mut self, clone: CloneMode) -> Self {
        self.clone = clone;
        self
    }

    /// Sets [`on_loss`](Self::on_loss).
    #[must_use]
    pub fn with_on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// Sets [`unreadable`](Self::unreadable).
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Unreadable) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Sets [`threads`](Self::threads).
    #[must_use]
    pub fn with_threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }
}

/// Copies what is in `source`, and the metadata of `source` itself, into `target`, an empty directory.
///
/// # Promise
/// Kept or reported: hard links (also across directories), holes, attributes and ACLs, modes, owners,
/// modification times (of directories too), symbolic links, fifos, sockets, devices, flags. A link is
/// never followed in `source`, and nothing in `target` is written but what this call made there: its root
/// is closed to others (mode 0700) until it is complete. A file that changes while it is read is read
/// again, three times at most, and then reported: its metadata is that from before the reading, so that a
/// comparison sees the difference. A store through a memory map can escape this (it moves the time of
/// modification late). A file whose bytes are preallocated arrives with holes there.
///
/// Memory is bounded by the number of files with several names; so are descriptors. Mount points in
/// `source` become empty directories and are reported, unless the root says
/// [`Mounts::Cross`](super::Mounts::Cross).
///
/// Not durable when it returns: call syncfs(2) once, on a descriptor opened before the call.
///
/// # Errors
/// [`Conflict`](crate::ErrorKind::Conflict) if `target` is not empty; else as
/// [`cause`] maps what the kernel says, errors at close included; once `meter`
/// is stopped, its error. What is in `target` then is garbage.
pub fn copy(source: &Root, target: &Root, options: &CopyOptions, meter: &Meter) -> Result<CopyReport> {
    copier::run(source, target, options, meter)
}

/// Copies the tree `from` to `to`, which does not exist. As [`copy`].
///
/// # Errors
/// As [`copy`]; [`Conflict`](crate::ErrorKind::Conflict) if `to` exists.
pub fn copy_tree(from: &Path, to: &Path, options: &CopyOptions, meter: &Meter) -> Result<CopyReport> {
    let source = Root::open(from)?;
    mkdirat(CWD, to, Mode::RWXU).map_err(|e| cause(e, "copy", to.display()))?;
    copy(&source, &Root::open(to)?, options, meter)
        .map_err(|e| e.during("copy", source.place(&TreePath::root())))
}

#[cfg(test)]
mod tests;
