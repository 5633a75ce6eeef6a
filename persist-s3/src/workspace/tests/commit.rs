//! A directory as the tree of a commit; also of the tests in `tests/workspace`.

use super::hydrate::{Contents, Referenced};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use persist_core::{
    Error, ErrorKind, Result,
    tree::{DirectoryTree, Entry, EntryKind, TreePath, TreeSource, TreeTotals},
};
use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// A directory as the tree of a commit, which counts what is read of it.
#[derive(Debug)]
pub(crate) struct Commit {
    tree: DirectoryTree,
    pub(crate) reads: AtomicU64,
    pub(crate) fails_at: AtomicU64,
}

impl Commit {
    pub(crate) fn of(path: &Path) -> Arc<Self> {
        let tree = DirectoryTree::open(path).unwrap();
        Arc::new(Self { tree, reads: AtomicU64::new(0), fails_at: AtomicU64::new(u64::MAX) })
    }

    async fn reference(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut plain = entry.clone();
        let mut content = Bytes::new();
        if let EntryKind::File { size, data } = &mut plain.kind {
            content = self.tree.read(&entry.path, 0..*size).await?;
            *data = None;
        }
        let mut reference = blake3::hash(&content).as_bytes()[..16].to_vec();
        reference.extend(serde_json::to_vec(&plain).unwrap());
        Ok(reference)
    }
}

#[async_trait]
impl TreeSource for Commit {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        self.tree.entries(after)
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.tree.entry(path).await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        if self.reads.fetch_add(1, Relaxed) >= self.fails_at.load(Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "the bucket does not answer"));
        }
        self.tree.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}

impl Referenced for Commit {
    fn referenced(&self, after: Option<TreePath>) -> BoxStream<'static, Result<(Entry, Vec<u8>)>> {
        let this = Arc::new(Self {
            tree: self.tree.clone(),
            reads: AtomicU64::new(0),
            fails_at: AtomicU64::new(u64::MAX),
        });
        let refer = move |entry: Result<Entry>| {
            let this = Arc::clone(&this);
            async move {
                let entry = entry?;
                let reference = this.reference(&entry).await?;
                Ok((entry, reference))
            }
        };
        self.tree.entries(after).then(refer).boxed()
    }

    fn contents(&self, one: &[u8], other: &[u8]) -> Contents {
        if one[..16] == other[..16] { Contents::Same } else { Contents::Unknown }
    }
}
