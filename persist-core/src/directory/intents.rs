//! Volumes that are built or removed, and whether who does it lives.
//!
//! An intent is a file named after its volume, held by flock(2) for as long as the work goes on. It keeps
//! others from taking for garbage what no name names yet. When its owner dies the file stays and nobody
//! holds it: the volume is then judged by the records alone, and recovery may remove it. Trees within a
//! volume have the like, see `trees`.
//!
//! Only moving a directory into a volume has to be replayed, because the source is gone by then: that
//! intent says what it does, durably, before the first step ([`Work::Move`]). All other work is undone
//! by removing what no record names.

use super::{
    durable::Durable,
    exclusion::{Exclusion, Hold},
    fresh, records,
    stored::StoredVolume,
    volumes::Attributes,
};
use crate::{
    error::{ErrorKind, Result},
    linux::cause::cause,
    progress::Meter,
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// An intent of ours. Dropped without [`end`](Self::end), its file stays for recovery.
#[derive(Debug)]
pub(crate) struct Intent {
    held: Exclusion,
    path: PathBuf,
}

/// What an intent is about, beside what its name says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// `from`, whose root had these attributes, becomes the tree of `volume`, by one rename.
    Move { from: PathBuf, root: Attributes, volume: Box<StoredVolume> },
}

impl Intent {
    /// Begins the work that `path` names, waiting for who is at it until `meter` is stopped.
    ///
    /// # Errors
    /// As the filesystem reports them; `Unavailable` once stopped.
    pub(crate) fn begin(path: &Path, meter: &Meter) -> Result<Self> {
        loop {
            match Exclusion::take(path, Hold::Alone, meter) {
                Ok(held) => return Ok(Self { held, path: path.to_owned() }),
                // It was ended by another between our open and our flock: ours is the next file.
                Err(e) if e.kind() == ErrorKind::NotFound && has_parent(path) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the work over that a dead owner left at `path`; `None` if its owner lives, or if it has ended.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn take_over(path: &Path) -> Result<Option<Self>> {
        match Exclusion::attempt_existing(path, Hold::Alone) {
            Ok(held) => Ok(held.map(|held| Self { held, path: path.to_owned() })),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Says durably what is going to be done, before it is.
    ///
    /// # Errors
    /// As the filesystem reports them; nothing must be done then.
    pub(crate) fn declare(&self, durable: &Durable, work: &Work) -> Result<()> {
        let mut file = self.held.file();
        file.write_all(&records::encode(work)?).map_err(|e| cause(e, "write", self.path.display()))?;
        durable.file(file, &self.path)?;
        durable.directory(self.path.parent().unwrap_or(Path::new("/")))
    }

    /// What was declared; `None` if nothing was, or not to its end: then nothing was begun.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn declared(&self) -> Result<Option<Work>> {
        declared_at(&self.path)
    }

    /// Ends it: the work is done, or undone.
    ///
    /// # Errors
    /// As the filesystem reports them; the file stays, and recovery removes it.
    pub(crate) fn end(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", self.path.display())),
            _ => Ok(()),
        }
    }
}

/// What the intent at `path` declares, whoever holds it; `None` also once it has ended.
///
/// # Errors
/// As the filesystem reports them.
pub(crate) fn declared_at(path: &Path) -> Result<Option<Work>> {
    match fresh::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(cause(e, "read", path.display())),
    }
}

/// Whether somebody alive is at the work that `path` names. Once this said no, ask the records (in this
/// order): who ended meanwhile has published before.
///
/// # Errors
/// As the filesystem reports them.
pub(crate) fn is_live(path: &Path) -> Result<bool> {
    match Exclusion::attempt_existing(path, Hold::Alone) {
        Ok(held) => Ok(held.is_none()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        // It cannot be told here (a filesystem that is mounted read-only): then it may be.
        Err(e) if e.kind() == ErrorKind::Denied => Ok(true),
        Err(e) => Err(e),
    }
}

fn has_parent(path: &Path) -> bool {
    path.parent().is_some_and(Path::exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_owner_left_is_taken_over_once_and_a_live_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let owner = Intent::begin(&path, &Meter::default()).unwrap();
        assert!(Intent::take_over(&path).unwrap().is_none() && is_live(&path).unwrap());
        drop(owner);
        assert!(path.exists(), "an intent that was not ended stays");
        let heir = Intent::take_over(&path).unwrap().unwrap();
        assert!(Intent::take_over(&path).unwrap().is_none());
        assert_eq!(heir.declared().unwrap(), None);
        heir.end().unwrap();
        assert!(Intent::take_over(&path).unwrap().is_none() && !is_live(&path).unwrap());
    }
}
