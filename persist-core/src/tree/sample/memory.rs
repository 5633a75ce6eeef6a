//! A tree in memory, as honest or as hostile as a test wants it.

use crate::{
    error::{Error, ErrorKind, Result},
    tree::{
        entry::{Entry, EntryKind, TreePath},
        source::{TreeSource, TreeTotals},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use std::{collections::HashMap, ops::Range, path::Path, sync::Arc};

/// A source that gives the entries it was made of, in that order and unchecked: a test may plant what no
/// filesystem would. Files without content given read as zeros.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    entries: Arc<Vec<Entry>>,
    content: Arc<HashMap<TreePath, Bytes>>,
}

impl MemoryTree {
    /// The tree of `entries`; in path order with the root first, if it shall be an honest one.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { entries: Arc::new(entries.into_iter().collect()), content: Arc::default() }
    }

    /// Sets what `path` reads as. If that is shorter than the entry says, reads come out short.
    #[must_use]
    pub fn with_content(mut self, path: TreePath, content: impl Into<Bytes>) -> Self {
        Arc::make_mut(&mut self.content).insert(path, content.into());
        self
    }

    fn size(&self, path: &TreePath) -> Option<u64> {
        self.entries.iter().find(|e| e.path == *path).and_then(|entry| match entry.kind {
            EntryKind::File { size, .. } => Some(size),
            _ => None,
        })
    }
}

#[async_trait]
impl TreeSource for MemoryTree {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let entries = Arc::clone(&self.entries);
        futures::stream::iter((0..entries.len()).map(move |index| Ok(entries[index].clone())))
            .filter(move |entry| {
                let wanted = match (&after, entry) {
                    (Some(after), Ok(entry)) => entry.path > *after,
                    _ => true,
                };
                std::future::ready(wanted)
            })
            .boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        Ok(self.entries.iter().find(|entry| entry.path == *path).cloned())
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(content) = self.content.get(path) {
            let end = index(range.end).min(content.len());
            return Ok(content.slice(index(range.start).min(end)..end));
        }
        let size = self
            .size(path)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "not a file of this tree").during("read", path))?;
        let end = range.end.min(size);
        Ok(Bytes::from(vec![0; index(end.saturating_sub(range.start))]))
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}
