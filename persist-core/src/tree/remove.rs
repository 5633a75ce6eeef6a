//! Removing a tree, in parallel, without ever leaving it.

use super::{
    beneath::{Mounts, Root},
    crew::{Crew, Means, Threads},
    entry::TreePath,
    listing::Batch,
    metadata::{clear_flags, open_up},
    node::{Descent, Node, Side},
    stat::{Handle, Kind, Stat},
};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::cause::beneath,
    progress::Meter,
};
use rustix::{
    fs::{AtFlags, Mode, OFlags, unlinkat},
    io::Errno,
};
use std::{
    ffi::CStr,
    ops::Range,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// How a tree is removed.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RemoveOptions {
    /// On how many threads.
    pub threads: Threads,
}

/// What a removal has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoveReport {
    /// Names that this call removed.
    pub entries: u64,
}

/// Removes the entry at `path` below `root` and, if it is a directory, everything in it; the root itself
/// is emptied and stays.
///
/// # Promise
/// What is not there, or goes away meanwhile, is removed already. Nothing outside of the root is touched:
/// links are removed, never followed. Directories that their owner closed are opened, and the flags
/// immutable and append are taken off, where this process may. Memory and descriptors are bounded whatever
/// the size and depth. A repeat after an error goes on. Directories of btrfs subvolumes are removed as
/// directories, which needs a kernel that allows it (4.18); a read-only one is an error.
///
/// # Errors
/// [`InUse`](ErrorKind::InUse) at a mount point, with nothing behind it touched; as
/// [`cause`](crate::linux::cause::cause) maps the rest; once `meter` is stopped, its error.
pub fn remove(root: &Root, path: &TreePath, options: &RemoveOptions, meter: &Meter) -> Result<RemoveReport> {
    // Behind a mount point is somebody else's tree, whatever the root allows.
    let root = root.clone().with_mounts(Mounts::Stay);
    if path.is_root() {
        return empty(&root, options, meter);
    }
    let (parent, name) = match root.parent_of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RemoveReport::default()),
        opened => opened?,
    };
    let failed = |error| beneath(error, "remove", root.place(path));
    let mut report = RemoveReport::default();
    match unlink(parent.as_fd(), &name, None, Holds::Foreign).map_err(failed)? {
        Unlinked::Gone => return Ok(report),
        Unlinked::Removed => report.entries = 1,
        Unlinked::IsDirectory => {
            let within = match open_directory(&root, parent.as_fd(), &name) {
                Ok(fd) => Root::from_fd(fd, &root.shown().join(path.as_path()))?,
                Err(Errno::NOENT) => return Ok(report),
                Err(Errno::XDEV) => return Err(in_use(&root.place(path))),
                Err(error) => return Err(failed(error)),
            };
            report = empty(&within, options, meter)?;
            report.entries += remove_directory(parent.as_fd(), &name, Holds::Foreign).map_err(failed)?;
        }
    }
    Ok(report)
}

/// Removes the tree `path`. As [`remove`], with the directory that holds `path` as the root.
///
/// # Errors
/// As [`remove`]; [`Invalid`](ErrorKind::Invalid) if `path` has no name, such as `/` or `a/..`.
pub fn remove_tree(path: &Path, options: &RemoveOptions, meter: &Meter) -> Result<RemoveReport> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(
            Error::invalid("path", "it names no entry of a directory").during("remove", path.display())
        );
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match Root::open(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(RemoveReport::default()),
        root => remove(&root?, &TreePath::new(name.as_encoded_bytes())?, options, meter),
    }
}

fn empty(root: &Root, options: &RemoveOptions, meter: &Meter) -> Result<RemoveReport> {
    let means = options.threads.means();
    let remover = Remover {
        descent: Descent::new(root.clone(), None, means.kept_descriptors),
        entries: AtomicU64::new(0),
        waiting: AtomicUsize::new(0),
        means,
        meter,
    };
    let jobs = vec![Job::List(Node::root(Own::default()))];
    Crew::run(means.threads, jobs, meter, || (), |job, (), crew| remover.work(job, crew))?;
    Ok(RemoveReport { entries: remover.entries.into_inner() })
}

/// How often a directory is listed anew because something appeared in it after its listing.
const LISTINGS_MAX: usize = 8;

#[derive(Debug, Default)]
struct Own {
    listings: AtomicUsize,
}

type Dir = Arc<Node<Own>>;

