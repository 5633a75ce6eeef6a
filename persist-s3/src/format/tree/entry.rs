//! An entry as the tree keeps it: what core says about it, and where its content is.

use super::spill::Blob;
use crate::format::location::{ChunkId, ChunkRef, Location};
use persist_core::{
    Error, Result,
    tree::{DataRange, Entry, EntryKind, Metadata, TreePath, TreeTotals, Xattr},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An entry of a tree with the places of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    /// What it is. Its hash is not stored: whoever knows the volume's secret derives it from the chunks.
    pub entry: Entry,
    /// Its data ranges, one after the other, cut into chunks; holes have none. A further name of a file
    /// ([`is_later_name`]) carries no content: it is read by the first name.
    pub content: Content,
}

/// The chunks of a file's data, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// All of them.
    Chunks(Vec<ChunkRef>),
    /// In pages of their own: too many to keep beside the entry.
    List(ChunkList),
}

/// Where a long list of chunks begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkList {
    /// The page on top.
    pub top: PageRef,
    /// How many levels of pages are below it; zero if it holds chunks.
    pub level: u8,
    /// How many chunks there are.
    pub chunks: u64,
    /// How many bytes of data they are.
    pub bytes: u64,
}

/// A page: what it is, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRef {
    /// What it is; checked on every read.
    pub id: ChunkId,
    /// Where it is.
    pub at: Location,
}

impl StoredEntry {
    /// An entry without content.
    pub fn new(entry: Entry) -> Self {
        Self { entry, content: Content::NONE }
    }

    /// Sets the chunks of its data.
    #[must_use]
    pub fn with_content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }
}

impl Content {
    /// No chunks.
    pub const NONE: Self = Self::Chunks(Vec::new());

    /// How many bytes of data the chunks are.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Chunks(chunks) => chunks.iter().map(|chunk| u64::from(chunk.at.bytes)).sum(),
            Self::List(list) => list.bytes,
        }
    }

    /// Whether both are the same bytes, wherever they lie. Two lists of equal chunks in other pages count as
    /// different.
    pub fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chunks(a), Self::Chunks(b)) => {
                a.iter().map(|c| (c.id, c.at.bytes)).eq(b.iter().map(|c| (c.id, c.at.bytes)))
            }
            (Self::List(a), Self::List(b)) => (a.top.id, a.bytes) == (b.top.id, b.bytes),
            _ => false,
        }
    }
}

/// Whether `entry` is a further name of a file that comes earlier in path order.
pub fn is_later_name(entry: &Entry) -> bool {
    entry.link.as_ref().is_some_and(|first| *first != entry.path)
}

/// An entry as a page holds it: what is too large for a page is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) path: TreePath,
    pub(super) link: Option<TreePath>,
    pub(super) attributes: Arc<Attributes>,
    pub(super) mtime_s: i64,
    pub(super) mtime_ns: u32,
    pub(super) body: Body,
}

/// What many entries of a page have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) flags: u32,
    pub(super) xattrs: Spilled<Xattr>,
}

/// A list beside the entry, or in pages of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spilled<T> {
    Here(Vec<T>),
    Elsewhere(Blob),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Directory,
    File { size: u64, data: Data, content: Content },
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    CharacterDevice(u64),
    BlockDevice(u64),
}

/// Which parts of a file are data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    /// The source could not tell: all of it.
    Unknown,
    /// All of it.
    Whole,
    /// These; the rest is holes.
    Ranges(Spilled<DataRange>),
}

impl Record {
    /// What it adds to the totals of a tree.
    pub(super) fn totals(&self) -> TreeTotals {
        let later = self.link.as_ref().is_some_and(|first| *first != self.path);
        let bytes = match self.body {
            Body::File { size, .. } if !later => size,
            _ => 0,
        };
        TreeTotals { files: 1, bytes }
    }

    /// Whether both are the same entry, wherever its content and its lists lie.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let (a, b) = (&*self.attributes, &*other.attributes);
        (&self.path, &self.link, self.mtime_s, self.mtime_ns)
            == (&other.path, &other.link, other.mtime_s, other.mtime_ns)
            && (a.mode, a.uid, a.gid, a.flags) == (b.mode, b.uid, b.gid, b.flags)
            && a.xattrs.same_as(&b.xattrs)
            && self.body.same_as(&other.body)
    }

    /// The entry, with what was elsewhere read back.
    pub(super) fn whole(self, xattrs: Vec<Xattr>, ranges: Vec<DataRange>) -> StoredEntry {
        let Attributes { mode, uid, gid, flags, .. } = *self.attributes;
        let (mtime_s, mtime_ns) = (self.mtime_s, self.mtime_ns);
        let metadata = Metadata { mode, uid, gid, mtime_s, mtime_ns, flags, xattrs };
        let mut stored = Content::NONE;
        let kind = match self.body {
            Body::Directory => EntryKind::Directory,
            Body::File { size, data, content } => {
                stored = content;
                EntryKind::File { size, data: known(size, &data, ranges) }
            }
            Body::Symlink(target) => EntryKind::Symlink { target },
            Body::Fifo => EntryKind::Fifo,
            Body::Socket => EntryKind::Socket,
            Body::CharacterDevice(device) => EntryKind::CharacterDevice { device },
            Body::BlockDevice(device) => EntryKind::BlockDevice { device },
        };
        let mut entry = Entry::new(self.path, kind, metadata);
        entry.link = self.link;
        StoredEntry { entry, content: stored }
    }
}

impl<T: PartialEq> Spilled<T> {
    fn same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Here(a), Self::Here(b)) => a == b,
            (Self::Elsewhere(a), Self::Elsewhere(b)) => a.same_as(b),
            _ => false,
        }
    }
}

impl Body {
    fn same_as(&self, other: &Self) -> bool {
        let (
            Self::File { size, data, content },
            Self::File { size: size_b, data: data_b, content: content_b },
        ) = (self, other)
        else {
            return self == other;
        };
        let data = match (data, data_b) {
            (Data::Ranges(a), Data::Ranges(b)) => a.same_as(b),
            (a, b) => a == b,
        };
        size == size_b && data && content.same_as(content_b)
    }
}

fn known(size: u64, data: &Data, ranges: Vec<DataRange>) -> Option<Vec<DataRange>> {
    match data {
        Data::Unknown => None,
        Data::Whole if size == 0 => Some(Vec::new()),
        Data::Whole => Some(vec![DataRange { offset: 0, length: size }]),
        Data::Ranges(_) => Some(ranges),
    }
}

/// The bytes of a file that are not in a hole.
pub(super) fn data_bytes(size: u64, data: Option<&[DataRange]>) -> u64 {
    data.map_or(size, |ranges| ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.length)))
}

/// Whether `ranges` can be those of a file of `size` bytes: in order, apart, none empty, none beyond the end.
pub(super) fn check_ranges(size: u64, ranges: &[DataRange]) -> Result<(), &'static str> {
    let mut end = 0;
    for range in ranges {
        if range.length == 0 || range.offset < end {
            return Err("its ranges of data are empty, overlap, or are out of order");
        }
        let next = range.offset.checked_add(range.length).filter(|next| *next <= size);
        end = next.ok_or("it has data beyond its size")?;
    }
    Ok(())
}

/// An entry that the caller may not store.
pub(super) fn refused(path: &TreePath, why: &'static str) -> Error {
    Error::invalid("entry", why).during("write tree", path)
}
