//! The sources that callers read snapshots through.

use super::read::SnapshotTree;
use crate::{
    directory::calls::closed,
    error::Result,
    tree::{DirectoryTree, Entry, TreePath, TreeSource, TreeTotals},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    future,
    stream::{BoxStream, StreamExt},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// The sources that this opened store has given out and that still live. Closing the store ends them:
/// the trees that they hold are free for another process then.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Vec<Weak<Held>>>);

impl Sources {
    /// A source of `read`. Its tree stays while the source, or a stream of it, lives, unless the store is
    /// closed before. Blocks.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(super) fn open(&self, read: SnapshotTree) -> Result<Arc<dyn TreeSource>> {
        let files = DirectoryTree::open(&read.tree.path)?;
        let (path, totals) = (read.tree.path.clone(), read.stored.snapshot.totals);
        let held = Arc::new(Held(Mutex::new(Some(read))));
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|held| held.strong_count() > 0);
        open.push(Arc::downgrade(&held));
        Ok(Arc::new(OpenSnapshot { files, path, totals, held }))
    }

    /// Ends every source.
    pub(crate) fn release(&self) {
        let open = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        open.iter().filter_map(Weak::upgrade).for_each(|held| held.release());
    }
}

/// A tree that stays while this lives; none once the store was closed.
#[derive(Debug)]
struct Held(Mutex<Option<SnapshotTree>>);

impl Held {
    fn check(&self) -> Result<()> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() { Ok(()) } else { Err(closed()) }
    }

    fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[derive(Debug)]
struct OpenSnapshot {
    files: DirectoryTree,
    path: PathBuf,
    totals: Option<TreeTotals>,
    held: Arc<Held>,
}

#[async_trait]
impl TreeSource for OpenSnapshot {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let held = Arc::clone(&self.held);
        let entries = self.files.entries(after).map(move |entry| held.check().and(entry));
        // A source's stream ends after its first error.
        let ends = |failed: &mut bool, entry: Result<Entry>| {
            let item = (!*failed).then_some(entry);
            *failed |= item.as_ref().is_some_and(Result::is_err);
            future::ready(item)
        };
        entries.scan(false, ends).boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.held.check()?;
        self.files.entry(path).await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.held.check()?;
        let bytes = self.files.read(path, range).await?;
        // The tree may have been removed since the check, by somebody else: then this is not what it held.
        self.held.check()?;
        Ok(bytes)
    }

    fn totals(&self) -> Option<TreeTotals> {
        self.totals
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.path)
    }
}
