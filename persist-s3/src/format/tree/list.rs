//! Long lists of chunks: pages of chunks, and pages above them, cut by the ids in them.

use super::{
    PageSink, Pages, TreeFormat,
    codec::{Length, Neighbour, Reader, corrupt, put_number},
    entry::{ChunkList, Content, PageRef},
    page::{Kind, VERSION, open},
    record::CHUNKS_HERE_MAX,
    spill::{named, put_page_ref, read_page_ref},
};
use crate::format::location::{ChunkId, ChunkRef, Location};
use futures::stream::{BoxStream, StreamExt};
use persist_core::{Error, Result};
use std::{collections::HashMap, mem, ops::Range, sync::Arc};

/// Levels above the pages of chunks at most: 2^15 times what fits in a page, in the worst case of two entries
/// a page; in practice three levels hold a file of an exbibyte.
pub(super) const LIST_LEVEL_MAX: u8 = 15;

/// Id, location, length.
const CHUNK_MIN_BYTES: usize = 32 + 2;

/// Id, location, count, bytes.
const CHILD_MIN_BYTES: usize = 32 + 5 + 2;

/// A chunk, and where it begins in its file's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedChunk {
    /// Where it begins, in bytes of data: holes before it not counted.
    pub start: u64,
    /// What and where it is.
    pub chunk: ChunkRef,
}

/// Takes a file's chunks in order, whatever their number, with a few pages of memory.
#[derive(Debug)]
pub struct ListBuilder {
    format: TreeFormat,
    /// The first chunks: a short list never becomes a page.
    here: Vec<ChunkRef>,
    levels: Vec<Level>,
    /// Pages that are there already.
    known: HashMap<ChunkId, Location>,
}

#[derive(Debug, Default)]
struct Level {
    body: Vec<u8>,
    count: u64,
    neighbour: Neighbour,
    chunks: u64,
    bytes: u64,
    pages: u64,
    only: Option<ChildList>,
}

/// A page of a list as the level above holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChildList {
    page: PageRef,
    chunks: u64,
    bytes: u64,
}

impl ListBuilder {
    /// An empty list.
    pub fn new(format: &TreeFormat) -> Self {
        Self { format: format.clone(), here: Vec::new(), levels: Vec::new(), known: HashMap::new() }
    }

    /// An empty list that writes no page which is among `before`: those of the file's list at the last commit.
    #[must_use]
    pub fn reusing(mut self, before: &[PageRef]) -> Self {
        self.known.extend(before.iter().map(|page| (page.id, page.at)));
        self
    }

    /// Appends a chunk.
    ///
    /// # Errors
    /// As the sink reports them; `Invalid` if the file is larger than can be counted.
    pub fn push(&mut self, chunk: ChunkRef, sink: &mut dyn PageSink) -> Result<()> {
        if self.levels.is_empty() && self.here.len() < CHUNKS_HERE_MAX {
            self.here.push(chunk);
            return Ok(());
        }
        for chunk in mem::take(&mut self.here) {
            self.append_chunk(chunk, sink)?;
        }
        self.append_chunk(chunk, sink)
    }

    /// Ends the list.
    ///
    /// # Errors
    /// As the sink reports them.
    pub fn finish(mut self, sink: &mut dyn PageSink) -> Result<Content> {
        let mut level = 0;
        while level < self.levels.len() {
            let top = &self.levels[level];
            if level > 0
                && top.pages == 0
                && top.count == 1
                && let Some(only) = top.only
            {
                let level = u8::try_from(level - 1).map_err(|_| too_deep())?;
                let ChildList { page, chunks, bytes } = only;
                return Ok(Content::List(ChunkList { top: page, level, chunks, bytes }));
            }
            if top.count > 0 {
                self.cut(level, sink)?;
            }
            level += 1;
        }
        Ok(Content::Chunks(self.here))
    }

    fn append_chunk(&mut self, chunk: ChunkRef, sink: &mut dyn PageSink) -> Result<()> {
        let level = self.level(0);
        level.body.extend_from_slice(&chunk.id.0);
        level.neighbour.put(&mut level.body, chunk.at, Length::Written);
        level.counted(1, chunk.at.bytes.into())?;
        if self.format.list_ends(&chunk.id, self.levels[0].count, self.levels[0].body.len()) {
            self.cut(0, sink)?;
        }
        Ok(())
    }

    fn append_child(&mut self, level: usize, child: ChildList, sink: &mut dyn PageSink) -> Result<()> {
        let above = self.level(level);
        put_page_ref(&mut above.body, &child.page);
        put_number(&mut above.body, child.chunks);
        put_number(&mut above.body, child.bytes);
        above.counted(child.chunks, child.bytes)?;
        above.only = Some(child);
        if self.format.list_ends(&child.page.id, self.levels[level].count, self.levels[level].body.len()) {
            self.cut(level, sink)?;
        }
        Ok(())
    }

    fn cut(&mut self, level: usize, sink: &mut dyn PageSink) -> Result<()> {
        let number =
            u8::try_from(level).ok().filter(|level| *level <= LIST_LEVEL_MAX).ok_or_else(too_deep)?;
        let pages = self.levels[level].pages + 1;
        let full = mem::replace(&mut self.levels[level], Level { pages, ..Level::default() });
        let mut page = vec![VERSION, Kind::List(number).byte()];
        put_number(&mut page, full.count);
        page.extend_from_slice(&full.body);
        let id = self.format.id(&page);
        let at = match self.known.get(&id) {
            Some(at) => *at,
            None => sink.put(&page)?,
        };
        let page = PageRef { id, at };
        self.append_child(level + 1, ChildList { page, chunks: full.chunks, bytes: full.bytes }, sink)
    }

