//! The pages of a tree: entries in leaves, and above them which page holds what follows which path.

use super::{
    codec::{Length, Neighbour, Reader, corrupt, put_number, put_path},
    entry::{PageRef, Record},
    record::{RecordReader, RecordWriter},
};
use bytes::Bytes;
use persist_core::{
    Error, Result,
    tree::{TreePath, TreeTotals},
};
use std::mem;

/// The version of every page that this format has.
pub(super) const VERSION: u8 = 1;

/// The most that a page is, in bytes: what ends a page, and one entry with the longest path, link, target
/// and lists. Nothing larger is taken apart.
pub const PAGE_MAX_BYTES: usize = 512 << 10;

/// Levels above the leaves at most. A page but the last of its level has two entries or more, so thirty-one
/// levels hold 2^31 times what fits in a leaf.
pub const LEVEL_MAX: u8 = 31;

/// What a page is, as its second byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A page of the tree, so many levels above the leaves.
    Tree(u8),
    /// A part of a list of attributes or ranges.
    Part,
    /// A page of a list of chunks, so many levels above those that hold chunks.
    List(u8),
}

const PART: u8 = 0x80;
const LIST: u8 = 0xc0;

impl Kind {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Tree(level) => level,
            Self::Part => PART,
            Self::List(level) => LIST | level,
        }
    }
}

/// A page of a level, as the level above holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) first: TreePath,
    pub(super) page: PageRef,
    pub(super) totals: TreeTotals,
}

/// What a page holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Page {
    Leaf(Vec<Record>),
    Inner(Vec<Child>),
}

impl Page {
    /// Reads a page of the tree on `level`.
    ///
    /// # Errors
    /// `Corrupt` for anything that is not a whole page of that level in path order.
    pub(super) fn decode(bytes: &[u8], level: u8) -> Result<Self> {
        let mut reader = open(bytes, Kind::Tree(level))?;
        let page = if level == 0 {
            let count = reader.count(LEAF_ENTRY_MIN_BYTES)?;
            let mut records = RecordReader::default();
            Self::Leaf((0..count).map(|_| records.read(&mut reader)).collect::<Result<_>>()?)
        } else {
            let count = reader.count(INNER_ENTRY_MIN_BYTES)?;
            let mut children = ChildReader::default();
            Self::Inner((0..count).map(|_| children.read(&mut reader)).collect::<Result<_>>()?)
        };
        reader.end()?;
        page.check_order()?;
        Ok(page)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Leaf(records) => records.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// The path of the entry `index`, or the first path of the page that it is.
    pub(super) fn path(&self, index: usize) -> Option<&TreePath> {
        match self {
            Self::Leaf(records) => records.get(index).map(|record| &record.path),
            Self::Inner(children) => children.get(index).map(|child| &child.first),
        }
    }

    pub(super) fn children(&self) -> &[Child] {
        match self {
            Self::Leaf(_) => &[],
            Self::Inner(children) => children,
        }
    }

    pub(super) fn records(&self) -> &[Record] {
        match self {
            Self::Leaf(records) => records,
            Self::Inner(_) => &[],
        }
    }

    pub(super) fn totals(&self) -> Option<TreeTotals> {
        let mut sum = Some(TreeTotals::default());
        for totals in
            self.records().iter().map(Record::totals).chain(self.children().iter().map(|c| c.totals))
        {
            sum = sum.and_then(|sum| add(sum, totals));
        }
        sum
    }

    fn check_order(&self) -> Result<()> {
        let sorted = match self {
            Self::Leaf(records) => records.is_sorted_by(|a, b| a.path < b.path),
            Self::Inner(children) => children.is_sorted_by(|a, b| a.first < b.first),
        };
        if sorted { Ok(()) } else { Err(corrupt("its paths are not in order, or one comes twice")) }
    }
}

/// Kind, path, attributes, two parts of a time.
const LEAF_ENTRY_MIN_BYTES: usize = 6;

/// Path, id, location, totals.
const INNER_ENTRY_MIN_BYTES: usize = 2 + 32 + 2 + 2;

/// Opens a page of one kind.
pub(super) fn open(bytes: &[u8], kind: Kind) -> Result<Reader<'_>> {
    if bytes.len() > PAGE_MAX_BYTES {
        return Err(corrupt("it is larger than any page"));
    }
    let mut reader = Reader::new(bytes);
    if reader.byte()? != VERSION {
        return Err(corrupt("it has a version that this format does not have"));
    }
    if reader.byte()? != kind.byte() {
        return Err(corrupt("it is another kind of page than its place says"));
    }
    Ok(reader)
}

