//! The jobs of a copy: directories are made on the way down, and finished when all that is in them is.

use super::{
    CopyOptions, CopyReport,
    content::{How, Ways},
    links::{Links, Named},
};
use crate::{
    error::{Error, Result},
    linux::cause::{beneath, cause},
    progress::Meter,
    tree::{
        beneath::{Mounts, Root},
        crew::{Crew, Means},
        entry::{Metadata, TreePath},
        listing::Batch,
        losses::{Loss, Losses},
        metadata::{FlagsWhen, MetadataWriter, Present, Target, read_metadata, xattrs},
        node::{Descent, In, Node, Side},
        stat::{Handle, Inode, Kind, Stat},
        walk::{MOUNTED, lost},
    },
};
use rustix::{
    fs::{Mode, fchmod, mkdirat},
    io::Errno,
};
use std::{
    ffi::CStr,
    ops::Range,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

pub(super) type Dir = Node<Own>;

/// What a directory's copy needs to be finished.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Set once the directory was made.
    metadata: OnceLock<Metadata>,
}

pub(super) enum Job {
    Enter(Arc<Dir>),
    /// A directory whose listing goes on after what was found in it so far.
    Resume(Arc<Dir>, Arc<OwnedFd>),
    /// A part of a batch of names.
    Part(Arc<Dir>, Arc<OwnedFd>, Arc<Batch>, Range<usize>),
}

/// What one worker has done, and its buffer.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) report: CopyReport,
    pub(super) buffer: Vec<u8>,
}

pub(super) struct Copier<'a> {
    pub(super) descent: Descent<Own>,
    pub(super) options: CopyOptions,
    pub(super) links: Links,
    pub(super) ways: Ways,
    pub(super) meter: &'a Meter,
    /// Whether `O_NOATIME` is allowed, as far as was seen.
    pub(super) noatime: AtomicBool,
    /// The owner that this process's new files get.
    fresh: OnceLock<(u32, u32)>,
    /// Flags of files with several names: set when all names are.
    late_flags: Mutex<Vec<(Named, Metadata)>>,
    /// Listings that wait with an open descriptor.
    waiting: AtomicUsize,
    means: Means,
    source_mount: u64,
    target_inode: Inode,
}

pub(super) fn run(source: &Root, target: &Root, options: &CopyOptions, meter: &Meter) -> Result<CopyReport> {
    let copier = Copier::new(source, target, options, meter)?;
    prepare(target)?;
    let jobs = vec![Job::Enter(Node::root(Own::default()))];
    let workers = Crew::run(copier.means.threads, jobs, meter, Worker::default, |job, worker, crew| {
        copier.work(job, worker, crew)
    })?;
    let mut report = CopyReport::default();
    workers.into_iter().for_each(|worker| report.add(worker.report));
    copier.set_late_flags(&mut report.losses)?;
    report.losses.check(options.on_loss)?;
    Ok(report)
}