enum Job {
    List(Dir),
    /// A directory whose listing goes on after what was found in it so far.
    Resume(Dir, Arc<OwnedFd>),
    /// A part of a batch of names.
    Part(Dir, Arc<OwnedFd>, Arc<Batch>, Range<usize>),
}

struct Remover<'a> {
    descent: Descent<Own>,
    entries: AtomicU64,
    /// Listings that wait with an open descriptor.
    waiting: AtomicUsize,
    means: Means,
    meter: &'a Meter,
}

impl Remover<'_> {
    fn work(&self, job: Job, crew: &Crew<'_, Job>) -> Result<()> {
        match job {
            Job::List(dir) => match self.open(&dir) {
                Ok(fd) => self.list(&dir, fd, crew),
                Err(Errno::NOENT) => self.end(&dir, crew),
                Err(Errno::XDEV) => Err(in_use(&self.place(&dir, None))),
                Err(error) => Err(self.failed(error, &dir, None)),
            },
            Job::Resume(dir, fd) => {
                self.waiting.fetch_sub(1, Relaxed);
                self.list(&dir, fd, crew)
            }
            Job::Part(dir, fd, batch, range) => {
                let found = self.look(&dir, &fd, &batch, range, crew)?;
                crew.push(found.into_iter().map(Job::List));
                self.end(&dir, crew)
            }
        }
    }

    /// Opens a directory for a new listing; opens it up first if its owner closed it.
    fn open(&self, dir: &Dir) -> Result<Arc<OwnedFd>, Errno> {
        let root = self.descent.root(Side::Source)?;
        let fd = match dir.parent() {
            Some(parent) => {
                let above = self.descent.open(parent, Side::Source)?;
                open_directory(root, above.as_fd(), dir.name())?
            }
            None => open_directory(root, root.as_fd(), c".")?,
        };
        let fd = Arc::new(fd);
        self.descent.keep(dir, Side::Source, Arc::clone(&fd));
        Ok(fd)
    }

    fn list(&self, dir: &Dir, fd: Arc<OwnedFd>, crew: &Crew<'_, Job>) -> Result<()> {
        loop {
            let batch = match Batch::read(fd.as_fd()) {
                Ok(batch) if batch.is_empty() => return self.end(dir, crew),
                Ok(batch) => Arc::new(batch),
                Err(Errno::NOENT) => return self.end(dir, crew),
                Err(error) => return Err(self.failed(error, dir, None)),
            };
            let found = self.look(dir, &fd, &batch, 0..batch.len(), crew)?;
            if found.is_empty() {
                continue;
            }
            // Go down before going on, so that waiting names stay few; without descriptors to wait with,
            // go on and let the names wait instead.
            if self.waiting.fetch_add(1, Relaxed) < self.means.kept_descriptors {
                let resume = Job::Resume(Arc::clone(dir), fd);
                crew.push(std::iter::once(resume).chain(found.into_iter().map(Job::List)));
                return Ok(());
            }
            self.waiting.fetch_sub(1, Relaxed);
            crew.push(found.into_iter().map(Job::List));
        }
    }

    /// Removes a range of a batch; the directories in it that are still to be emptied.
    fn look(
        &self,
        dir: &Dir,
        fd: &Arc<OwnedFd>,
        batch: &Arc<Batch>,
        mut range: Range<usize>,
        crew: &Crew<'_, Job>,
    ) -> Result<Vec<Dir>> {
        let mut found = Vec::new();
        while let Some(index) = range.next() {
            if let Some(part) = crew.share(&mut range) {
                dir.begin();
                crew.push([Job::Part(Arc::clone(dir), Arc::clone(fd), Arc::clone(batch), part)]);
            }
            let Some((name, kind)) = batch.get(index) else { continue };
            self.meter.check()?;
            match unlink(fd.as_fd(), name, kind, Holds::Tree) {
                Ok(Unlinked::Removed) => self.count(1),
                Ok(Unlinked::Gone) => {}
                Ok(Unlinked::IsDirectory) => found.push(Node::child(dir, name, Own::default())),
                Err(error) => return Err(self.failed(error, dir, Some(name))),
            }
        }
        Ok(found)
    }

    /// One thing in `dir` has ended: removes it, and those above, if that was the last.
    fn end(&self, dir: &Dir, crew: &Crew<'_, Job>) -> Result<()> {
        let mut dir = Arc::clone(dir);
        while dir.end() {
            let Some(parent) = dir.parent().map(Arc::clone) else { break };
            let above = match self.descent.open(&parent, Side::Source) {
                Ok(above) => above,
                Err(Errno::NOENT) => {
                    dir = parent;
                    continue;
                }
                Err(error) => return Err(self.failed(error, &parent, None)),
            };
            match remove_directory(above.as_fd(), dir.name(), Holds::Tree) {
                Ok(removed) => self.count(removed),
                Err(Errno::NOTEMPTY | Errno::EXIST)
                    if dir.own.listings.fetch_add(1, Relaxed) < LISTINGS_MAX =>
                {
                    dir.begin();
                    crew.push([Job::List(dir)]);
                    return Ok(());
                }
                Err(Errno::BUSY) => return Err(in_use(&self.place(&dir, None))),
                Err(error) => return Err(self.failed(error, &dir, None)),
            }
            dir = parent;
        }
        Ok(())
    }

    fn count(&self, removed: u64) {
        self.entries.fetch_add(removed, Relaxed);
        self.meter.add(removed, 0);
    }

    fn place(&self, dir: &Node<Own>, name: Option<&CStr>) -> String {
        let path = dir.path(name);
        self.descent.root(Side::Source).map_or_else(|_| path.to_string(), |root| root.place(&path))
    }

    fn failed(&self, error: Errno, dir: &Node<Own>, name: Option<&CStr>) -> Error {
        beneath(error, "remove", self.place(dir, name))
    }
}

