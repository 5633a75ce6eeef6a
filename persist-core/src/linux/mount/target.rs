//! Where a mount may be put: a target is opened once, and only what was opened is judged and used.

use super::{Origin, mount_id};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::{
        cause::cause,
        mountinfo::{Mount, MountTable},
    },
};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags},
    io::Errno,
};
use std::{
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

/// A directory that was opened as a target.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) handle: OwnedFd,
    /// Its path without links.
    pub(super) at: PathBuf,
}

impl Target {
    /// Opens a target. Links on the way to it are followed, itself is none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let refused = |what: &'static str| Error::invalid("target", what);
        if !path.is_absolute() {
            return Err(refused("a target is an absolute path"));
        }
        if path.file_name().is_none() {
            return Err(refused("a target ends in a name; the root directory is no target"));
        }
        let handle = opened(path).map_err(|error| cause(error, "open", path.display()))?;
        let stat = rustix::fs::fstat(&handle).map_err(|error| cause(error, "open", path.display()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::Symlink => {
                let refusal = Error::new(ErrorKind::Denied, "the target is a symbolic link");
                return Err(refusal.advise("give the path of the directory itself"));
            }
            _ => return Err(refused("a target is a directory")),
        }
        let at = path_of(&handle).map_err(|error| cause(error, "open", path.display()))?;
        if at == Path::new("/") {
            return Err(refused("the root directory is no target"));
        }
        Ok(Self { handle, at })
    }

    /// The mount whose root the target is, if it is one.
    pub(super) fn mounted<'t>(&self, table: &'t MountTable) -> Option<&'t Mount> {
        let stat = rustix::fs::statx(&self.handle, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
        let is_root = stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        is_root.then(|| table.by_id(stat.stx_mnt_id)).flatten()
    }

    /// Refuses a target that hides something, or that lies inside the tree or the store.
    pub(super) fn check(&self, table: &MountTable, origin: &Origin, store: Option<&Path>) -> Result<()> {
        let named = |error| cause(error, "open", self.at.display());
        let mount = table.by_id(mount_id(&self.handle, self.at.display())?);
        let within = mount.and_then(|mount| Some((&mount.device, mount.within(&self.at)?)));
        let is_inside = |of: &Origin| {
            let held = within.as_ref();
            held.is_some_and(|(device, path)| **device == of.mount.device && path.starts_with(&of.within))
        };
        let store = store.map(|store| super::origin(table, store)).transpose()?;
        if is_inside(origin) || store.as_ref().is_some_and(is_inside) {
            let refusal =
                Error::new(ErrorKind::Denied, "the target is inside the store or one of its volumes");
            return Err(refusal.advise("choose a directory outside the store"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = rustix::fs::openat(&self.handle, c".", flags, Mode::empty()).map_err(named)?;
        for entry in Dir::read_from(&listing).map_err(named)? {
            let entry = entry.map_err(named)?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                let refusal = Error::conflict("the target is not empty", Vec::new());
                return Err(refusal.advise("a mount would hide what is in it; choose an empty directory"));
            }
        }
        Ok(())
    }
}

/// The path without links at which a mount on `target` would be; `None` where its parent is gone. The target
/// itself is not opened: what is mounted there may show a directory that was removed.
pub(super) fn place_of(target: &Path) -> Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Ok(None) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty()).and_then(|handle| path_of(&handle));
    match parent {
        Ok(parent) => Ok(Some(parent.join(name))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(cause(error, "look at", target.display())),
    }
}

/// The path of an opened directory, without links.
pub(super) fn path_of(handle: &OwnedFd) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/thread-self/fd/{}", handle.as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
    // A directory that was removed or moved out of sight is shown with a path that is not its own.
    let (mine, seen) = (rustix::fs::fstat(handle)?, rustix::fs::lstat(&path)?);
    if (mine.st_dev, mine.st_ino) == (seen.st_dev, seen.st_ino) { Ok(path) } else { Err(Errno::NOENT) }
}

/// Opens without following a link at the end and without magic links (openat2(2)).
fn opened(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        // Kernels and sandboxes without openat2; who may plant a magic link may do worse.
        Err(Errno::NOSYS) => rustix::fs::openat(CWD, path, flags, Mode::empty()),
        result => result,
    }
}
