//! Writing pages: entries come in path order, full pages leave, a few pages are in memory.

use super::{
    PageSink, TreeFormat,
    codec::TREE_PATH_MAX_BYTES,
    entry::{
        Attributes, Body, Content, Data, PageRef, Record, StoredEntry, check_ranges, data_bytes,
        is_later_name, refused,
    },
    list::ListBuilder,
    page::{Child, LEVEL_MAX, PageWriter},
    record::{CHUNKS_HERE_MAX, TARGET_MAX_BYTES},
    spill::{RANGES_MAX, put_ranges, put_xattrs, spill, too_large},
};
use crate::format::location::{ChunkId, Location, TreeRoot};
use persist_core::{
    Error, Result,
    tree::{DataRange, Entry, EntryKind, TreePath, TreeTotals},
};
use std::{collections::VecDeque, sync::Arc};

/// Writes a new tree from its entries.
pub struct TreeBuilder<'a> {
    format: TreeFormat,
    sink: &'a mut dyn PageSink,
    spine: Spine,
    last: Option<TreePath>,
}

impl<'a> TreeBuilder<'a> {
    /// An empty tree whose pages go to `sink`.
    pub fn new(format: &TreeFormat, sink: &'a mut dyn PageSink) -> Self {
        Self { format: format.clone(), sink, spine: Spine::new(format), last: None }
    }

    /// Appends the entry that follows in path order.
    ///
    /// # Errors
    /// `Invalid` if it does not follow, or is what no filesystem has; `Exhausted` if it has more of something
    /// than the format keeps; as the sink reports them.
    pub fn push(&mut self, entry: StoredEntry) -> Result<()> {
        if self.last.as_ref().is_some_and(|last| *last >= entry.entry.path) {
            return Err(refused(&entry.entry.path, "entries do not come in path order"));
        }
        self.last = Some(entry.entry.path.clone());
        let record = record(entry, &self.format, &[], self.sink)?;
        self.spine.append_record(&record, self.sink)
    }

    /// Ends the tree.
    ///
    /// # Errors
    /// As the sink reports them.
    pub fn finish(mut self) -> Result<TreeRoot> {
        self.spine.finish(self.sink)
    }
}

impl std::fmt::Debug for TreeBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeBuilder").field("last", &self.last).finish_non_exhaustive()
    }
}

/// The page being filled on every level, the leaf first.
#[derive(Debug)]
pub(super) struct Spine {
    format: TreeFormat,
    levels: Vec<Level>,
    /// Pages of the tree before that were opened lately: one that comes out the same is not written again.
    opened: VecDeque<PageRef>,
}

#[derive(Debug)]
struct Level {
    page: PageWriter,
    /// Whether this is all that the level will have.
    alone: Alone,
    /// The last page of the level below.
    child: Option<Child>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

/// How many opened pages are remembered: the changed page of each level is among the last few.
const OPENED_MAX: usize = 64;

impl Spine {
    pub(super) fn new(format: &TreeFormat) -> Self {
        Self { format: format.clone(), levels: vec![Level::new(0)], opened: VecDeque::new() }
    }

    pub(super) fn append_record(&mut self, record: &Record, sink: &mut dyn PageSink) -> Result<()> {
        self.levels[0].page.put_record(record)?;
        self.cut_after(0, &record.path, sink)
    }

    pub(super) fn append_child(&mut self, level: u8, child: &Child, sink: &mut dyn PageSink) -> Result<()> {
        let above = self.level(level);
        above.page.put_child(child)?;
        above.child = Some(child.clone());
        self.cut_after(level, &child.first, sink)
    }

    /// Whether `level` is between two pages.
    pub(super) fn between_pages(&self, level: u8) -> bool {
        self.levels.get(usize::from(level)).is_none_or(|level| level.page.count() == 0)
    }

    /// `level` has more than what comes here.
    pub(super) fn not_alone(&mut self, level: u8) {
        self.level(level).alone = Alone::No;
    }

    /// Remembers a page that was read from the tree before.
    pub(super) fn remember(&mut self, page: PageRef) {
        if self.opened.len() == OPENED_MAX {
            self.opened.pop_front();
        }
        self.opened.push_back(page);
    }

    pub(super) fn finish(&mut self, sink: &mut dyn PageSink) -> Result<TreeRoot> {
        let mut level = 0_u8;
        while usize::from(level) < self.levels.len() {
            let top = &self.levels[usize::from(level)];
            if let Some(height) = level.checked_sub(1)
                && top.alone == Alone::Yes
                && top.page.count() == 1
                && let Some(Child { page, totals, .. }) = &top.child
            {
                return Ok(TreeRoot { at: page.at, id: page.id, totals: *totals, height });
            }
            if top.page.count() > 0 {
                self.cut(level, sink)?;
            }
            level += 1;
        }
        self.empty(sink)
    }

    /// A tree of no entries is one leaf without any.
    fn empty(&mut self, sink: &mut dyn PageSink) -> Result<TreeRoot> {
        let filled = PageWriter::new(0).take();
        let PageRef { id, at } = self.place(&filled.bytes, sink)?;
        Ok(TreeRoot { at, id, totals: TreeTotals::default(), height: 0 })
    }

    fn cut_after(&mut self, level: u8, path: &TreePath, sink: &mut dyn PageSink) -> Result<()> {
        let page = &self.levels[usize::from(level)].page;
        if self.format.ends(level, path, page.count(), page.body_bytes()) {
            self.cut(level, sink)?;
        }
        Ok(())
    }

