//! Making entries: each by one name in a directory that was resolved beneath the root.

use super::{Attributes, content, gate::corrupt, parents::Parents, plan::Batch, workers::Workers};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::{cause::beneath, raw},
    progress::Meter,
    tree::{
        beneath::Root,
        entry::{Entry, EntryKind, Metadata, TreePath},
        losses::{Loss, Losses},
        metadata::{FlagsWhen, MetadataWriter, Present, Target, xattrs},
        source::{TreeSource, TreeTotals},
        stat::{Handle, Kind, Stat},
        trust::Trust,
        walk::Unreadable,
    },
};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fgetxattr_query, linkat, mkdirat, mknodat, openat, symlinkat},
    io::Errno,
};
use std::{
    collections::HashSet,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Where a tree is being built, and what the workers share.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) root: Root,
    pub(super) workers: Workers,
    trust: Trust,
    unreadable: Unreadable,
    /// Whether new entries inherit from the root: then their attributes are not known to be none.
    inherits: Inherits,
    /// Who owns what this process makes here; a server may map owners, so it is looked up once.
    owner: OnceLock<(u32, u32)>,
    /// Whether something has an attribute.
    attributed: AtomicBool,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    losses: Losses,
    /// Files of several names that could not be made, so that their other names are no contradiction.
    missing: HashSet<TreePath>,
    /// Immutable files that are to get further names: flagged at the end.
    flags: Vec<(TreePath, Kind, Metadata)>,
    /// Directories that their owner may not enter or change: finished at the end, because links to what is
    /// in them may come later. In the order in which they were completed, the deeper ones first.
    closed: Vec<Entry>,
}

#[derive(Debug, PartialEq)]
enum Inherits {
    Yes,
    No,
}

/// Append-only and immutable (linux/fs.h).
const HELD_FLAGS: u32 = 0x10 | 0x20;

impl Site {
    pub(super) fn new(root: Root, trust: Trust, unreadable: Unreadable, meter: Meter) -> Self {
        let set_gid = Stat::of(Handle::Open(root.as_fd())).is_ok_and(|stat| stat.mode & 0o2000 != 0);
        let acl = fgetxattr_query(&root, "system.posix_acl_default").is_ok_and(|size| size > 0);
        let inherits = if set_gid || acl { Inherits::Yes } else { Inherits::No };
        Self {
            root,
            workers: Workers::new(meter),
            trust,
            unreadable,
            inherits,
            owner: OnceLock::new(),
            attributed: AtomicBool::new(false),
            shared: Mutex::default(),
        }
    }