enum Unlinked {
    Removed,
    Gone,
    IsDirectory,
}

/// Which directory an entry is removed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// One of the tree that is removed: it may be changed for that.
    Tree,
    /// The one that holds the tree: it is left as it is.
    Foreign,
}

/// Unlinks what is no directory; takes off what forbids it, once.
fn unlink(dir: BorrowedFd<'_>, name: &CStr, kind: Option<Kind>, holds: Holds) -> Result<Unlinked, Errno> {
    if kind == Some(Kind::Directory) {
        return Ok(Unlinked::IsDirectory);
    }
    match permitted(dir, name, AtFlags::empty(), holds) {
        Ok(()) => Ok(Unlinked::Removed),
        Err(Errno::NOENT) => Ok(Unlinked::Gone),
        Err(Errno::ISDIR) => Ok(Unlinked::IsDirectory),
        Err(error) => Err(error),
    }
}

/// Removes an empty directory; how many names that were.
fn remove_directory(dir: BorrowedFd<'_>, name: &CStr, holds: Holds) -> Result<u64, Errno> {
    match permitted(dir, name, AtFlags::REMOVEDIR, holds) {
        Ok(()) => Ok(1),
        Err(Errno::NOENT) => Ok(0),
        Err(error) => Err(error),
    }
}

fn permitted(dir: BorrowedFd<'_>, name: &CStr, flags: AtFlags, holds: Holds) -> Result<(), Errno> {
    match unlinkat(dir, name, flags) {
        Err(Errno::PERM | Errno::ACCESS) if permit(dir, name, holds) => unlinkat(dir, name, flags),
        result => result,
    }
}

/// Takes immutable and append off an entry, and off the directory that holds it, and lets the owner write
/// there; whether a second try is worth it.
fn permit(dir: BorrowedFd<'_>, name: &CStr, holds: Holds) -> bool {
    let entry = Handle::Name { dir, name };
    // Only these have flags, and opening a device to see would do something.
    let kind =
        Stat::of(entry).ok().map(|stat| stat.kind).filter(|k| matches!(k, Kind::File | Kind::Directory));
    let cleared = kind.is_some_and(|kind| clear_flags(entry, kind).is_ok());
    let holder = Handle::Open(dir);
    let opened =
        holds == Holds::Tree && (clear_flags(holder, Kind::Directory).is_ok() | open_up(holder).is_ok());
    cleared || opened
}

fn open_directory(root: &Root, dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match root.open_from(dir, name.to_bytes(), flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(Handle::Name { dir, name })?;
            root.open_from(dir, name.to_bytes(), flags, Mode::empty())
        }
        opened => opened,
    }
}

fn in_use(place: &str) -> Error {
    Error::in_use("a filesystem is mounted there", Vec::new())
        .during("remove", place)
        .advise("unmount it first")
}

#[cfg(test)]
mod tests;
