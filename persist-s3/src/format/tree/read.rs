//! Reading a tree: every page is checked against its id, its place and the page above it.

use super::{
    Pages, TreeFormat,
    codec::corrupt,
    entry::{Body, Content, Data, PageRef, Record, Spilled, StoredEntry},
    list::{self, PlacedChunk},
    page::{Child, LEVEL_MAX, Page},
    record::{Names, check_content},
    rewrite::Edge,
    spill::{gather, named, read_ranges, read_xattrs},
};
use crate::format::location::{ChunkId, Location, TreeRoot};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use persist_core::{
    Result,
    tree::{TreePath, TreeTotals},
};
use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Leaves that are fetched ahead of the reader: some 4000 entries, and about 2 MiB of memory.
pub(super) const LEAVES_AHEAD: usize = 4;

/// Entries whose spilled attributes and ranges are fetched at a time.
const ENTRIES_AHEAD: usize = 4;

/// Opened pages that are kept: a few on every level of a usual tree, some 4 MiB.
const CACHED_PAGES: usize = 16;

/// The tree of a commit, for reading. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tree {
    source: Arc<Source>,
}

impl Tree {
    /// The tree at `root`.
    pub fn new(format: &TreeFormat, pages: Arc<dyn Pages>, root: &TreeRoot) -> Self {
        Self { source: Arc::new(Source::new(format, pages, root)) }
    }

    /// Where it begins.
    pub fn root(&self) -> &TreeRoot {
        &self.source.root
    }

    /// Entries and bytes.
    pub fn totals(&self) -> TreeTotals {
        self.source.root.totals
    }

    /// The entries in path order, those after `after`.
    ///
    /// # Promise
    /// Memory is bounded: a few pages, and the attributes and ranges of a few entries. A few leaves are fetched
    /// ahead.
    ///
    /// # Errors
    /// `Corrupt` naming the page that is not what was written; as the pages report them. The stream ends after
    /// its first error.
    pub fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<StoredEntry>> {
        let (source, from) = (Arc::clone(&self.source), after.clone());
        let records = leaves(Arc::clone(&self.source), after)
            .map_ok(move |span| {
                let source = Arc::clone(&source);
                async move { source.load(0, &span).await }
            })
            .try_buffered(LEAVES_AHEAD)
            .map_ok(move |leaf| {
                let wanted = |record: &&Record| from.as_ref().is_none_or(|after| record.path > *after);
                let records: Vec<_> = leaf.records().iter().filter(wanted).cloned().map(Ok).collect();
                futures::stream::iter(records)
            })
            .try_flatten();
        let source = Arc::clone(&self.source);
        records
            .map_ok(move |record| {
                let source = Arc::clone(&source);
                async move { source.whole(record).await }
            })
            .try_buffered(ENTRIES_AHEAD)
            .boxed()
    }

    /// The entry at `path`, by one page of each level.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub async fn lookup(&self, path: &TreePath) -> Result<Option<StoredEntry>> {
        match self.source.record(path).await? {
            Some(record) => self.source.whole(record).await.map(Some),
            None => Ok(None),
        }
    }

    /// The chunks of `content` that hold a part of `range`, which counts bytes of data: holes before them do not
    /// count.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub fn chunks(&self, content: &Content, range: Range<u64>) -> BoxStream<'static, Result<PlacedChunk>> {
        list::chunks(self.source.format.clone(), Arc::clone(&self.source.pages), content, range)
    }

    /// The pages of a long list of chunks, for [`ListBuilder::reusing`](super::ListBuilder::reusing); none for a
    /// short one. Reads the pages above the chunks: a thousandth of the list.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub async fn list_pages(&self, content: &Content) -> Result<Vec<PageRef>> {
        self.source.list_pages(content).await
    }

    pub(super) fn source(&self) -> Arc<Source> {
        Arc::clone(&self.source)
    }
}

/// Where pages come from, and the last few of them.
#[derive(Debug)]
pub(super) struct Source {
    format: TreeFormat,
    pages: Arc<dyn Pages>,
    root: TreeRoot,
    cache: Mutex<VecDeque<(ChunkId, Arc<Page>)>>,
}

/// A page and where it ends.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) child: Child,
    /// The first path of the next page of its level.
    pub(super) end: Option<TreePath>,
}

impl Source {
    pub(super) fn new(format: &TreeFormat, pages: Arc<dyn Pages>, root: &TreeRoot) -> Self {
        Self { format: format.clone(), pages, root: *root, cache: Mutex::default() }
    }

