//! A new tree from the one before and a sorted stream of changes, opening only the pages that change.
//!
//! Every level is told in path order what to keep of its old entries, what to skip, and what is new. A level
//! that is between two pages both in the old tree and in the new one keeps whole pages by telling the level
//! above so; only where the two are out of step does it open a page and write its entries again.

use super::{
    PageSink, Pages, TreeFormat,
    build::{Spine, record},
    entry::{Body, Content, PageRef, StoredEntry, refused},
    page::{Child, Page},
    read::{Source, Span},
    record::CHUNKS_HERE_MAX,
};
use crate::format::location::{ChunkId, TreeRoot};
use futures::stream::{Stream, TryStreamExt};
use persist_core::{Result, tree::TreePath};
use std::{
    cmp::Ordering,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
};

/// One change of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entry is new, or takes the place of the one at its path.
    Put(Box<StoredEntry>),
    /// The entry at this path goes; what is below it stays.
    Remove(TreePath),
    /// The entry at this path goes, and everything below it. What is put at or below it afterwards stays.
    RemoveSubtree(TreePath),
}

impl Change {
    /// Where it happens.
    pub fn path(&self) -> &TreePath {
        match self {
            Self::Put(entry) => &entry.entry.path,
            Self::Remove(path) | Self::RemoveSubtree(path) => path,
        }
    }
}

/// Writes the tree that comes from `base` by `changes`, in path order.
///
/// # Promise
/// The tree is the same, page by page, as one built anew from its entries with chunks in the same places. What
/// is read and written is a few pages for each change, fewer where changes are neighbours; memory is a few
/// pages a level. Removing what is not there is no error.
///
/// # Errors
/// `Invalid` for changes out of order or entries that cannot be stored, `Corrupt` for a base that is not one,
/// and as `pages`, `sink` and `changes` report them.
///
/// # Cancellation
/// Drop the future; what the sink was given refers to nothing that is not there.
pub async fn rewrite(
    format: &TreeFormat,
    pages: Arc<dyn Pages>,
    sink: &mut dyn PageSink,
    base: &TreeRoot,
    changes: impl Stream<Item = Result<Change>> + Send,
) -> Result<TreeRoot> {
    let mut rewriter = Rewriter::new(format, pages, sink, base).await?;
    let mut changes = pin!(changes);
    let mut last: Option<Change> = None;
    while let Some(change) = changes.try_next().await? {
        if last.as_ref().is_some_and(|last| !follows(last, &change)) {
            return Err(refused(change.path(), "changes do not come in path order"));
        }
        last = Some(skeleton(&change));
        rewriter.apply(change).await?;
    }
    rewriter.finish().await
}

fn follows(last: &Change, next: &Change) -> bool {
    match last.path().cmp(next.path()) {
        Ordering::Less => true,
        Ordering::Equal => matches!((last, next), (Change::RemoveSubtree(_), Change::Put(_))),
        Ordering::Greater => false,
    }
}

/// What is needed of a change to judge the next.
fn skeleton(change: &Change) -> Change {
    match change {
        Change::RemoveSubtree(path) => Change::RemoveSubtree(path.clone()),
        other => Change::Remove(other.path().clone()),
    }
}

/// A place between two paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edge {
    Before(TreePath),
    After(TreePath),
    AfterSubtree(TreePath),
    End,
}

impl Edge {
    /// Whether `path` lies before it.
    pub(super) fn is_after(&self, path: &TreePath) -> bool {
        match self {
            Self::Before(edge) => path < edge,
            Self::After(edge) => path <= edge,
            Self::AfterSubtree(top) => path <= top || is_below(top, path),
            Self::End => true,
        }
    }

    /// Whether a page that ends before `end` lies before it as a whole.
    fn covers(&self, end: Option<&TreePath>) -> bool {
        match (self, end) {
            (Self::End, _) => true,
            (_, None) => false,
            (Self::Before(edge), Some(end)) => end <= edge,
            // Nothing between the edge and the next page is in this one if the next page is not beyond.
            (edge, Some(end)) => edge.is_after(end),
        }
    }
}

