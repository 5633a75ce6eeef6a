//! Comparing two trees: what was added, removed, changed, or differs in metadata alone.
//!
//! [`compare`] merges two sources entry by entry and proves as much as it is asked to.
//! [`compare_directories`] looks at two directories of this host through stat(2) alone, in parallel.

mod content;
mod directories;

mod judge;
mod merge;

pub use directories::compare_directories;

use super::entry::TreePath;
use super::source::TreeSource;
use crate::{error::Result, progress::Meter};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use std::sync::Arc;

/// How many pairs of entries are judged at a time: hides the latency of a distant source, and bounds
/// memory at twice this many reads of [`content::CHUNK_BYTES`].
const JUDGED_AT_ONCE: usize = 8;

/// One difference between two trees.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeChange {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: ChangeKind,
}

/// How an entry differs between the tree before and the tree after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is only in the tree after.
    Added,
    /// It is only in the tree before.
    Removed,
    /// It is another kind of entry or has another content; every aspect that differs.
    Changed(Aspects),
    /// Kind and content are as they were; the aspects that differ.
    MetadataOnly(Aspects),
}

bitflags::bitflags! {
    /// What can differ between two entries of the same path.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct Aspects: u32 {
        /// The kind of entry.
        const KIND = 1;
        /// The content of a file, the target of a symbolic link, the number of a device.
        const CONTENT = 1 << 1;
        /// The permission bits, set-id and sticky included.
        const MODE = 1 << 2;
        /// The owner.
        const UID = 1 << 3;
        /// The group.
        const GID = 1 << 4;
        /// The modification time, to the nanosecond.
        const MTIME = 1 << 5;
        /// The inode flags that are kept.
        const FLAGS = 1 << 6;
        /// Extended attributes, ACLs and labels included.
        const XATTRS = 1 << 7;
        /// Which other names the file has in this tree.
        const LINKS = 1 << 8;
        /// Where the holes are; judged only where both sources know. Differs between filesystems
        /// with different block sizes although no byte does.
        const HOLES = 1 << 9;
    }
}

impl Aspects {
    /// The aspects that make a difference a change and not [`ChangeKind::MetadataOnly`].
    pub const SUBSTANCE: Self = Self::KIND.union(Self::CONTENT);

    /// All that stat(2) shows: what [`compare_directories`] can judge.
    pub const STAT: Self = Self::SUBSTANCE
        .union(Self::MODE)
        .union(Self::UID)
        .union(Self::GID)
        .union(Self::MTIME)
        .union(Self::FLAGS)
        .union(Self::LINKS);
}

/// How the contents of two files are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompareContent {
    /// By hash where both sources know one of the same algorithm; else a file of the same size and
    /// modification time counts as the same, any other as changed. Reads nothing.
    ///
    /// Proves nothing about a file that was rewritten in place with its time set back.
    Stat,
    /// By hash where both sources know one of the same algorithm, else byte by byte.
    ///
    /// Proves equality as far as the hash is collision-free and the sources are honest about it.
    #[default]
    Known,
    /// Byte by byte, whatever hashes are known. Ranges that are holes on both sides are not read.
    ///
    /// Proves equality of every byte as the sources give it.
    Bytes,
}

/// How two trees are compared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompareOptions {
    /// How contents are compared.
    pub content: CompareContent,
    /// Which aspects count; a difference in no other is not reported.
    pub aspects: Aspects,
    /// Counts pairs of entries and compared bytes, and stops the comparison.
    pub meter: Meter,
}

impl Default for CompareOptions {
    /// Every aspect but the place of holes, content by what is [known](CompareContent::Known).
    fn default() -> Self {
        Self {
            content: CompareContent::default(),
            aspects: Aspects::all().difference(Aspects::HOLES),
            meter: Meter::default(),
        }
    }
}

impl CompareOptions {
    /// Every aspect and every byte: what a test of fidelity wants.
    pub fn exact() -> Self {
        Self { content: CompareContent::Bytes, aspects: Aspects::all(), meter: Meter::default() }
    }

    /// Sets [`content`](Self::content).
    #[must_use]
    pub fn with_content(mut self, content: CompareContent) -> Self {
        self.content = content;
        self
    }

