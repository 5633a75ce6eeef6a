//! One at a time changes a volume: the exclusion of its `exclusion` file by flock(2).
//!
//! flock belongs to the open file, so it also holds between two handles of one process, and ends with
//! the process. It orders our own work; what is true on storage rests on numbered records alone. For authors
//! of stores.

use super::fresh;
use crate::{
    error::{Error, ErrorKind, Result},
    linux::cause::cause,
    progress::Meter,
    wait::until_found,
};
use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, StatxFlags, flock, makedev, open, statx},
    io::Errno,
};
use std::{fs::File, os::unix::fs::MetadataExt, path::Path};

/// An exclusion that is held until this is dropped.
#[derive(Debug)]
pub struct Exclusion {
    file: File,
}

/// How an exclusion is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// By one.
    Alone,
    /// By any number that share.
    Shared,
}

impl Exclusion {
    /// Takes the exclusion at `path`, waiting for others until `meter` is stopped.
    ///
    /// # Errors
    /// `NotFound` if the volume is gone; `Unavailable` once stopped.
    pub fn take(path: &Path, hold: Hold, meter: &Meter) -> Result<Self> {
        until_found(meter, || Self::attempt(path, hold)).map_err(|e| match e.kind() {
            ErrorKind::Unavailable => e.context("waiting for", path.display()),
            _ => e,
        })
    }

    /// Takes the exclusion at `path` if nobody holds it.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn attempt(path: &Path, hold: Hold) -> Result<Option<Self>> {
        Self::lock(path, hold, OFlags::CREATE)
    }

    /// As [`attempt`](Self::attempt), for a file that must be there.
    ///
    /// # Errors
    /// `NotFound` if it is not.
    pub(crate) fn attempt_existing(path: &Path, hold: Hold) -> Result<Option<Self>> {
        Self::lock(path, hold, OFlags::empty())
    }

    fn lock(path: &Path, hold: Hold, create: OFlags) -> Result<Option<Self>> {
        // One that may be created is asked of the server by its name anyway, and looked at once it is held.
        if let Some(parent) = path.parent().filter(|_| create.is_empty()) {
            fresh::refresh(parent).map_err(|e| cause(e, "look at", parent.display()))?;
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | create;
        let file: File = open(path, flags, Mode::from_raw_mode(0o600))
            .map_err(|e| cause(e, "open", path.display()))?
            .into();
        let operation = match hold {
            Hold::Alone => FlockOperation::NonBlockingLockExclusive,
            Hold::Shared => FlockOperation::NonBlockingLockShared,
        };
        match flock(&file, operation) {
            Ok(()) if is_at(&file, path)? => Ok(Some(Self { file })),
            // It was removed while we waited: try the one that is there now.
            Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(e) => Err(cause(e, "flock", path.display())),
        }
    }

    /// The file that is held, for its holder to write who it is.
    pub fn file(&self) -> &File {
        &self.file
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    // Which file it is never changes: the server need not be asked, as it would be after every lock.
    let held = statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::INO);
    let held = held.map_err(|e| cause(e, "stat", path.display()))?;
    let device = makedev(held.stx_dev_major, held.stx_dev_minor);
    match fresh::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (device, held.stx_ino)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Error::not_found("removed meanwhile")),
        Err(e) => Err(cause(e, "stat", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_alone_and_many_share() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let alone = Exclusion::attempt(&path, Hold::Alone).unwrap().unwrap();
        assert!(Exclusion::attempt(&path, Hold::Shared).unwrap().is_none());
        drop(alone);
        let _one = Exclusion::attempt(&path, Hold::Shared).unwrap().unwrap();
        let _two = Exclusion::attempt(&path, Hold::Shared).unwrap().unwrap();
        assert!(Exclusion::attempt(&path, Hold::Alone).unwrap().is_none());
    }

    #[test]
    fn a_stopped_waiter_gives_up_and_leaves_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let _held = Exclusion::attempt(&path, Hold::Alone).unwrap().unwrap();
        let meter = Meter::default();
        meter.stop();
        let error = Exclusion::take(&path, Hold::Alone, &meter).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