    /// Runs `work` on a blocking thread of this call.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let site = Arc::clone(self);
        self.workers.run(move || work(&site)).await
    }

    pub(super) fn attributes(&self) -> Attributes {
        if self.attributed.load(Relaxed) { Attributes::Somewhere } else { Attributes::Nowhere }
    }

    pub(super) fn lose(&self, entry: &Entry, loss: Loss, reason: impl std::fmt::Display) {
        let mut shared = self.shared();
        shared.losses.add(loss, || entry.path.clone(), reason);
        if entry.link.is_some() {
            shared.missing.insert(entry.path.clone());
        }
    }

    /// Whether a source that refuses to give content is reported and passed over.
    pub(super) fn passes_over(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Denied && self.unreadable == Unreadable::Report
    }

    /// Creates the file of `entry`, empty, for this process alone.
    pub(super) fn create(&self, at: &mut Parents<'_>, entry: &Entry) -> Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (dir, name) = at.parent(&entry.path)?;
        let file = openat(dir, name, flags, Mode::from_raw_mode(0o600));
        file.map(File::from).map_err(|e| self.refused(e, "create", entry))
    }

    /// Gives a filled file its metadata and closes it; only then a network filesystem says what it lost.
    pub(super) fn finish_file(&self, file: File, entry: &Entry) -> Result<()> {
        let later = entry.link.is_some() && entry.metadata.flags & HELD_FLAGS != 0;
        let when = if later { FlagsWhen::Later } else { FlagsWhen::Now };
        self.dress(Handle::Open(file.as_fd()), entry, when)?;
        raw::close(OwnedFd::from(file)).map_err(|e| beneath(e, "close", self.root.place(&entry.path)))
    }

    fn make_directory(&self, at: &mut Parents<'_>, entry: &Entry) -> Result<()> {
        if entry.path.is_root() {
            return Ok(());
        }
        let (dir, name) = at.parent(&entry.path)?;
        // For this process alone until it is complete.
        mkdirat(dir, name, Mode::RWXU).map_err(|e| self.refused(e, "mkdir", entry))
    }

    /// Makes what is no file and no directory.
    pub(super) fn make_other(&self, at: &mut Parents<'_>, entry: &Entry) -> Result<()> {
        let (kind, loss, device) = match entry.kind {
            EntryKind::Symlink { .. } => (FileType::Symlink, Loss::Special, 0),
            EntryKind::Fifo => (FileType::Fifo, Loss::Special, 0),
            EntryKind::Socket => (FileType::Socket, Loss::Special, 0),
            EntryKind::CharacterDevice { device } => (FileType::CharacterDevice, Loss::Device, device),
            EntryKind::BlockDevice { device } => (FileType::BlockDevice, Loss::Device, device),
            EntryKind::Directory | EntryKind::File { .. } => {
                return Err(Error::internal("a file or directory was planned as something else"));
            }
        };
        if loss == Loss::Device && self.trust == Trust::Untrusted {
            self.lose(entry, loss, "left out of an untrusted tree");
            return Ok(());
        }
        let (dir, name) = at.parent(&entry.path)?;
        let made = match &entry.kind {
            EntryKind::Symlink { target } => symlinkat(target.as_slice(), dir, name),
            _ => mknodat(dir, name, kind, Mode::RUSR | Mode::WUSR, device),
        };
        match made {
            Ok(()) => self.dress(Handle::Name { dir: dir.as_fd(), name }, entry, FlagsWhen::Now),
            Err(error @ (Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS)) => {
                self.lose(entry, loss, std::io::Error::from(error));
                Ok(())
            }
            Err(error) => Err(self.refused(error, "create", entry)),
        }
    }

    /// Gives a file one more name. If this filesystem cannot, the entry comes back to be made on its own.
    fn link(&self, at: &mut Parents<'_>, entry: Entry) -> Result<Option<Entry>> {
        let Some(first) = &entry.link else { return Ok(None) };
        if self.shared().missing.contains(first) {
            self.lose(&entry, Loss::HardLink, "the file itself could not be kept");
            return Ok(None);
        }
        let contradiction = |why| Err(corrupt(why).during("apply", self.root.place(&entry.path)));
        match self.root.stat(first) {
            Ok(stat) if stat.kind == Kind::from(&entry.kind) => {}
            Ok(_) => return contradiction("it is a link to another kind of entry"),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Denied) => {
                return contradiction("it is a link to what is not in the tree before it");
            }
            Err(error) => return Err(error),
        }
        let (from, from_name) = self.root.parent_of(first)?;
        let (dir, name) = at.parent(&entry.path)?;
        match linkat(&from, from_name.as_c_str(), dir, name, AtFlags::empty()) {
            Ok(()) => Ok(None),
            Err(error @ (Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::XDEV | Errno::NOSYS)) => {
                let mut shared = self.shared();
                shared.losses.add(Loss::HardLink, || entry.path.clone(), std::io::Error::from(error));
                Ok(Some(Entry { link: None, ..entry.clone() }))
            }
            Err(error) => Err(self.refused(error, "link", &entry)),
        }
    }

    fn close(&self, entry: Entry) -> Result<()> {
        let open = entry.metadata.mode & 0o700 == 0o700 && entry.metadata.flags & HELD_FLAGS == 0;
        if open || entry.path.is_root() && self.shared().closed.is_empty() {
            return self.finish_directory(&entry);
        }
        self.shared().closed.push(entry);
        Ok(())
    }

    fn finish_directory(&self, entry: &Entry) -> Result<()> {
        if entry.path.is_root() {
            return self.dress(Handle::Open(self.root.as_fd()), entry, FlagsWhen::Now);
        }
        let dir = self.root.directory(&entry.path)?;
        self.dress(Handle::Open(dir.as_fd()), entry, FlagsWhen::Now)
    }

    /// What had to wait until nothing more is made.
    fn finish_late(&self) -> Result<Losses> {
        let (flags, closed) = {
            let mut shared = self.shared();
            (std::mem::take(&mut shared.flags), std::mem::take(&mut shared.closed))
        };
        for (path, kind, metadata) in flags {
            let (dir, name) = self.root.parent_of(&path)?;
            let handle = Handle::Name { dir: dir.as_fd(), name: &name };
            let present = Present::Unknown;
            let mut losses = Losses::default();
            let target = Target { handle, kind, present, path: &path };
            MetadataWriter::new(self.trust, &mut losses).write_flags(target, &metadata)?;
            self.shared().losses.merge(losses);
        }
        closed.iter().try_for_each(|entry| self.finish_directory(entry))?;
        Ok(std::mem::take(&mut self.shared().losses))
    }

    fn dress(&self, handle: Handle<'_>, entry: &Entry, when: FlagsWhen) -> Result<()> {
        let mut losses = Losses::default();
        let kind = Kind::from(&entry.kind);
        let target = Target { handle, kind, present: self.present(handle, entry)?, path: &entry.path };
        MetadataWriter::new(self.trust, &mut losses).write(target, &entry.metadata, when)?;
        if !losses.is_empty() {
            self.shared().losses.merge(losses);
        }
        if !self.attributed.load(Relaxed) && has_attributes(handle, entry) {
            self.attributed.store(true, Relaxed);
        }
        if when == FlagsWhen::Later {
            self.shared().flags.push((entry.path.clone(), kind, entry.metadata.clone()));
        }
        Ok(())
    }

    fn present(&self, handle: Handle<'_>, entry: &Entry) -> Result<Present> {
        if self.inherits == Inherits::Yes || entry.path.is_root() {
            return Ok(Present::Unknown);
        }
        let (uid, gid) = match self.owner.get() {
            Some(owner) => *owner,
            None => {
                let stat = Stat::of(handle).map_err(|e| beneath(e, "stat", self.root.place(&entry.path)))?;
                *self.owner.get_or_init(|| (stat.uid, stat.gid))
            }
        };
        Ok(Present::Fresh { uid, gid })
    }

    /// The directory was empty and no name comes twice: what is there already is the same name to this
    /// filesystem, or somebody else's.
    fn refused(&self, error: Errno, operation: &'static str, entry: &Entry) -> Error {
        let place = self.root.place(&entry.path);
        if error != Errno::EXIST {
            return beneath(error, operation, place);
        }
        Error::new(ErrorKind::Unsupported, "something is there under this name already")
            .with_source(std::io::Error::from(error))
            .during(operation, place)
            .advise("choose a filesystem that tells case and normalisation apart, and keep others out")
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By descriptor this is cheap; what has none is asked for what it was given.
fn has_attributes(handle: Handle<'_>, entry: &Entry) -> bool {
    match handle {
        Handle::Open(file) => !xattrs::has_none(file),
        Handle::Name { .. } => !entry.metadata.xattrs.is_empty(),
    }
}

/// Makes the directories of `batch`, so that the files of this and later batches find theirs.
pub(super) async fn make_directories(site: Arc<Site>, batch: Batch) -> Result<Batch> {
    if batch.directories.is_empty() {
        return Ok(batch);
    }
    let make = |site: &Site, batch: Batch| {
        let mut at = Parents::new(&site.root);
        for entry in &batch.directories {
            site.workers.check()?;
            site.make_directory(&mut at, entry)?;
        }
        Ok(batch)
    };
    site.run(move |site| make(site, batch)).await
}

/// What can only be done once the files of this and earlier batches are there: further names, and the
/// metadata of complete directories.
pub(super) async fn finish(
    site: &Arc<Site>,
    source: &Arc<dyn TreeSource>,
    batch: Batch,
) -> Result<TreeTotals> {
    let Batch { links, closed, totals, directories, files, others, .. } = batch;
    let done = directories.len() + files.len() + others.len() + links.len();
    if !links.is_empty() {
        for entry in site.run(move |site| link_all(site, links)).await? {
            content::fill(Arc::clone(site), Arc::clone(source), Batch::of(entry)).await?;
        }
    }
    if !closed.is_empty() {
        site.run(move |site| closed.into_iter().try_for_each(|dir| site.close(dir))).await?;
    }
    site.workers.count(done, 0);
    Ok(totals)
}

/// The last of all; gives what was lost.
pub(super) async fn finish_last(site: &Arc<Site>) -> Result<Losses> {
    site.run(Site::finish_late).await
}

fn link_all(site: &Site, links: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut at = Parents::new(&site.root);
    let mut own = Vec::new();
    for entry in links {
        site.workers.check()?;
        own.extend(site.link(&mut at, entry)?);
    }
    Ok(own)
}
