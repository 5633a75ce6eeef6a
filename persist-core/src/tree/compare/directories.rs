//! Two directories of this host compared by stat(2) alone, in parallel.

use super::{Aspects, ChangeKind, TreeChange, judge};
use crate::{
    error::{Error, Result},
    linux::cause::{beneath, cause},
    progress::Meter,
    tree::{
        beneath::Root,
        crew::{Crew, Threads},
        entry::TreePath,
        names::Names,
        stat::{Handle, Inode, Kind, MountRoot, Stat},
    },
};
use rustix::io::Errno;
use std::{
    cmp::Ordering,
    collections::HashMap,
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// The differences between two directories as far as stat(2) shows them, in path order.
///
/// # Promise
/// One statx(2) an entry and side, one open and read a directory, no content read: as fast as the kernel
/// gives it on [`Threads::Auto`]. A file counts as changed if its
/// size or modification time differs, a symbolic link too. Memory grows with the differences, with the
/// files of several names, and with the largest directory, not with the tree. Follows no link, enters no
/// mount point; what vanishes meanwhile counts as absent.
///
/// Proves nothing about a file that was rewritten in place with its time set back, nor about a store
/// through mmap(2) that has not been written back: `syncfs` first.
///
/// # Cancellation
/// Blocks; stop the meter, which counts paths.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if `aspects` has any that is not in
/// [`Aspects::STAT`]; otherwise as the kernel reports.
pub fn compare_directories(
    before: &Path,
    after: &Path,
    aspects: Aspects,
    meter: &Meter,
) -> Result<Vec<TreeChange>> {
    if !Aspects::STAT.contains(aspects) {
        return Err(Error::invalid("aspects", "stat shows neither attributes nor holes")
            .advise("use `compare`, or ask for `Aspects::STAT` at most"));
    }
    let roots = Roots { before: Root::open(before)?, after: Root::open(after)?, aspects, meter };
    let mut found = roots.compare_roots()?;
    let first = Job { path: TreePath::root(), before: true, after: true };
    let threads = Threads::Auto.means().threads;
    let work = |job: Job, found: &mut Found, crew: &Crew<'_, Job>| roots.directory(&job, crew, found);
    for part in Crew::run(threads, vec![first], meter, Found::default, work)? {
        found.changes.extend(part.changes);
        found.linked.extend(part.linked);
    }
    found.judge_links(aspects);
    found.changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(found.changes)
}

struct Roots<'a> {
    before: Root,
    after: Root,
    aspects: Aspects,
    meter: &'a Meter,
}

/// A directory to look into, on the sides that have it.
struct Job {
    path: TreePath,
    before: bool,
    after: bool,
}

#[derive(Default)]
struct Found {
    changes: Vec<TreeChange>,
    linked: Vec<Linked>,
}

/// An entry of several names on at least one side: judged when all names are known.
struct Linked {
    path: TreePath,
    before: Option<Inode>,
    after: Option<Inode>,
    /// What else differs; nothing if only one side has the entry.
    differ: Option<Aspects>,
}