fn is_below(top: &TreePath, path: &TreePath) -> bool {
    let (top, path) = (top.as_bytes(), path.as_bytes());
    !path.is_empty() && (top.is_empty() || (path.starts_with(top) && path.get(top.len()) == Some(&b'/')))
}

struct Rewriter<'a> {
    format: TreeFormat,
    source: Source,
    sink: &'a mut dyn PageSink,
    spine: Spine,
    /// What is left of the old tree, the leaves first; on top a level that holds the root.
    old: Vec<Old>,
}

/// What is left of one level of the old tree.
#[derive(Debug)]
struct Old {
    /// The page that is being taken apart, and how far.
    open: Option<(Arc<Page>, usize)>,
    /// The first path of the next page.
    next: Option<TreePath>,
    /// The last old page that was appended to this level.
    kept: Option<ChunkId>,
}

type Step<'s> = Pin<Box<dyn Future<Output = Result<()>> + Send + 's>>;

impl<'a> Rewriter<'a> {
    async fn new(
        format: &TreeFormat,
        pages: Arc<dyn Pages>,
        sink: &'a mut dyn PageSink,
        base: &TreeRoot,
    ) -> Result<Self> {
        let source = Source::new(format, pages, base);
        let root = source.root().await?;
        let first = root.path(0).cloned();
        let mut old: Vec<Old> =
            (0..=base.height).map(|_| Old { open: None, next: first.clone(), kept: None }).collect();
        if let Some(first) = first {
            let page = PageRef { id: base.id, at: base.at };
            let top = Page::Inner(vec![Child { first, page, totals: base.totals }]);
            old.push(Old { open: Some((Arc::new(top), 0)), next: None, kept: None });
        }
        Ok(Self { format: format.clone(), source, sink, spine: Spine::new(format), old })
    }

    async fn apply(&mut self, change: Change) -> Result<()> {
        self.keep(0, Edge::Before(change.path().clone())).await?;
        match change {
            Change::Remove(path) => self.skip(0, Edge::After(path)).await,
            Change::RemoveSubtree(path) => self.skip(0, Edge::AfterSubtree(path)).await,
            Change::Put(entry) => {
                self.skip(0, Edge::After(entry.entry.path.clone())).await?;
                let before = self.list_before(&entry).await?;
                let record = record(*entry, &self.format, &before, self.sink)?;
                self.spine.append_record(&record, self.sink)
            }
        }
    }

