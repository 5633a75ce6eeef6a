//! Visiting every entry of a tree on several threads, in bounded memory.

use super::{
    beneath::Root,
    crew::{Crew, Threads},
    entry::{Metadata, TreePath},
    listing::Batch,
    losses::{Loss, Losses},
    metadata::read_metadata,
    node::{Descent, Node, Side},
    stat::{Handle, Kind, Stat},
};
use crate::{error::Result, linux::cause::beneath, progress::Meter};
use rustix::io::Errno;
use std::{
    ffi::CStr,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// How a tree is walked.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct WalkOptions {
    /// On how many threads.
    pub threads: Threads,
    /// What happens at a directory that this user may not read.
    pub unreadable: Unreadable,
}

/// What happens at an entry that this user may not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The call ends with [`Denied`](crate::ErrorKind::Denied).
    #[default]
    Refuse,
    /// It is left out and reported.
    Report,
}

/// What a visitor says about a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Visit what is in it.
    Enter,
    /// Leave out what is in it.
    Skip,
}

/// One entry, as a visitor sees it.
#[derive(Debug)]
pub struct Visit<'a> {
    /// What it is.
    pub stat: Stat,
    node: &'a Node<()>,
    name: &'a CStr,
    handle: Handle<'a>,
}

/// What a walk has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkReport {
    /// Entries, the root included.
    pub entries: u64,
    /// Bytes of content, a file with several names as often as it was met.
    pub bytes: u64,
    /// What vanished, could not be read, or was a mount point.
    pub losses: Losses,
}

/// Visits every entry below `root`, the root first, in no further order, from several threads at once.
///
/// # Promise
/// Memory and descriptors are bounded whatever the size or depth of the tree; at most one system call an
/// entry beside a constant number a directory. No link is followed. An entry that vanishes meanwhile is
/// counted, not an error. Mount points are visited but not entered, and counted, unless the root says
/// [`Mounts::Cross`](super::Mounts::Cross). A directory that is renamed during the walk may be met twice or not at all.
///
/// # Errors
/// The first error of `visit`; [`Denied`](crate::ErrorKind::Denied) as `options` say; once `meter` is
/// stopped, its error.
pub fn walk(
    root: &Root,
    options: &WalkOptions,
    meter: &Meter,
    visit: &(dyn Fn(&Visit<'_>) -> Result<Step> + Sync),
) -> Result<WalkReport> {
    let means = options.threads.means();
    let stat = Stat::of(Handle::Open(root.as_fd()))
        .map_err(|e| beneath(e, "stat", root.place(&TreePath::root())))?;
    let walker = Walker {
        descent: Descent::new(root.clone(), None, means.kept_descriptors),
        options: *options,
        waiting: AtomicUsize::new(0),
        waiting_max: means.kept_descriptors,
        entries: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        meter,
        visit,
    };
    let node = Node::root(());
    let first = walker.visit(&node, c".", Handle::Open(root.as_fd()), stat)?;
    let jobs = if first == Step::Enter { vec![Job::Enter(node)] } else { Vec::new() };
    let lost = Crew::run(means.threads, jobs, meter, Losses::default, |job, losses, crew| {
        walker.work(job, losses, crew)
    })?;
    let mut report = WalkReport {
        entries: walker.entries.into_inner(),
        bytes: walker.bytes.into_inner(),
        losses: Losses::default(),
    };
    lost.into_iter().for_each(|losses| report.losses.merge(losses));
    Ok(report)
}

impl Visit<'_> {
    /// Where it is.
    pub fn path(&self) -> TreePath {
        self.node.path(Some(self.name))
    }

    /// The entry, for [`read_metadata`] and the like.
    pub fn handle(&self) -> Handle<'_> {
        self.handle
    }

    /// Everything about it, attributes included: one system call more, and two an attribute.
    ///
    /// # Errors
    /// As the kernel reports them; [`NotFound`](crate::ErrorKind::NotFound) if it went away.
    pub fn metadata(&self) -> Result<Metadata> {
        read_metadata(self.handle, &self.stat).map_err(|e| beneath(e, "listxattr", self.path()))
    }
}

type Dir = Arc<Node<()>>;

enum Job {
    Enter(Dir),
    /// A directory whose listing goes on after what was found in it so far.
    Resume(Dir, Arc<OwnedFd>),
    /// A part of a batch of names.
    Part(Dir, Arc<OwnedFd>, Arc<Batch>, Range<usize>),
}

struct Walker<'a> {
    descent: Descent<()>,
    options: WalkOptions,
    /// Listings that wait with an open descriptor.
    waiting: AtomicUsize,
    waiting_max: usize,
    entries: AtomicU64,
    bytes: AtomicU64,
    meter: &'a Meter,
    visit: &'a (dyn Fn(&Visit<'_>) -> Result<Step> + Sync),
}

