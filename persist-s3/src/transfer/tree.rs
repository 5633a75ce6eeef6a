//! The tree of a commit as every store and engine reads trees.

mod parts;
mod window;

use super::read::Fetcher;
use crate::format::{
    location::{ChunkRef, TreeRoot},
    tree::{Content, PlacedChunk, StoredEntry, Tree, TreeFormat},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use parts::{Parts, Recent, Segment};
use persist_core::{
    Error, Result,
    tree::{ContentHash, Entry, TreePath, TreeSource, TreeTotals},
};
use std::{
    fmt,
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use window::windows;

/// The most that one read gives: far above the chunks of any engine, and no reason to run out of memory.
const READ_MAX_BYTES: u64 = 256 << 20;

/// Chunks of one read that are fetched at a time.
const CHUNKS_AT_ONCE: usize = 4;

/// Reads of at least this length follow one another, as those of an engine do: then more is fetched ahead.
const LONG_READ_BYTES: u64 = 256 << 10;

/// How much of a large file is planned at a time: a few requests.
const PLAN_BYTES: u64 = 32 << 20;

/// The tree of one commit. Cheap to clone.
///
/// # Promise
/// Whoever reads the files in the order in which [`entries`](TreeSource::entries) gives them causes few large
/// requests, made ahead; whoever reads one file causes one request for each page on the way and one for its frame.
/// Memory is what the [`Fetcher`] is allowed, and some MiB of pages and entries.
#[derive(Clone)]
pub(crate) struct CommitTree {
    inner: Arc<Inner>,
}

struct Inner {
    tree: Tree,
    fetcher: Arc<Fetcher>,
    /// Names the volume's way of hashing: ids of another lineage say nothing about these.
    algorithm: String,
    recent: Mutex<Recent>,
}

impl CommitTree {
    /// The tree at `root`, read through `fetcher`.
    pub(crate) fn new(format: &TreeFormat, fetcher: Arc<Fetcher>, root: &TreeRoot) -> Self {
        let tree = Tree::new(format, Arc::clone(&fetcher) as _, root);
        let algorithm = format!("blake3 keyed {:.16}", fetcher.ids().id(KEY_NAME).to_string());
        Self { inner: Arc::new(Inner { tree, fetcher, algorithm, recent: Mutex::default() }) }
    }

    /// The entries with the places of their content, for whoever commits on top of them.
    pub(crate) fn tree(&self) -> &Tree {
        &self.inner.tree
    }
}

/// Its id tells keys apart and nothing else.
const KEY_NAME: &[u8] = b"persist-s3 which key";

impl Inner {
    /// What core may know of an entry; the file's parts are remembered for the reads that follow.
    fn shown(&self, stored: StoredEntry) -> Entry {
        let StoredEntry { mut entry, content } = stored;
        entry.hash = self.hash(&entry, &content);
        if let Some(parts) = Parts::of(&entry, content) {
            self.recent().add(entry.path.clone(), Arc::new(parts));
        }
        entry
    }

    /// The id of a file that is one chunk, whole: then it is the hash of all of its bytes.
    fn hash(&self, entry: &Entry, content: &Content) -> Option<ContentHash> {
        let Content::Chunks(chunks) = content else { return None };
        let [only] = chunks.as_slice() else { return None };
        let whole = u64::from(only.at.bytes) == entry.size();
        whole.then(|| ContentHash { algorithm: self.algorithm.clone(), digest: only.id.0.to_vec() })
    }

    /// The parts of the file at `path`; of its first name, if it has several.
    async fn parts(&self, path: &TreePath) -> Result<Arc<Parts>> {
        let mut at = path.clone();
        // A further name leads to the first one, and that to none.
        for _ in 0..2 {
            if let Some(parts) = self.recent().get(&at) {
                return Ok(parts);
            }
            let found = self.tree.lookup(&at).await?;
            let Some(StoredEntry { entry, content }) = found else {
                return Err(Error::not_found("no such file in this tree").during("read", path));
            };
            if let Some(first) = entry.link.as_ref().filter(|first| **first != at) {
                at = first.clone();
                continue;
            }
            let parts = Parts::of(&entry, content)
                .ok_or_else(|| Error::invalid("path", "not a file of this tree").during("read", path))?;
            let parts = Arc::new(parts);
            self.recent().add(at, Arc::clone(&parts));
            return Ok(parts);
        }
        Err(Error::new(persist_core::ErrorKind::Corrupt, "a further name leads to another one")
            .during("read", path)
            .advise("stop and keep the evidence: verify the volume"))
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        let parts = self.parts(path).await?;
        let range = range.start.min(parts.size)..range.end.min(parts.size);
        let length = range.end.saturating_sub(range.start);
        if length > READ_MAX_BYTES {
            return Err(Error::invalid("range", "longer than 256 MiB")
                .during("read", path)
                .advise("read in parts"));
        }
        let mut out = BytesMut::zeroed(usize::try_from(length).unwrap_or(0));
        for segment in parts.segments(&range) {
            if length >= LONG_READ_BYTES {
                self.plan(&parts, &segment).await?;
            }
            self.fill(&parts, &segment, &mut out).await.map_err(|e| e.context("path", path))?;
        }
        Ok(out.freeze())
    }

    /// Copies a segment of data to its place in `out`.
    async fn fill(&self, parts: &Parts, segment: &Segment, out: &mut BytesMut) -> Result<()> {
        let mut chunks = self
            .tree
            .chunks(&parts.content, segment.data.clone())
            .map_ok(|placed| async move { Ok((placed, self.fetcher.chunk(&placed.chunk).await?)) })
            .try_buffered(CHUNKS_AT_ONCE);
        let mut filled = segment.data.start;
        while let Some((PlacedChunk { start, .. }, bytes)) = chunks.try_next().await? {
            let skipped = usize::try_from(filled.saturating_sub(start)).unwrap_or(usize::MAX);
            let wanted = usize::try_from(segment.data.end - filled).unwrap_or(usize::MAX);
            let Some(piece) = bytes.get(skipped..bytes.len().min(skipped.saturating_add(wanted))) else {
                break;
            };
            let to = segment.to + usize::try_from(filled - segment.data.start).unwrap_or(usize::MAX);
            let Some(place) = out.get_mut(to..to.saturating_add(piece.len())) else { break };
            place.copy_from_slice(piece);
            filled += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        }
        if filled == segment.data.end {
            return Ok(());
        }
        Err(Error::new(persist_core::ErrorKind::Corrupt, "a file has fewer chunks than data")
            .advise("stop and keep the evidence: verify the volume"))
    }

    /// Plans what follows in a large file, at its beginning and every [`PLAN_BYTES`].
    async fn plan(&self, parts: &Parts, segment: &Segment) -> Result<()> {
        let Range { start, end } = segment.data;
        let due = start.next_multiple_of(PLAN_BYTES);
        if due >= end || parts.content.bytes() <= LONG_READ_BYTES {
            return Ok(());
        }
        // From here, so that what comes before the mark is part of it, and into the next stretch.
        let ahead = self.tree.chunks(&parts.content, start..due.saturating_add(2 * PLAN_BYTES));
        let chunks: Vec<ChunkRef> = ahead.map_ok(|placed| placed.chunk).try_collect().await?;
        self.fetcher.plan(&chunks);
        Ok(())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TreeSource for CommitTree {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let inner = Arc::clone(&self.inner);
        windows(self.inner.tree.entries(after), Arc::clone(&self.inner.fetcher))
            .map_ok(move |stored| inner.shown(stored))
            .boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        Ok(self.inner.tree.lookup(path).await?.map(|stored| self.inner.shown(stored)))
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.inner.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        Some(self.inner.tree.totals())
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}

impl fmt::Debug for CommitTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitTree").field("root", self.inner.tree.root()).finish_non_exhaustive()
    }
}