    fn cut(&mut self, level: u8, sink: &mut dyn PageSink) -> Result<()> {
        if level > LEVEL_MAX {
            return Err(Error::internal("a tree is too deep"));
        }
        let filled = self.levels[usize::from(level)].page.take();
        self.not_alone(level);
        let page = self.place(&filled.bytes, sink)?;
        self.append_child(level + 1, &Child { first: filled.first, page, totals: filled.totals }, sink)
    }

    fn level(&mut self, level: u8) -> &mut Level {
        let known = u8::try_from(self.levels.len()).unwrap_or(u8::MAX);
        self.levels.extend((known..=level).map(Level::new));
        &mut self.levels[usize::from(level)]
    }

    fn place(&self, page: &[u8], sink: &mut dyn PageSink) -> Result<PageRef> {
        let id: ChunkId = self.format.id(page);
        if let Some(known) = self.opened.iter().rev().find(|opened| opened.id == id) {
            return Ok(*known);
        }
        let at: Location = sink.put(page)?;
        Ok(PageRef { id, at })
    }
}

impl Level {
    fn new(number: u8) -> Self {
        Self { page: PageWriter::new(number), alone: Alone::Yes, child: None }
    }
}

/// The entry as a page holds it; what is too large for a page goes to `sink`, except for pages that are among
/// `before`.
pub(super) fn record(
    stored: StoredEntry,
    format: &TreeFormat,
    before: &[PageRef],
    sink: &mut dyn PageSink,
) -> Result<Record> {
    check(&stored.entry)?;
    let later = is_later_name(&stored.entry);
    let StoredEntry { entry: Entry { path, kind, metadata, link, .. }, content } = stored;
    let named = |e: Error| e.during("write tree", &path);
    let content = if later { Content::NONE } else { content };
    let (mode, uid, gid, flags) = (metadata.mode, metadata.uid, metadata.gid, metadata.flags);
    let xattrs = spill(metadata.xattrs, put_xattrs, format, sink).map_err(named)?;
    let body = match kind {
        EntryKind::File { size, data } => {
            let bytes = data_bytes(size, data.as_deref());
            if !later && bytes != content.bytes() {
                return Err(refused(&path, "its chunks are not its data").context("data", bytes));
            }
            let data = place_ranges(size, data, format, sink).map_err(named)?;
            Body::File { size, data, content: place_chunks(content, format, before, sink).map_err(named)? }
        }
        EntryKind::Directory => Body::Directory,
        EntryKind::Symlink { target } => Body::Symlink(target),
        EntryKind::Fifo => Body::Fifo,
        EntryKind::Socket => Body::Socket,
        EntryKind::CharacterDevice { device } => Body::CharacterDevice(device),
        EntryKind::BlockDevice { device } => Body::BlockDevice(device),
        _ => return Err(refused(&path, "an entry of a kind that this format does not have")),
    };
    let attributes = Arc::new(Attributes { mode, uid, gid, flags, xattrs });
    let (mtime_s, mtime_ns) = (metadata.mtime_s, metadata.mtime_ns);
    Ok(Record { path, link, attributes, mtime_s, mtime_ns, body })
}

/// What a reader would refuse is never written.
fn check(entry: &Entry) -> Result<()> {
    let Entry { path, metadata, .. } = entry;
    let why = match &entry.kind {
        _ if path.as_bytes().len() > TREE_PATH_MAX_BYTES => {
            let used = path.as_bytes().len();
            let shown: String = path.to_string().chars().take(100).collect();
            return Err(too_large("bytes of a path", used, TREE_PATH_MAX_BYTES).during("write tree", shown));
        }
        _ if metadata.mode > 0o7777 => "its mode has bits that no mode has",
        _ if metadata.mtime_ns > 999_999_999 => "its time has more than a second of nanoseconds",
        _ if !metadata.xattrs.is_sorted_by(|a, b| a.name < b.name) => "its attributes are not sorted",
        _ if entry.link.as_ref().is_some_and(|first| *first > *path) => "it is a link to what comes later",
        EntryKind::Directory if entry.link.is_some() => "a directory has one name",
        EntryKind::Symlink { target }
            if target.is_empty() || target.len() > TARGET_MAX_BYTES || target.contains(&0) =>
        {
            "its target is none"
        }
        EntryKind::File { size, .. } if i64::try_from(*size).is_err() => "it is larger than a file can be",
        EntryKind::File { size, data: Some(ranges) } => match check_ranges(*size, ranges) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        },
        _ => return Ok(()),
    };
    Err(refused(path, why))
}

fn place_ranges(
    size: u64,
    data: Option<Vec<DataRange>>,
    format: &TreeFormat,
    sink: &mut dyn PageSink,
) -> Result<Data> {
    let Some(ranges) = data else { return Ok(Data::Unknown) };
    let whole = match ranges.as_slice() {
        [] => size == 0,
        [range] => range.offset == 0 && range.length == size,
        _ => false,
    };
    if whole {
        return Ok(Data::Whole);
    }
    if ranges.len() > RANGES_MAX {
        let error = too_large("ranges of data", ranges.len(), RANGES_MAX);
        return Err(error.advise("take short holes for data"));
    }
    Ok(Data::Ranges(spill(ranges, put_ranges, format, sink)?))
}

fn place_chunks(
    content: Content,
    format: &TreeFormat,
    before: &[PageRef],
    sink: &mut dyn PageSink,
) -> Result<Content> {
    match content {
        Content::Chunks(chunks) if chunks.len() > CHUNKS_HERE_MAX => {
            let mut list = ListBuilder::new(format).reusing(before);
            chunks.into_iter().try_for_each(|chunk| list.push(chunk, sink))?;
            list.finish(sink)
        }
        content => Ok(content),
    }
}