impl Walker<'_> {
    fn work(&self, job: Job, losses: &mut Losses, crew: &Crew<'_, Job>) -> Result<()> {
        match job {
            Job::Enter(dir) => match self.descent.open(&dir, Side::Source) {
                Ok(fd) => self.list(&dir, fd, losses, crew),
                Err(Errno::XDEV) => {
                    losses.add(Loss::MountPoint, || dir.path(None), MOUNTED);
                    Ok(())
                }
                Err(error) => self.lost(error, &dir, None, losses),
            },
            Job::Resume(dir, fd) => {
                self.waiting.fetch_sub(1, Relaxed);
                self.list(&dir, fd, losses, crew)
            }
            Job::Part(dir, fd, batch, range) => {
                let found = self.look(&dir, &fd, &batch, range, losses, crew)?;
                crew.push(found.into_iter().map(Job::Enter));
                Ok(())
            }
        }
    }

    fn list(&self, dir: &Dir, fd: Arc<OwnedFd>, losses: &mut Losses, crew: &Crew<'_, Job>) -> Result<()> {
        loop {
            let batch = match Batch::read(fd.as_fd()) {
                Ok(batch) if batch.is_empty() => return Ok(()),
                Ok(batch) => Arc::new(batch),
                Err(error) => return self.lost(error, dir, None, losses),
            };
            let found = self.look(dir, &fd, &batch, 0..batch.len(), losses, crew)?;
            if found.is_empty() {
                continue;
            }
            // Go down before going on, so that waiting names stay few; without descriptors to wait with,
            // go on and let the names wait instead.
            if self.waiting.fetch_add(1, Relaxed) < self.waiting_max {
                let resume = Job::Resume(Arc::clone(dir), fd);
                crew.push(std::iter::once(resume).chain(found.into_iter().map(Job::Enter)));
                return Ok(());
            }
            self.waiting.fetch_sub(1, Relaxed);
            crew.push(found.into_iter().map(Job::Enter));
        }
    }

    /// Visits a range of a batch; the directories in it that shall be entered.
    fn look(
        &self,
        dir: &Dir,
        fd: &Arc<OwnedFd>,
        batch: &Arc<Batch>,
        range: Range<usize>,
        losses: &mut Losses,
        crew: &Crew<'_, Job>,
    ) -> Result<Vec<Dir>> {
        let (mut found, mut range) = (Vec::new(), range);
        while let Some(index) = range.next() {
            if let Some(part) = crew.share(&mut range) {
                crew.push([Job::Part(Arc::clone(dir), Arc::clone(fd), Arc::clone(batch), part)]);
            }
            let Some((name, _)) = batch.get(index) else { continue };
            self.meter.check()?;
            let handle = Handle::Name { dir: fd.as_fd(), name };
            match Stat::of(handle) {
                Ok(stat) => {
                    if self.visit(dir, name, handle, stat)? == Step::Enter && stat.is_directory() {
                        found.push(Node::child(dir, name, ()));
                    }
                }
                Err(error) => self.lost(error, dir, Some(name), losses)?,
            }
        }
        Ok(found)
    }

    fn visit(&self, dir: &Node<()>, name: &CStr, handle: Handle<'_>, stat: Stat) -> Result<Step> {
        self.entries.fetch_add(1, Relaxed);
        let bytes = if stat.kind == Kind::File { stat.size } else { 0 };
        self.bytes.fetch_add(bytes, Relaxed);
        self.meter.add(1, bytes);
        (self.visit)(&Visit { stat, node: dir, name, handle })
    }

    fn lost(&self, error: Errno, dir: &Node<()>, name: Option<&CStr>, losses: &mut Losses) -> Result<()> {
        lost(error, self.options.unreadable, losses, || dir.path(name))
    }
}

/// Why a mount point is not entered.
pub(crate) const MOUNTED: &str = "another filesystem is mounted there";

/// Counts an entry that went away or may not be read; everything else is an error.
pub(crate) fn lost(
    error: Errno,
    unreadable: Unreadable,
    losses: &mut Losses,
    path: impl Fn() -> TreePath,
) -> Result<()> {
    let loss = match error {
        // It was there when it was listed: gone, or replaced by something that is opened differently.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Loss::Vanished,
        Errno::ACCESS | Errno::PERM if unreadable == Unreadable::Report => Loss::Unreadable,
        error => return Err(beneath(error, "read", path())),
    };
    losses.add(loss, path, std::io::Error::from(error));
    Ok(())
}

#[cfg(test)]
mod tests;