/// Closes the new root to others, and takes away what its entries would inherit.
fn prepare(target: &Root) -> Result<()> {
    let failed = |error| cause(error, "copy", target.place(&TreePath::root()));
    let fd = target.directory(&TreePath::root())?;
    if !Batch::read(fd.as_fd()).map_err(failed)?.is_empty() {
        return Err(failed(Errno::NOTEMPTY));
    }
    fchmod(&fd, Mode::RWXU).map_err(failed)?;
    match xattrs::remove(Handle::Open(fd.as_fd()), b"system.posix_acl_default") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

impl<'a> Copier<'a> {
    fn new(source: &Root, target: &Root, options: &CopyOptions, meter: &'a Meter) -> Result<Self> {
        let stat = |root: &Root| {
            Stat::of(Handle::Open(root.as_fd())).map_err(|e| cause(e, "stat", root.place(&TreePath::root())))
        };
        let means = options.threads.means();
        Ok(Self {
            descent: Descent::new(source.clone(), Some(target.clone()), means.kept_descriptors),
            options: *options,
            links: Links::default(),
            ways: Ways::new(options.clone),
            meter,
            noatime: AtomicBool::new(true),
            fresh: OnceLock::new(),
            late_flags: Mutex::default(),
            waiting: AtomicUsize::new(0),
            means,
            source_mount: stat(source)?.mount,
            target_inode: stat(target)?.inode(),
        })
    }

    fn work(&self, job: Job, worker: &mut Worker, crew: &Crew<'_, Job>) -> Result<()> {
        match job {
            Job::Enter(dir) => match self.enter(&dir, worker)? {
                Some(fd) => self.list(&dir, fd, worker, crew),
                None => self.end(&dir, worker),
            },
            Job::Resume(dir, fd) => {
                self.waiting.fetch_sub(1, Relaxed);
                self.list(&dir, fd, worker, crew)
            }
            Job::Part(dir, fd, batch, range) => {
                let found = self.look(&dir, &fd, &batch, range, worker, crew)?;
                crew.push(found.into_iter().map(Job::Enter));
                self.end(&dir, worker)
            }
        }
    }

    /// Opens a directory of the source and makes its copy; `None` if there is nothing to list.
    fn enter(&self, dir: &Arc<Dir>, worker: &mut Worker) -> Result<Option<Arc<OwnedFd>>> {
        let lose = |error, losses: &mut Losses| {
            lost(error, self.options.unreadable, losses, || dir.path(None)).map(|()| None)
        };
        let fd = match self.descent.open(dir, Side::Source) {
            Ok(fd) => fd,
            Err(Errno::XDEV) => return self.mount_point(dir, worker).map(|()| None),
            Err(error) => return lose(error, &mut worker.report.losses),
        };
        let handle = Handle::Open(fd.as_fd());
        let (stat, metadata) = match Stat::of(handle).and_then(|s| Ok((s, read_metadata(handle, &s)?))) {
            Ok(read) => read,
            Err(error) => return lose(error, &mut worker.report.losses),
        };
        if stat.inode() == self.target_inode {
            return Err(Error::invalid("target", "it lies inside the source")
                .during("copy", self.source_place(dir, None))
                .advise("copy to a directory outside of the source"));
        }
        Ok(self.make_directory(dir, metadata, worker)?.then_some(fd))
    }

    /// An empty directory in place of what is mounted there.
    fn mount_point(&self, dir: &Arc<Dir>, worker: &mut Worker) -> Result<()> {
        worker.report.losses.add(Loss::MountPoint, || dir.path(None), MOUNTED);
        let metadata = Metadata { mode: 0o755, ..Metadata::default() };
        self.make_directory(dir, metadata, worker).map(drop)
    }

    fn make_directory(&self, dir: &Arc<Dir>, metadata: Metadata, worker: &mut Worker) -> Result<bool> {
        if let Some(parent) = dir.parent() {
            let made = self
                .descent
                .open(parent, Side::Target)
                .and_then(|above| mkdirat(above.as_fd(), dir.name(), Mode::RWXU));
            match made {
                Ok(()) => {}
                Err(Errno::EXIST) => return self.listed_twice(parent, dir.name()).map(|()| false),
                Err(error) => return Err(self.write_error(error, dir, None)),
            }
        }
        worker.report.totals.files += 1;
        self.meter.add(1, 0);
        Ok(dir.own.metadata.set(metadata).is_ok())
    }

    fn list(
        &self,
        dir: &Arc<Dir>,
        fd: Arc<OwnedFd>,
        worker: &mut Worker,
        crew: &Crew<'_, Job>,
    ) -> Result<()> {
        loop {
            let batch = match Batch::read(fd.as_fd()) {
                Ok(batch) if batch.is_empty() => return self.end(dir, worker),
                Ok(batch) => Arc::new(batch),
                Err(error) => {
                    lost(error, self.options.unreadable, &mut worker.report.losses, || dir.path(None))?;
                    return self.end(dir, worker);
                }
            };
            let found = self.look(dir, &fd, &batch, 0..batch.len(), worker, crew)?;
            if found.is_empty() {
                continue;
            }
            // Go down before going on, so that waiting names stay few; without descriptors to wait with,
            // go on and let the names wait instead.
            if self.waiting.fetch_add(1, Relaxed) < self.means.kept_descriptors {
                let resume = Job::Resume(Arc::clone(dir), fd);
                crew.push(std::iter::once(resume).chain(found.into_iter().map(Job::Enter)));
                return Ok(());
            }
            self.waiting.fetch_sub(1, Relaxed);
            crew.push(found.into_iter().map(Job::Enter));
        }
    }

    /// Copies a range of a batch; the directories in it that are still to be entered.
    fn look(
        &self,
        dir: &Arc<Dir>,
        fd: &Arc<OwnedFd>,
        batch: &Arc<Batch>,
        mut range: Range<usize>,
        worker: &mut Worker,
        crew: &Crew<'_, Job>,
    ) -> Result<Vec<Arc<Dir>>> {
        let target =
            self.descent.open(dir, Side::Target).map_err(|error| self.write_error(error, dir, None))?;
        let mut found = Vec::new();
        while let Some(index) = range.next() {
            if let Some(part) = crew.share(&mut range) {
                dir.begin();
                crew.push([Job::Part(Arc::clone(dir), Arc::clone(fd), Arc::clone(batch), part)]);
            }
            let Some((name, kind)) = batch.get(index) else { continue };
            self.meter.check()?;
            let at = Spot { dir, name, source: fd.as_fd(), target: target.as_fd() };
            if self.entry(&at, kind, worker)? == Some(Kind::Directory) {
                found.push(Node::child(dir, name, Own::default()));
            }
            worker.report.losses.check(self.options.on_loss)?;
        }
        Ok(found)
    }

    /// One thing in `dir` has ended: finishes it, and those above, if that was the last.
    pub(super) fn end(&self, dir: &Arc<Dir>, worker: &mut Worker) -> Result<()> {
        let mut dir = Arc::clone(dir);
        while dir.end() {
            self.finish(&dir, worker)?;
            match dir.parent() {
                Some(parent) => dir = Arc::clone(parent),
                None => break,
            }
        }
        Ok(())
    }

    fn finish(&self, dir: &Arc<Dir>, worker: &mut Worker) -> Result<()> {
        let Some(metadata) = dir.own.metadata.get() else { return Ok(()) };
        let fd = self.descent.open(dir, Side::Target).map_err(|e| self.write_error(e, dir, None))?;
        let handle = Handle::Open(fd.as_fd());
        let present = match dir.parent() {
            Some(_) => self.present(handle).map_err(|e| self.write_error(e, dir, None))?,
            None => Present::Unknown,
        };
        let target = Target { handle, kind: Kind::Directory, present, path: &In(dir, c"") };
        MetadataWriter::new(self.options.trust, &mut worker.report.losses).write(
            target,
            metadata,
            FlagsWhen::Now,
        )?;
        worker.report.losses.check(self.options.on_loss)
    }

    /// What is known of an entry that was just made: all that this call makes get the same owner.
    pub(super) fn present(&self, handle: Handle<'_>) -> Result<Present, Errno> {
        let (uid, gid) = match self.fresh.get() {
            Some(owner) => *owner,
            None => {
                let stat = Stat::of(handle)?;
                *self.fresh.get_or_init(|| (stat.uid, stat.gid))
            }
        };
        Ok(Present::Fresh { uid, gid })
    }

    /// Whether `stat` lies behind a mount point that is not to be crossed.
    pub(super) fn is_mounted_over(&self, stat: &Stat) -> bool {
        let stay = self.descent.root(Side::Source).is_ok_and(|root| root.mounts() == Mounts::Stay);
        stay && self.source_mount != 0 && stat.mount != self.source_mount
    }

    /// Remembers flags that may only be set when the file has all its names.
    pub(super) fn set_flags_later(&self, dir: &Arc<Dir>, name: &CStr, metadata: Metadata) {
        if metadata.flags != 0 {
            let named = Named { dir: Arc::clone(dir), name: name.to_owned() };
            self.late_flags.lock().unwrap_or_else(PoisonError::into_inner).push((named, metadata));
        }
    }

    fn set_late_flags(&self, losses: &mut Losses) -> Result<()> {
        let late = std::mem::take(&mut *self.late_flags.lock().unwrap_or_else(PoisonError::into_inner));
        for (Named { dir, name }, metadata) in late {
            let fd =
                self.descent.open(&dir, Side::Target).map_err(|e| self.write_error(e, &dir, Some(&name)))?;
            let handle = Handle::Name { dir: fd.as_fd(), name: &name };
            let present = self.present(handle).map_err(|e| self.write_error(e, &dir, Some(&name)))?;
            let target = Target { handle, kind: Kind::File, present, path: &In(&dir, &name) };
            MetadataWriter::new(self.options.trust, losses).write_flags(target, &metadata)?;
        }
        Ok(())
    }

    /// A name that is there already: fine if the source listed it twice (a rename does that), an error if
    /// the target takes two names of the source for one.
    pub(super) fn listed_twice(&self, dir: &Arc<Dir>, name: &CStr) -> Result<()> {
        let is_there = || -> Result<bool, Errno> {
            let listing = self.descent.root(Side::Target)?.open_from(
                self.descent.open(dir, Side::Target)?.as_fd(),
                b".",
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
                Mode::empty(),
            )?;
            loop {
                let batch = Batch::read(listing.as_fd())?;
                if batch.iter().any(|(other, _)| other == name) {
                    return Ok(true);
                }
                if batch.is_empty() {
                    return Ok(false);
                }
            }
        };
        match is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self
                .write_error(Errno::EXIST, dir, Some(name))
                .advise("use a filesystem that tells names apart that differ by case or normalisation")),
            Err(error) => Err(self.write_error(error, dir, Some(name))),
        }
    }

    pub(super) fn write_error(&self, error: Errno, dir: &Dir, name: Option<&CStr>) -> Error {
        match self.descent.root(Side::Target) {
            Ok(root) => beneath(error, "write", root.place(&dir.path(name))),
            Err(_) => cause(error, "write", dir.path(name)),
        }
    }

    pub(super) fn read_error(&self, error: Errno, dir: &Dir, name: Option<&CStr>) -> Error {
        beneath(error, "read", self.source_place(dir, name))
    }

    fn source_place(&self, dir: &Dir, name: Option<&CStr>) -> String {
        let path = dir.path(name);
        self.descent.root(Side::Source).map_or_else(|_| path.to_string(), |root| root.place(&path))
    }
}

/// A name in a directory of the source, and the copy of that directory.
pub(super) struct Spot<'a> {
    pub(super) dir: &'a Arc<Dir>,
    pub(super) name: &'a CStr,
    pub(super) source: std::os::fd::BorrowedFd<'a>,
    pub(super) target: std::os::fd::BorrowedFd<'a>,
}

impl CopyReport {
    fn add(&mut self, other: Self) {
        self.totals.files += other.totals.files;
        self.totals.bytes += other.totals.bytes;
        self.cloned += other.cloned;
        self.copied += other.copied;
        self.linked += other.linked;
        self.losses.merge(other.losses);
    }

    pub(super) fn count_file(&mut self, how: How, bytes: u64) {
        self.totals.files += 1;
        self.totals.bytes += bytes;
        match how {
            How::Cloned => self.cloned += 1,
            How::Copied => self.copied += 1,
        }
    }
}