    fn level(&mut self, level: usize) -> &mut Level {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Level::default);
        }
        &mut self.levels[level]
    }
}

impl Level {
    fn counted(&mut self, chunks: u64, bytes: u64) -> Result<()> {
        let too_large = || Error::invalid("content", "a file is larger than can be counted");
        self.count += 1;
        self.chunks = self.chunks.checked_add(chunks).ok_or_else(too_large)?;
        self.bytes = self.bytes.checked_add(bytes).ok_or_else(too_large)?;
        Ok(())
    }
}

fn too_deep() -> Error {
    Error::internal("a list of chunks is deeper than any list")
}

/// All pages of `list`, by reading those above the chunks.
pub(super) async fn pages(format: &TreeFormat, pages: &dyn Pages, list: &ChunkList) -> Result<Vec<PageRef>> {
    let mut found = vec![list.top];
    let mut todo = vec![(list.level, list.top)];
    while let Some((level, page)) = todo.pop() {
        if level == 0 {
            continue;
        }
        let bytes = format.fetch(pages, &page).await?;
        for below in decode(&bytes, 0, level).map_err(|e| named(e, &page))? {
            if let Todo::Page { level, child, .. } = below {
                found.push(child.page);
                todo.push((level, child.page));
            }
        }
    }
    Ok(found)
}

/// The chunks of `content` that hold a part of `range`, which counts bytes of data.
pub(super) fn chunks(
    format: TreeFormat,
    pages: Arc<dyn Pages>,
    content: &Content,
    range: Range<u64>,
) -> BoxStream<'static, Result<PlacedChunk>> {
    let todo = match content {
        Content::Chunks(chunks) => placed(0, chunks.clone()).map(Todo::Chunk).rev().collect(),
        Content::List(list) => {
            let child = ChildList { page: list.top, chunks: list.chunks, bytes: list.bytes };
            vec![Todo::Page { start: 0, level: list.level, child }]
        }
    };
    let reading = Reading { format, pages, todo, range };
    futures::stream::try_unfold(reading, async |mut reading| {
        Ok(reading.next().await?.map(|chunk| (chunk, reading)))
    })
    .boxed()
}

struct Reading {
    format: TreeFormat,
    pages: Arc<dyn Pages>,
    /// What is still to be read, the next one last.
    todo: Vec<Todo>,
    range: Range<u64>,
}

pub(super) enum Todo {
    Page { start: u64, level: u8, child: ChildList },
    Chunk(PlacedChunk),
}

impl Reading {
    async fn next(&mut self) -> Result<Option<PlacedChunk>> {
        while let Some(todo) = self.todo.pop() {
            let (start, bytes) = match &todo {
                Todo::Page { start, child, .. } => (*start, child.bytes),
                Todo::Chunk(placed) => (placed.start, placed.chunk.at.bytes.into()),
            };
            if start >= self.range.end {
                return Ok(None);
            }
            if start.saturating_add(bytes) <= self.range.start {
                continue;
            }
            match todo {
                Todo::Chunk(placed) => return Ok(Some(placed)),
                Todo::Page { start, level, child } => self.open(start, level, child).await?,
            }
        }
        Ok(None)
    }

    async fn open(&mut self, start: u64, level: u8, child: ChildList) -> Result<()> {
        let page = self.format.fetch(&*self.pages, &child.page).await?;
        let below = decode(&page, start, level).map_err(|e| named(e, &child.page))?;
        let sum = |of: fn(&Todo) -> u64| below.iter().map(of).fold(0, u64::saturating_add);
        if (sum(Todo::chunks), sum(Todo::bytes)) != (child.chunks, child.bytes) {
            return Err(named(corrupt("it holds other chunks than the page above says"), &child.page));
        }
        self.todo.extend(below.into_iter().rev());
        Ok(())
    }
}

impl Todo {
    fn chunks(&self) -> u64 {
        match self {
            Self::Page { child, .. } => child.chunks,
            Self::Chunk(_) => 1,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Page { child, .. } => child.bytes,
            Self::Chunk(placed) => placed.chunk.at.bytes.into(),
        }
    }
}

pub(super) fn decode(page: &[u8], start: u64, level: u8) -> Result<Vec<Todo>> {
    let mut reader = open(page, Kind::List(level))?;
    let Some(below) = level.checked_sub(1) else {
        let count = reader.count(CHUNK_MIN_BYTES)?;
        let mut neighbour = Neighbour::default();
        let chunks: Vec<ChunkRef> = (0..count)
            .map(|_| Ok(ChunkRef { id: reader.id()?, at: neighbour.read(&mut reader, None)? }))
            .collect::<Result<_>>()?;
        reader.end()?;
        return Ok(placed(start, chunks).map(Todo::Chunk).collect());
    };
    let count = reader.count(CHILD_MIN_BYTES)?;
    let mut start = start;
    let mut pages = Vec::with_capacity(count);
    for _ in 0..count {
        let child = read_child(&mut reader)?;
        pages.push(Todo::Page { start, level: below, child });
        start = start.saturating_add(child.bytes);
    }
    reader.end()?;
    Ok(pages)
}

fn read_child(reader: &mut Reader<'_>) -> Result<ChildList> {
    Ok(ChildList { page: read_page_ref(reader)?, chunks: reader.number()?, bytes: reader.number()? })
}

fn placed(start: u64, chunks: Vec<ChunkRef>) -> impl DoubleEndedIterator<Item = PlacedChunk> {
    let mut next = start;
    let placed: Vec<PlacedChunk> = chunks
        .into_iter()
        .map(|chunk| {
            let start = next;
            next = next.saturating_add(chunk.at.bytes.into());
            PlacedChunk { start, chunk }
        })
        .collect();
    placed.into_iter()
}