/// Both together; nothing if that is more than can be counted.
pub(super) fn add(a: TreeTotals, b: TreeTotals) -> Option<TreeTotals> {
    Some(TreeTotals { files: a.files.checked_add(b.files)?, bytes: a.bytes.checked_add(b.bytes)? })
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct PageWriter {
    level: u8,
    body: Vec<u8>,
    count: u64,
    first: Option<TreePath>,
    totals: TreeTotals,
    records: RecordWriter,
    children: ChildWriter,
}

/// A page that is full.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) bytes: Bytes,
    pub(super) first: TreePath,
    pub(super) totals: TreeTotals,
}

impl PageWriter {
    pub(super) fn new(level: u8) -> Self {
        Self {
            level,
            body: Vec::new(),
            count: 0,
            first: None,
            totals: TreeTotals::default(),
            records: RecordWriter::default(),
            children: ChildWriter::default(),
        }
    }

    pub(super) fn put_record(&mut self, record: &Record) -> Result<()> {
        self.records.put(&mut self.body, record);
        self.counted(&record.path, record.totals())
    }

    pub(super) fn put_child(&mut self, child: &Child) -> Result<()> {
        self.children.put(&mut self.body, child);
        self.counted(&child.first, child.totals)
    }

    fn counted(&mut self, path: &TreePath, totals: TreeTotals) -> Result<()> {
        self.count += 1;
        self.first.get_or_insert_with(|| path.clone());
        let sum = add(self.totals, totals);
        self.totals = sum.ok_or_else(|| Error::invalid("entry", "the tree is larger than can be counted"))?;
        if self.body.len() > PAGE_MAX_BYTES - HEADER_MAX_BYTES {
            return Err(Error::internal("a page is larger than any page").context("bytes", self.body.len()));
        }
        Ok(())
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The bytes of its entries so far.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Gives the page, and begins the next one.
    pub(super) fn take(&mut self) -> Filled {
        let page = mem::replace(self, Self::new(self.level));
        let mut bytes = Vec::with_capacity(page.body.len() + HEADER_MAX_BYTES);
        bytes.extend_from_slice(&[VERSION, Kind::Tree(page.level).byte()]);
        put_number(&mut bytes, page.count);
        bytes.extend_from_slice(&page.body);
        Filled { bytes: bytes.into(), first: page.first.unwrap_or_default(), totals: page.totals }
    }
}

/// Version, kind, and how many entries there are.
const HEADER_MAX_BYTES: usize = 2 + 10;

#[derive(Debug, Default)]
struct ChildWriter {
    path: Vec<u8>,
    neighbour: Neighbour,
}

impl ChildWriter {
    fn put(&mut self, out: &mut Vec<u8>, child: &Child) {
        put_path(out, &self.path, child.first.as_bytes());
        self.path.clear();
        self.path.extend_from_slice(child.first.as_bytes());
        out.extend_from_slice(&child.page.id.0);
        self.neighbour.put(out, child.page.at, Length::Written);
        put_number(out, child.totals.files);
        put_number(out, child.totals.bytes);
    }
}

#[derive(Debug, Default)]
struct ChildReader {
    path: Vec<u8>,
    neighbour: Neighbour,
}

impl ChildReader {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<Child> {
        let first = reader.path(&self.path)?;
        self.path = first.as_bytes().to_vec();
        let id = reader.id()?;
        let at = self.neighbour.read(reader, None)?;
        let totals = TreeTotals { files: reader.number()?, bytes: reader.number()? };
        Ok(Child { first, page: PageRef { id, at }, totals })
    }
}
