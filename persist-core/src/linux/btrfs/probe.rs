//! Whether subvolumes can be made, cut, limited and removed here: by doing it.

use super::{Quota, create_subvolume, destroy_subvolume, limit_bytes, quota, snapshot};
use crate::{
    error::{ErrorKind, Result},
    linux::{Writes, cause::cause, filesystem::Abilities},
};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{fs::File, os::fd::OwnedFd, path::Path};
use tempfile::TempDir;

/// What the name of everything that a probe makes begins with: in a store, names that begin like this are drafts, which
/// hide nothing and which nobody misses.
pub(in crate::linux) const PREFIX: &str = ".draft-probe-";

/// Tries subvolumes in the directory `at`, which is on btrfs. The probe's own directory is locked while it
/// works, so that the next probe can tell what a killed one left behind.
///
/// # Errors
/// As the filesystem reports them, where not even a directory can be made.
pub fn probe(at: &Path) -> Result<Abilities> {
    remove_leftovers(at);
    let named = |error: std::io::Error| cause(error, "probe", at.display());
    let place = tempfile::Builder::new().prefix(PREFIX).tempdir_in(at).map_err(named)?;
    let lock = locked(place.path());
    let mut seen = Abilities::empty();
    seen.set(Abilities::SUBVOLUMES, lock.is_some() && cuts(&place).is_ok());
    if seen.contains(Abilities::SUBVOLUMES) && quota(at)? == Quota::Enabled {
        seen.set(Abilities::SUBVOLUME_LIMITS, limits(&place).is_ok_and(|held| held));
    }
    clear(place.path());
    Ok(seen)
}

fn cuts(place: &TempDir) -> Result<()> {
    let (tree, cut) = (place.path().join("tree"), place.path().join("cut"));
    create_subvolume(&tree)?;
    std::fs::write(tree.join("file"), "content")
        .map_err(|error| cause(error, "probe", place.path().display()))?;
    snapshot(&tree, &cut, Writes::Refused)
}

/// Whether a limit stops a writer. The kernel counts at each write, and refuses at the latest at the flush.
fn limits(place: &TempDir) -> Result<bool> {
    const LIMIT: u64 = 1 << 20;
    let tree = place.path().join("limited");
    create_subvolume(&tree)?;
    limit_bytes(&tree, Some(LIMIT))?;
    let too_much = vec![0x70; 2 << 20];
    let written = File::create(tree.join("file")).and_then(|file| {
        std::io::Write::write_all(&mut &file, &too_much)?;
        file.sync_all()
    });
    let refused = written.map_err(|error| cause(error, "probe", tree.display()).kind());
    Ok(refused == Err(ErrorKind::Exhausted))
}

/// Removes the probe directories that nobody holds any more.
fn remove_leftovers(at: &Path) {
    for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if ours && let Some(_lock) = locked(&entry.path()) {
            clear(&entry.path());
            // A leftover that cannot be removed hurts nobody, and the next probe tries again.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// Removes what a probe makes: subvolumes with one file at most.
fn clear(place: &Path) {
    for name in ["cut", "tree", "limited"] {
        let at = place.join(name);
        if destroy_subvolume(&at).is_err() && super::set_writes(&at, Writes::Allowed).is_ok() {
            // Without privilege an empty subvolume is removed as a directory; failures leave garbage only.
            let _ = std::fs::remove_file(at.join("file"));
            let _ = std::fs::remove_dir(&at);
        }
    }
}

fn locked(at: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(at, flags, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(fd)
}
