//! A directory of this host as a source.

mod reading;
mod walker;

use super::{
    beneath::Root,
    blocking::{blocking, joined, start},
    entry::{Entry, TreePath},
    losses::{Loss, Losses, OnLoss},
    source::{TreeSource, TreeTotals},
    stat::{Handle, Inode, Stat},
};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::cause::{beneath, cause},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
pub use reading::data_ranges;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{
    collections::HashMap,
    fmt,
    fs::File,
    ops::Range,
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use walker::Walker;

/// A directory of this host as a [`TreeSource`]. Cheap to clone.
///
/// # Promise
/// Entries come in path order, with data ranges as `SEEK_DATA` gives them. No link is followed and
/// nothing outside of the directory is read, whatever is planted in it. Memory: the names of the
/// directories on the way to the current entry, 16 bytes and the name for each (37 MB for a million
/// names of 20 bytes), and one path for each file of several names; never the tree. At most 16
/// descriptors, however deep the tree is.
///
/// The tree must not change while the source lives: what does vanish is treated as said by
/// [`with_losses`](Self::with_losses); a file that is written meanwhile is read as it is then.
///
/// # Concurrency
/// All file work happens on blocking threads of the tokio runtime; a stream reads one batch ahead.
///
/// # Cancellation
/// Dropping a stream or a future ends its work after the current batch of 256 entries or the current read.
///
/// # Errors
/// [`Denied`](ErrorKind::Denied) for what this user may not read: a file's entry is given, and reading
/// its content is refused.
#[derive(Clone)]
pub struct DirectoryTree(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Root,
    path: PathBuf,
    on_loss: OnLoss,
    losses: Mutex<Losses>,
    /// Built when it is first needed: for a look at one entry of several names, or a resumed stream.
    first_names: Mutex<Option<Arc<FirstNames>>>,
}

/// Under which name each file of several names appears first.
type FirstNames = HashMap<Inode, TreePath>;

/// Entries that one visit to a blocking thread reads: enough that the switch costs little, few enough
/// that a dropped stream ends soon.
const BATCH: usize = 256;

impl DirectoryTree {
    /// Opens the directory `path`. Links in `path` itself are followed. Blocks for two system calls.
    ///
    /// # Errors
    /// As the kernel reports; [`Invalid`](ErrorKind::Invalid) if it is not a directory.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            root: Root::open(path)?,
            path: path.to_path_buf(),
            on_loss: OnLoss::Refuse,
            losses: Mutex::default(),
            first_names: Mutex::default(),
        })))
    }

    /// Says what happens at a directory that this user may not list, an entry that vanishes, and a mount
    /// point inside the tree (of which the empty directory is given): the stream ends with an error (as
    /// opened), or it goes on and [`losses`](Self::losses) counts it.
    #[must_use]
    pub fn with_losses(self, on_loss: OnLoss) -> Self {
        let Inner { root, path, .. } = &*self.0;
        Self(Arc::new(Inner {
            root: root.clone(),
            path: path.clone(),
            on_loss,
            losses: Mutex::default(),
            first_names: Mutex::default(),
        }))
    }

    /// What the streams so far had to leave out; counted again by each stream that meets it.
    pub fn losses(&self) -> Losses {
        self.0.losses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for DirectoryTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirectoryTree").field(&self.0.path).finish()
    }
}

#[async_trait]
impl TreeSource for DirectoryTree {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let begin = Reading::Begin(Arc::clone(&self.0), after);
        futures::stream::try_unfold(begin, Reading::next)
            .map_ok(|batch| futures::stream::iter(batch.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        let (tree, path) = (Arc::clone(&self.0), path.clone());
        blocking(move || match tree.entry(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            entry => entry.map(Some),
        })
        .await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        let (tree, path) = (Arc::clone(&self.0), path.clone());
        blocking(move || tree.read(&path, range)).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.0.path)
    }
}

/// Where a stream is: not begun, a batch on its way, or at its end.
enum Reading {
    Begin(Arc<Inner>, Option<TreePath>),
    Ahead(tokio::task::JoinHandle<Result<(Walker, Vec<Entry>)>>),
    End,
}

impl Reading {
    async fn next(self) -> Result<Option<(Vec<Entry>, Self)>> {
        let task = match self {
            Self::Begin(tree, after) => start(move || Walker::new(tree, after)?.batch(BATCH))?,
            Self::Ahead(task) => task,
            Self::End => return Ok(None),
        };
        let (walker, batch) = joined(task).await?;
        match batch.len() {
            BATCH => Ok(Some((batch, Self::Ahead(start(move || walker.batch(BATCH))?)))),
            0 => Ok(None),
            _ => Ok(Some((batch, Self::End))),
        }
    }
}

impl Inner {
    fn entry(self: &Arc<Self>, path: TreePath) -> Result<Entry> {
        let (dir, name) = self.root.parent_of(&path)?;
        let handle = Handle::Name { dir: dir.as_fd(), name: &name };
        let refused = |e: Errno| beneath(e, "stat", self.root.place(&path));
        let stat = Stat::of(handle).map_err(refused)?;
        let link = match stat.has_other_names() {
            true => self.first_names()?.get(&stat.inode()).cloned(),
            false => None,
        };
        let mut entry = reading::entry(handle, &stat, path.clone()).map_err(refused)?;
        entry.link = link;
        Ok(entry)
    }

    fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        // A fifo must not block the open, nor a terminal become ours (open(2)).
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.root.open_at(path, flags, Mode::empty())?);
        let refused = |e| cause(e, "read", self.root.place(path));
        let metadata = file.metadata().map_err(refused)?;
        if !metadata.is_file() {
            return Err(Error::invalid("path", "not a file").during("read", self.root.place(path)));
        }
        let length = range.end.min(metadata.len()).saturating_sub(range.start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        let mut filled = 0;
        while filled < bytes.len() {
            let at = range.start + u64::try_from(filled).unwrap_or(u64::MAX);
            match file.read_at(&mut bytes[filled..], at).map_err(refused)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    /// Walks the whole tree once, by stat alone.
    fn first_names(self: &Arc<Self>) -> Result<Arc<FirstNames>> {
        let held = || self.first_names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = &*held() {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(Walker::new(Arc::clone(self), None)?.first_names()?);
        Ok(Arc::clone(held().insert(names)))
    }

    fn lose(&self, loss: Loss, path: &TreePath, reason: &str) -> Result<()> {
        let mut losses = Losses::default();
        losses.add(loss, || path.clone(), reason);
        losses.check(self.on_loss).map_err(|e| e.during("read", self.root.place(path)))?;
        self.losses.lock().unwrap_or_else(PoisonError::into_inner).merge(losses);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
