//! Pages in memory, counted; entries to fill trees with.

use crate::format::{
    crypt::ChunkSecret,
    location::{ChunkId, ChunkRef, Location, PackIndex, TreeRoot},
    tree::{Change, Content, Cut, PageSink, Pages, StoredEntry, Tree, TreeBuilder, TreeFormat, rewrite},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use persist_core::{
    Error, Result,
    tree::{DataRange, Entry, EntryKind, Metadata, TreePath, Xattr},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

/// Keeps pages by content, so that equal trees have equal locations too.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pages: Arc<Mutex<HashMap<Location, Bytes>>>,
    pub(super) reads: Arc<AtomicUsize>,
    pub(super) puts: Arc<AtomicUsize>,
    pub(super) put_bytes: Arc<AtomicUsize>,
}

impl Store {
    pub(super) fn reset(&self) {
        [&self.reads, &self.puts, &self.put_bytes].iter().for_each(|counter| counter.store(0, Relaxed));
    }

    pub(super) fn shared(&self) -> Arc<dyn Pages> {
        Arc::new(self.clone())
    }

    pub(super) fn pages(&self) -> Vec<(Location, Bytes)> {
        self.pages.lock().unwrap().iter().map(|(at, page)| (*at, page.clone())).collect()
    }

    /// Puts other bytes where a page was.
    pub(super) fn plant(&self, at: Location, page: Vec<u8>) {
        self.pages.lock().unwrap().insert(at, page.into());
    }
}

#[async_trait]
impl Pages for Store {
    async fn page(&self, at: &Location) -> Result<Bytes> {
        self.reads.fetch_add(1, Relaxed);
        self.pages.lock().unwrap().get(at).cloned().ok_or_else(|| Error::not_found("no page here"))
    }

    fn plan(&self, _: &[Location]) {}
}

impl PageSink for Store {
    fn put(&mut self, page: &[u8]) -> Result<Location> {
        self.puts.fetch_add(1, Relaxed);
        self.put_bytes.fetch_add(page.len(), Relaxed);
        let hash = blake3::hash(page);
        let part = |n: usize| u32::from_le_bytes(hash.as_bytes()[n * 4..n * 4 + 4].try_into().unwrap());
        let bytes = u32::try_from(page.len()).unwrap();
        let at = Location {
            pack: PackIndex(part(0)),
            frame_offset: part(1),
            frame_bytes: bytes,
            offset: part(2) % 3,
            bytes,
        };
        self.pages.lock().unwrap().insert(at, Bytes::copy_from_slice(page));
        Ok(at)
    }
}

/// Pages of a few entries, so that small trees are deep.
pub(super) fn small() -> TreeFormat {
    TreeFormat { cut: Cut { from_bytes: 150, to_bytes: 700, mask: 3 }, ..standard(7) }
}

pub(super) fn standard(secret: u8) -> TreeFormat {
    TreeFormat::new(&ChunkSecret::new([secret; 32]))
}

pub(super) fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

pub(super) fn chunk(n: u32, bytes: u32) -> ChunkRef {
    let id = ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    let at = Location { pack: PackIndex(n / 1000), frame_offset: n, frame_bytes: 9, offset: 0, bytes };
    ChunkRef { id, at }
}

/// A file of one chunk, or an empty one.
pub(super) fn file(at: &str, n: u32, bytes: u32) -> StoredEntry {
    let kind = EntryKind::File { size: bytes.into(), data: None };
    let metadata = Metadata { mode: 0o644, mtime_s: 1_700_000_000 + i64::from(n), ..Metadata::default() };
    let chunks = if bytes == 0 { Vec::new() } else { vec![chunk(n, bytes)] };
    StoredEntry::new(Entry::new(path(at), kind, metadata)).with_content(Content::Chunks(chunks))
}

pub(super) type Model = BTreeMap<TreePath, StoredEntry>;

pub(super) fn model(entries: impl IntoIterator<Item = StoredEntry>) -> Model {
    entries.into_iter().map(|stored| (stored.entry.path.clone(), stored)).collect()
}

/// `count` files in directories of a hundred.
pub(super) fn many(count: u32) -> Model {
    model((0..count).map(|n| file(&format!("d{:04}/some file {:02}", n / 100, n % 100), n, 1000 + n)))
}

pub(super) fn build(format: &TreeFormat, store: &Store, entries: &Model) -> TreeRoot {
    let mut sink = store.clone();
    let mut builder = TreeBuilder::new(format, &mut sink);
    entries.values().for_each(|stored| builder.push(stored.clone()).unwrap());
    builder.finish().unwrap()
}

pub(super) async fn changed(
    format: &TreeFormat,
    store: &Store,
    base: &TreeRoot,
    changes: Vec<Change>,
) -> Result<TreeRoot> {
    let changes = futures::stream::iter(changes.into_iter().map(Ok));
    rewrite(format, store.shared(), &mut store.clone(), base, changes).await
}

pub(super) async fn all(tree: &Tree) -> Result<Vec<StoredEntry>> {
    tree.entries(None).try_collect().await
}

pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Paths that share much, nest, and order unlike their bytes.
pub(super) fn any_path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec("[a-c.!]{0,2}[a-e]", 0..4).prop_map(|parts| path(&parts.join("/")))
}