impl Roots<'_> {
    fn compare_roots(&self) -> Result<Found> {
        let stat = |root: &Root| {
            Stat::of(Handle::Open(root.as_fd())).map_err(|e| cause(e, "stat", root.shown().display()))
        };
        let mut found = Found::default();
        found
            .changes
            .extend(self.change(TreePath::root(), differ(&stat(&self.before)?, &stat(&self.after)?)));
        Ok(found)
    }

    fn directory(&self, job: &Job, crew: &Crew<'_, Job>, found: &mut Found) -> Result<()> {
        let before = Listing::read(&self.before, job, job.before)?;
        let after = Listing::read(&self.after, job, job.after)?;
        let (mut a, mut b) = (0, 0);
        let mut paths = 0;
        loop {
            let (left, right) = (before.names.get(a), after.names.get(b));
            let order = match (left, right) {
                (None, None) => break,
                (Some(left), Some(right)) => left.cmp(right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let (left, right) = (left.filter(|_| order.is_le()), right.filter(|_| order.is_ge()));
            (a, b) = (a + usize::from(left.is_some()), b + usize::from(right.is_some()));
            paths += 1;
            let stats = (before.stat(left, job)?, after.stat(right, job)?);
            if let Some(name) = left.or(right) {
                self.entry(job, name, stats, crew, found)?;
            }
        }
        self.meter.add(paths, 0);
        Ok(())
    }

    fn entry(
        &self,
        job: &Job,
        name: &CStr,
        (before, after): (Option<Stat>, Option<Stat>),
        crew: &Crew<'_, Job>,
        found: &mut Found,
    ) -> Result<()> {
        let path = || job.path.join(name.to_bytes());
        let enters =
            |stat: Option<Stat>| stat.is_some_and(|s| s.is_directory() && s.mount_root == MountRoot::No);
        if enters(before) || enters(after) {
            crew.push([Job { path: path()?, before: enters(before), after: enters(after) }]);
        }
        let inode = |stat: Option<Stat>| stat.filter(Stat::has_other_names).map(|s| s.inode());
        let differ = before.as_ref().zip(after.as_ref()).map(|(a, b)| differ(a, b));
        if inode(before).or(inode(after)).is_some() && self.aspects.contains(Aspects::LINKS) {
            let (before, after) = (inode(before), inode(after));
            found.linked.push(Linked { path: path()?, before, after, differ });
        } else if let Some(differ) = differ.filter(|d| d.intersects(self.aspects)) {
            found.changes.extend(self.change(path()?, differ));
        }
        let alone = match (before, after) {
            (Some(_), None) => ChangeKind::Removed,
            (None, Some(_)) => ChangeKind::Added,
            _ => return Ok(()),
        };
        found.changes.push(TreeChange { path: path()?, kind: alone });
        Ok(())
    }

    fn change(&self, path: TreePath, differ: Aspects) -> Option<TreeChange> {
        judge::kind(differ & self.aspects).map(|kind| TreeChange { path, kind })
    }
}

impl Found {
    /// Compares, for every name of a file of several, under which name the file appears first.
    fn judge_links(&mut self, aspects: Aspects) {
        self.linked.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let first = |side: fn(&Linked) -> Option<Inode>| {
            let mut first: HashMap<Inode, &TreePath> = HashMap::new();
            for (inode, linked) in self.linked.iter().filter_map(|l| Some((side(l)?, l))) {
                first.entry(inode).or_insert(&linked.path);
            }
            first
        };
        let (before, after) = (first(|l| l.before), first(|l| l.after));
        let mut changes = Vec::new();
        for linked in &self.linked {
            let Some(mut differ) = linked.differ else { continue };
            let earlier = |inode: Option<Inode>, first: &HashMap<_, &TreePath>| {
                inode.and_then(|i| first.get(&i).cloned().cloned()).filter(|path| *path != linked.path)
            };
            differ.set(Aspects::LINKS, earlier(linked.before, &before) != earlier(linked.after, &after));
            let kind = judge::kind(differ & aspects);
            changes.extend(kind.map(|kind| TreeChange { path: linked.path.clone(), kind }));
        }
        self.changes.extend(changes);
    }
}

/// One side's directory: empty where the side has none.
struct Listing<'a> {
    root: &'a Root,
    dir: Option<OwnedFd>,
    names: Names,
}

impl<'a> Listing<'a> {
    fn read(root: &'a Root, job: &Job, wanted: bool) -> Result<Self> {
        let mut listing = Self { root, dir: None, names: Names::default() };
        if wanted {
            let dir = match root.directory(&job.path) {
                Err(error) if error.kind() == crate::ErrorKind::NotFound => return Ok(listing),
                dir => dir?,
            };
            listing.names = Names::read(&dir).map_err(|e| cause(e, "list", root.place(&job.path)))?;
            listing.dir = Some(dir);
        }
        Ok(listing)
    }

    fn stat(&self, name: Option<&CStr>, job: &Job) -> Result<Option<Stat>> {
        let (Some(dir), Some(name)) = (&self.dir, name) else { return Ok(None) };
        match Stat::of(Handle::Name { dir: dir.as_fd(), name }) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(beneath(error, "stat", self.root.place(&job.path.join(name.to_bytes())?))),
        }
    }
}

fn differ(a: &Stat, b: &Stat) -> Aspects {
    let mut differ = Aspects::empty();
    let content = match (a.kind, b.kind) {
        (Kind::File, Kind::File) | (Kind::Symlink, Kind::Symlink) => (a.size, a.mtime) != (b.size, b.mtime),
        (left, right) => left != right || (left.is_device() && a.rdev != b.rdev),
    };
    differ.set(Aspects::KIND, a.kind != b.kind);
    differ.set(Aspects::CONTENT, content);
    differ.set(Aspects::MODE, a.mode != b.mode);
    differ.set(Aspects::UID, a.uid != b.uid);
    differ.set(Aspects::GID, a.gid != b.gid);
    differ.set(Aspects::MTIME, a.mtime != b.mtime);
    differ.set(Aspects::FLAGS, a.flags != b.flags);
    differ
}

#[cfg(test)]
mod tests;