    /// The root page.
    pub(super) async fn root(&self) -> Result<Arc<Page>> {
        self.page(&self.root).await
    }

    pub(super) fn root_id(&self) -> ChunkId {
        self.root.id
    }

    /// The root as the page of a level; nothing if the tree has no entries.
    pub(super) async fn top(&self) -> Result<Option<(u8, Span)>> {
        let page = self.root().await?;
        Ok(page.path(0).cloned().map(|first| (self.root.height, self.top_from(first))))
    }

    fn top_from(&self, first: TreePath) -> Span {
        let page = PageRef { id: self.root.id, at: self.root.at };
        Span { child: Child { first, page, totals: self.root.totals }, end: None }
    }

    /// A page that is the root of a tree.
    pub(super) async fn page(&self, root: &TreeRoot) -> Result<Arc<Page>> {
        let page = PageRef { id: root.id, at: root.at };
        if root.height > LEVEL_MAX {
            return Err(named(corrupt("the tree is deeper than any tree"), &page));
        }
        let fetched = self.cached(root.height, &page).await?;
        if fetched.totals() != Some(root.totals) {
            return Err(named(corrupt("the tree is not as large as its commit says"), &page));
        }
        Ok(fetched)
    }

    /// The page of `level` that ends last among those that begin before `edge`; the first one if none does.
    pub(super) async fn span_before(&self, level: u8, edge: &Edge) -> Result<Span> {
        let root = self.root().await?;
        let first = root.path(0).cloned().unwrap_or_default();
        let mut span = self.top_from(first);
        let (mut page, mut at) = (root, self.root.height);
        while at > level {
            let children = page.children();
            let next = children.partition_point(|child| edge.is_after(&child.first));
            let index = next.saturating_sub(1);
            let Some(child) = children.get(index).cloned() else {
                return Err(named(corrupt("a page above the leaves is empty"), &span.child.page));
            };
            let end = children.get(index + 1).map(|child| child.first.clone()).or(span.end);
            span = Span { child, end };
            at -= 1;
            if at > level {
                page = self.open(at, &span).await?;
            }
        }
        Ok(span)
    }

    /// The page of `level` that begins at `first`.
    pub(super) async fn span_from(&self, level: u8, first: &TreePath) -> Result<Span> {
        self.span_before(level, &Edge::After(first.clone())).await
    }

    /// The page at `span`, which may be kept.
    pub(super) async fn open(&self, level: u8, span: &Span) -> Result<Arc<Page>> {
        let page = self.cached(level, &span.child.page).await?;
        check(&page, span).map_err(|e| named(e, &span.child.page))?;
        Ok(page)
    }

    /// The page at `span`, which is read once and not kept.
    pub(super) async fn load(&self, level: u8, span: &Span) -> Result<Page> {
        let page = self.decode(level, &span.child.page).await?;
        check(&page, span).map_err(|e| named(e, &span.child.page))?;
        Ok(page)
    }

    async fn cached(&self, level: u8, page: &PageRef) -> Result<Arc<Page>> {
        if let Some(known) = self.cache().iter().find(|(id, _)| *id == page.id).map(|(_, page)| page) {
            return Ok(Arc::clone(known));
        }
        let fetched = Arc::new(self.decode(level, page).await?);
        let mut cache = self.cache();
        if cache.len() == CACHED_PAGES {
            cache.pop_front();
        }
        cache.push_back((page.id, Arc::clone(&fetched)));
        Ok(fetched)
    }

    async fn decode(&self, level: u8, page: &PageRef) -> Result<Page> {
        let bytes = self.format.fetch(&*self.pages, page).await?;
        Page::decode(&bytes, level).map_err(|e| named(e, page))
    }

    fn cache(&self) -> MutexGuard<'_, VecDeque<(ChunkId, Arc<Page>)>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry at `path` as its page holds it.
    pub(super) async fn record(&self, path: &TreePath) -> Result<Option<Record>> {
        let leaf = if self.root.height == 0 {
            self.root().await?
        } else {
            let span = self.span_before(0, &Edge::After(path.clone())).await?;
            self.open(0, &span).await?
        };
        let records = leaf.records();
        let found = records.binary_search_by(|record| record.path.cmp(path));
        Ok(found.ok().map(|index| records[index].clone()))
    }