    /// The pages of the old list of a file whose chunks will be a list again.
    async fn list_before(&self, entry: &StoredEntry) -> Result<Vec<PageRef>> {
        if !matches!(&entry.content, Content::Chunks(chunks) if chunks.len() > CHUNKS_HERE_MAX) {
            return Ok(Vec::new());
        }
        match self.source.record(&entry.entry.path).await?.map(|record| record.body) {
            Some(Body::File { content, .. }) => self.source.list_pages(&content).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn finish(mut self) -> Result<TreeRoot> {
        self.keep(0, Edge::End).await?;
        let mut root = self.spine.finish(self.sink)?;
        // An old page that was not the root may have one child only.
        let kept = |root: &TreeRoot| {
            self.old.get(usize::from(root.height) + 1).is_some_and(|old| old.kept == Some(root.id))
        };
        if kept(&root) {
            while root.height > 0 {
                let page = self.source.page(&root).await?;
                let [only] = page.children() else { break };
                let height = root.height - 1;
                root = TreeRoot { at: only.page.at, id: only.page.id, totals: only.totals, height };
            }
        }
        Ok(root)
    }

    /// Appends what is left of the old entries of `level` before `edge`.
    fn keep(&mut self, level: u8, edge: Edge) -> Step<'_> {
        Box::pin(async move {
            let index = usize::from(level);
            while index < self.old.len() {
                if self.old[index].open.is_some() {
                    if !self.append_open(level, &edge)? {
                        return Ok(());
                    }
                    continue;
                }
                let Some(next) = self.old[index].next.clone().filter(|next| edge.is_after(next)) else {
                    return Ok(());
                };
                if !self.spine.between_pages(level) {
                    let span = self.source.span_from(level, &next).await?;
                    self.open(level, span).await?;
                    continue;
                }
                self.keep_pages(level, &next, &edge).await?;
            }
            Ok(())
        })
    }

    /// Keeps whole pages of `level` from `next` on, and opens the one that `edge` is in.
    async fn keep_pages(&mut self, level: u8, next: &TreePath, edge: &Edge) -> Result<()> {
        if *edge == Edge::End {
            self.spine.not_alone(level);
            self.old[usize::from(level)].next = None;
            return self.keep(level + 1, Edge::End).await;
        }
        let span = self.source.span_before(level, edge).await?;
        let whole = span.end.clone().filter(|end| edge.covers(Some(end)));
        let kept_to = whole.clone().unwrap_or_else(|| span.child.first.clone());
        if kept_to > *next {
            self.spine.not_alone(level);
            self.keep(level + 1, Edge::Before(kept_to)).await?;
        }
        if whole.is_some() {
            self.old[usize::from(level)].next = whole;
            return Ok(());
        }
        self.open(level, span).await
    }

    /// Drops what is left of the old entries of `level` before `edge`.
    fn skip(&mut self, level: u8, edge: Edge) -> Step<'_> {
        Box::pin(async move {
            let index = usize::from(level);
            while index < self.old.len() {
                if self.old[index].open.is_some() {
                    if !self.drop_open(index, &edge) {
                        return Ok(());
                    }
                    continue;
                }
                let Some(next) = self.old[index].next.clone().filter(|next| edge.is_after(next)) else {
                    return Ok(());
                };
                let span = self.source.span_before(level, &edge).await?;
                if span.child.first > next {
                    self.skip(level + 1, Edge::Before(span.child.first.clone())).await?;
                }
                if edge.covers(span.end.as_ref()) {
                    return self.leave(level, span.end).await;
                }
                self.open(level, span).await?;
            }
            Ok(())
        })
    }

    /// Takes an old page apart: the level above loses it.
    async fn open(&mut self, level: u8, span: Span) -> Result<()> {
        let page = self.source.open(level, &span).await?;
        self.spine.remember(span.child.page);
        self.old[usize::from(level)].open = Some((page, 0));
        self.leave(level, span.end).await
    }

    /// The level above loses the pages before `end`.
    async fn leave(&mut self, level: u8, end: Option<TreePath>) -> Result<()> {
        self.old[usize::from(level)].next.clone_from(&end);
        self.skip(level + 1, end.map_or(Edge::End, Edge::Before)).await
    }

    /// Appends entries of the open page; false if one is left that does not lie before `edge`.
    fn append_open(&mut self, level: u8, edge: &Edge) -> Result<bool> {
        let old = &mut self.old[usize::from(level)];
        let Some((page, mut at)) = old.open.take() else { return Ok(true) };
        while let Some(path) = page.path(at) {
            if !edge.is_after(path) {
                old.open = Some((page, at));
                return Ok(false);
            }
            match &*page {
                Page::Leaf(records) => self.spine.append_record(&records[at], self.sink)?,
                Page::Inner(children) => {
                    old.kept = Some(children[at].page.id);
                    self.spine.append_child(level, &children[at], self.sink)?;
                }
            }
            at += 1;
        }
        Ok(true)
    }

    /// Drops entries of the open page; false if one is left that does not lie before `edge`.
    fn drop_open(&mut self, index: usize, edge: &Edge) -> bool {
        let Some((page, mut at)) = self.old[index].open.take() else { return true };
        while page.path(at).is_some_and(|path| edge.is_after(path)) {
            at += 1;
        }
        if at == page.len() {
            return true;
        }
        self.old[index].open = Some((page, at));
        false
    }
}
