//! Looking at directories past the caches of a network filesystem.
//!
//! An NFS client believes what it has seen of a directory, absences included, for up to a minute
//! (`acdirmax` of nfs(5)). Every name below a directory is looked up again once the directory's own
//! attributes were fetched from the server and differ; so that is done before a decision rests on a name
//! (`AT_STATX_FORCE_SYNC` of statx(2)). On a local filesystem it is one cheap call. A directory that is opened is
//! asked about by that alone (close-to-open consistency of nfs(5); mounts with `nocto` are refused).

use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    io::Errno,
};
use std::{fs, io, path::Path};

/// What an NFS client calls a file that was removed while it was open, until it is closed (`fs/nfs/unlink.c`
/// of the kernel): it is gone for everybody but who has it open.
const SILLY_PREFIX: &str = ".nfs";

/// As [`fs::read_dir`], of what is in the directory now.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn read_dir(directory: &Path) -> io::Result<fs::ReadDir> {
    match fs::read_dir(directory) {
        // Absences are remembered.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refresh(directory)?;
            fs::read_dir(directory)
        }
        opened => opened,
    }
}

/// As [`fs::read`], of the file that has the name now.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    refresh(parent(path))?;
    fs::read(path)
}

/// As [`fs::symlink_metadata`], of what has the name now.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn symlink_metadata(path: &Path) -> io::Result<fs::Metadata> {
    refresh(parent(path))?;
    fs::symlink_metadata(path)
}

/// Has every name below `directory` looked up again if the directory has changed. A directory that is not
/// there is not an error: it may just not be known yet, so the one above it is looked at as well.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn refresh(directory: &Path) -> io::Result<()> {
    match fetch(directory) {
        Err(Errno::NOENT) => {}
        fetched => return Ok(fetched?),
    }
    match fetch(parent(directory)).and_then(|()| fetch(directory)) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        fetched => Ok(fetched?),
    }
}

/// Whether `name` is that of a file that is removed already, and open somewhere.
pub(super) fn is_removed(name: &str) -> bool {
    name.starts_with(SILLY_PREFIX)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn fetch(path: &Path) -> rustix::io::Result<()> {
    statx(CWD, path, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_found_and_what_is_there_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a/b");
        assert_eq!(read_dir(&at).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(symlink_metadata(&at).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(&at).unwrap();
        assert_eq!(read_dir(&at).unwrap().count(), 0);
        assert!(symlink_metadata(&at).unwrap().is_dir());
        fs::write(at.join("c"), b"x").unwrap();
        assert_eq!(read(&at.join("c")).unwrap(), b"x");
        assert_eq!(read(&at.join("c/d")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