pub(super) fn any_entry(at: TreePath) -> impl Strategy<Value = StoredEntry> {
    (any_body(), any_metadata()).prop_map(move |((kind, content), metadata)| {
        let mut entry = Entry::new(at.clone(), kind, metadata);
        if matches!(entry.kind, EntryKind::Fifo) && !at.is_root() {
            entry.link = at.parent().filter(|parent| !parent.is_root()).or(Some(at.clone()));
        }
        StoredEntry::new(entry).with_content(content)
    })
}

fn any_metadata() -> impl Strategy<Value = Metadata> {
    let small = || prop_oneof![4 => 0..3_u32, 1 => any::<u32>()];
    let time = prop_oneof![Just(1_700_000_000_i64), Just(-5), any::<i64>()];
    let value = prop_oneof![9 => prop::collection::vec(any::<u8>(), 0..9), 1 => Just(vec![9; 1500])];
    let xattrs = prop::collection::btree_map("user\\.[a-c]", value, 0..3);
    (0..0o10000_u32, small(), small(), time, 0..1_000_000_000_u32, small(), xattrs).prop_map(
        |(mode, uid, gid, mtime_s, mtime_ns, flags, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime_s,
            mtime_ns,
            flags,
            xattrs: xattrs
                .into_iter()
                .map(|(name, value)| Xattr { name: name.into_bytes(), value: value.into() })
                .collect(),
        },
    )
}

fn any_body() -> impl Strategy<Value = (EntryKind, Content)> {
    prop_oneof![
        2 => Just((EntryKind::Directory, Content::NONE)),
        1 => "[a-z/]{1,30}".prop_map(|to| (EntryKind::Symlink { target: to.into_bytes() }, Content::NONE)),
        1 => Just((EntryKind::Fifo, Content::NONE)),
        1 => Just((EntryKind::Socket, Content::NONE)),
        1 => any::<u64>().prop_map(|device| (EntryKind::CharacterDevice { device }, Content::NONE)),
        1 => any::<u64>().prop_map(|device| (EntryKind::BlockDevice { device }, Content::NONE)),
        8 => any_file(),
    ]
}

fn any_file() -> impl Strategy<Value = (EntryKind, Content)> {
    let ranges = prop::collection::vec((1..9_u64, 1..9_u64), 0..5);
    let chunks = prop_oneof![6 => 0..3_usize, 1 => 14..40_usize];
    (chunks, 0..1000_u32, prop::option::of(ranges), 0..5_u64).prop_map(|(count, n, ranges, tail)| {
        let Some(ranges) = ranges else {
            let chunks: Vec<_> = (0..count).map(|k| chunk(n + u32::try_from(k).unwrap(), 5 + n)).collect();
            let content = Content::Chunks(chunks);
            let data = n % 2 == 0;
            let size = content.bytes();
            let whole = if size == 0 { Vec::new() } else { vec![DataRange { offset: 0, length: size }] };
            return (EntryKind::File { size, data: data.then_some(whole) }, content);
        };
        let mut end = 0;
        let mut data = Vec::new();
        for (gap, length) in ranges {
            data.push(DataRange { offset: end + gap, length });
            end += gap + length;
        }
        let bytes: u64 = data.iter().map(|range| range.length).sum();
        let chunks = if bytes == 0 { Vec::new() } else { vec![chunk(n, u32::try_from(bytes).unwrap())] };
        (EntryKind::File { size: end + tail, data: Some(data) }, Content::Chunks(chunks))
    })
}

pub(super) fn any_model(entries: std::ops::Range<usize>) -> impl Strategy<Value = Model> {
    prop::collection::btree_set(any_path(), entries)
        .prop_flat_map(|paths| paths.into_iter().map(any_entry).collect::<Vec<_>>().prop_map(model))
}