    /// Sets [`aspects`](Self::aspects).
    #[must_use]
    pub fn with_aspects(mut self, aspects: Aspects) -> Self {
        self.aspects = aspects;
        self
    }

    /// Sets [`meter`](Self::meter).
    #[must_use]
    pub fn with_meter(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }
}

/// The differences between two trees, in path order.
///
/// # Promise
/// Memory is bounded whatever the size of the trees: both are read once, as streams. Every difference in
/// the asked aspects is reported; what the content mode proves is said at [`CompareContent`].
///
/// # Concurrency
/// Reads a few files of both sources at a time.
///
/// # Cancellation
/// Drop the stream, or stop the meter: then the stream ends with its error.
///
/// # Errors
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) if a source gives its entries out of path order, a
/// path twice, or fewer bytes than it said; otherwise as the sources report. The stream ends after its
/// first error.
pub fn compare(
    before: Arc<dyn TreeSource>,
    after: Arc<dyn TreeSource>,
    options: CompareOptions,
) -> BoxStream<'static, Result<TreeChange>> {
    merge::pairs(before.entries(None), after.entries(None))
        .map_ok(move |pair| judge::judge(pair, Arc::clone(&before), Arc::clone(&after), options.clone()))
        .try_buffered(JUDGED_AT_ONCE)
        .try_filter_map(async |change| Ok(change))
        .boxed()
}

#[cfg(test)]
#[cfg(feature = "conformance")]
mod tests {
    use super::*;
    use crate::{
        error::ErrorKind,
        tree::{
            entry::{Entry, EntryKind, Metadata},
            sample::MemoryTree,
        },
    };

    fn tree(files: &[(&str, &'static [u8])]) -> Arc<MemoryTree> {
        let path = |p: &str| TreePath::new(p).unwrap();
        let root = Entry::new(TreePath::root(), EntryKind::Directory, Metadata::default());
        let file = |(p, bytes): &(&str, &[u8])| {
            let size = bytes.len().try_into().unwrap();
            Entry::new(path(p), EntryKind::File { size, data: None }, Metadata::default())
        };
        let tree = MemoryTree::new(std::iter::once(root).chain(files.iter().map(file)));
        Arc::new(files.iter().fold(tree, |tree, (p, bytes)| tree.with_content(path(p), *bytes)))
    }

    async fn changes(a: &Arc<MemoryTree>, b: &Arc<MemoryTree>, content: CompareContent) -> Vec<TreeChange> {
        let options = CompareOptions::default().with_content(content);
        compare(a.clone(), b.clone(), options).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn bytes_find_a_rewrite_that_stat_cannot_see() {
        let before = tree(&[("a", b"one"), ("b", b"two"), ("d", b"gone")]);
        let after = tree(&[("a", b"one"), ("b", b"TWO"), ("c", b"new")]);
        let at = |path, kind| TreeChange { path: TreePath::new(path).unwrap(), kind };
        let both = [at("c", ChangeKind::Added), at("d", ChangeKind::Removed)];
        assert_eq!(changes(&before, &after, CompareContent::Stat).await, both);
        let rewritten = at("b", ChangeKind::Changed(Aspects::CONTENT));
        let all = [rewritten, both[0].clone(), both[1].clone()];
        assert_eq!(changes(&before, &after, CompareContent::Known).await, all);
        assert_eq!(changes(&before, &before, CompareContent::Bytes).await, []);
    }

    #[tokio::test]
    async fn a_source_that_gives_fewer_bytes_than_it_announced_is_corrupt() {
        let (honest, short) = (tree(&[("a", b"four")]), tree(&[("a", b"four")]));
        let short: Arc<dyn TreeSource> =
            Arc::new((*short).clone().with_content(TreePath::new("a").unwrap(), b"fou".as_slice()));
        let changes = compare(honest, short, CompareOptions::exact());
        assert_eq!(changes.try_collect::<Vec<_>>().await.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[tokio::test]
    async fn a_stopped_meter_ends_the_comparison() {
        let meter = Meter::default();
        meter.stop();
        let changes = compare(tree(&[]), tree(&[]), CompareOptions::default().with_meter(meter));
        assert_eq!(changes.try_collect::<Vec<_>>().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