    /// The chunks of `content`.
    pub(super) fn chunks(&self, content: &Content) -> BoxStream<'static, Result<PlacedChunk>> {
        list::chunks(self.format.clone(), Arc::clone(&self.pages), content, 0..u64::MAX)
    }

    pub(super) async fn list_pages(&self, content: &Content) -> Result<Vec<PageRef>> {
        match content {
            Content::Chunks(_) => Ok(Vec::new()),
            Content::List(list) => list::pages(&self.format, &*self.pages, list).await,
        }
    }

    /// The entry with what its page holds elsewhere.
    pub(super) async fn whole(&self, record: Record) -> Result<StoredEntry> {
        let (format, pages) = (&self.format, &*self.pages);
        let attributes = Arc::clone(&record.attributes);
        let xattrs = gather(&attributes.xattrs, read_xattrs, format, pages).await?;
        let Body::File { size, data: Data::Ranges(ranges), content } = &record.body else {
            return Ok(record.whole(xattrs, Vec::new()));
        };
        let gathered = gather(ranges, read_ranges, format, pages).await?;
        if matches!(ranges, Spilled::Elsewhere(_)) {
            let data = Data::Ranges(Spilled::Here(gathered.clone()));
            let later = record.link.as_ref().is_some_and(|first| *first != record.path);
            let names = if later { Names::Later } else { Names::First };
            check_content(*size, &data, content, names).map_err(|e| e.during("read tree", &record.path))?;
        }
        Ok(record.whole(xattrs, gathered))
    }
}

/// Checks that a page is where the page above says.
fn check(page: &Page, span: &Span) -> Result<()> {
    if page.path(0) != Some(&span.child.first) {
        return Err(corrupt("it does not begin where the page above says"));
    }
    let last = page.len().checked_sub(1).and_then(|last| page.path(last));
    if let (Some(end), Some(last)) = (&span.end, last)
        && last >= end
    {
        return Err(corrupt("it reaches into the page that follows"));
    }
    if page.totals() != Some(span.child.totals) {
        return Err(corrupt("it is not as large as the page above says"));
    }
    Ok(())
}

/// The leaves in order, the first one that can hold a path after `after` first.
fn leaves(source: Arc<Source>, after: Option<TreePath>) -> BoxStream<'static, Result<Span>> {
    pages(source, after).try_filter_map(async |(level, span)| Ok((level == 0).then_some(span))).boxed()
}

/// The pages of the tree with their levels, each before those below it; leaves in order.
pub(super) fn pages(source: Arc<Source>, after: Option<TreePath>) -> BoxStream<'static, Result<(u8, Span)>> {
    let walk = Walk { source, after, todo: None };
    futures::stream::try_unfold(walk, async |mut walk| Ok(walk.next().await?.map(|page| (page, walk))))
        .boxed()
}

struct Walk {
    source: Arc<Source>,
    after: Option<TreePath>,
    /// Pages that are still to be walked, the next one last; nothing before the root was opened.
    todo: Option<Vec<(u8, Span)>>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<(u8, Span)>> {
        if self.todo.is_none() {
            self.todo = Some(self.source.top().await?.into_iter().collect());
        }
        let Some((level, span)) = self.todo.as_mut().and_then(Vec::pop) else { return Ok(None) };
        if level > 0 {
            self.go_down(level - 1, &span).await?;
        }
        Ok(Some((level, span)))
    }

    /// Has the pages of `level` below `span` walked next.
    async fn go_down(&mut self, level: u8, span: &Span) -> Result<()> {
        let page = self.source.open(level + 1, span).await?;
        let below = self.wanted(below(page.children(), span.end.as_ref()));
        // The first few are fetched on their own: who lists a directory stops there.
        let later: Vec<Location> = below.iter().skip(LEAVES_AHEAD).map(|span| span.child.page.at).collect();
        self.source.pages.plan(&later);
        if let Some(todo) = &mut self.todo {
            todo.extend(below.into_iter().rev().map(|span| (level, span)));
        }
        Ok(())
    }

    /// Without the pages that have nothing after where the walk begins: their successor begins there or before.
    fn wanted(&self, mut below: Vec<Span>) -> Vec<Span> {
        if let Some(after) = &self.after {
            below.retain(|span| span.end.as_ref().is_none_or(|end| end > after));
        }
        below
    }
}

/// The pages below a page that ends at `end`.
pub(super) fn below(children: &[Child], end: Option<&TreePath>) -> Vec<Span> {
    let ends = children.iter().skip(1).map(|child| Some(child.first.clone()));
    let ends = ends.chain(std::iter::once(end.cloned()));
    children.iter().cloned().zip(ends).map(|(child, end)| Span { child, end }).collect()
}
