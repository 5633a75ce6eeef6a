//! What differs between two trees, without reading what they share.

use super::{
    entry::{Record, StoredEntry},
    page::Page,
    read::{Source, Span, Tree, below},
};
use futures::stream::{BoxStream, StreamExt};
use persist_core::{Result, tree::TreePath};
use std::{cmp::Ordering, sync::Arc};

/// One difference between two trees. At least one side is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// What the tree before has at this path.
    pub before: Option<StoredEntry>,
    /// What the tree after has.
    pub after: Option<StoredEntry>,
}

/// The entries that differ between two trees of one lineage, in path order.
///
/// # Promise
/// Pages that both share are not read, so the cost is that of the differences. Memory is a few pages a level.
/// Where chunks lie makes no difference, only what they are.
///
/// # Errors
/// As [`Tree::entries`]. The stream ends after its first error.
pub fn diff(before: &Tree, after: &Tree) -> BoxStream<'static, Result<EntryChange>> {
    let sides = [Side::new(before.source()), Side::new(after.source())];
    futures::stream::try_unfold(Diff { sides, state: State::New }, async |mut diff| {
        Ok(diff.next().await?.map(|change| (change, diff)))
    })
    .boxed()
}

struct Diff {
    sides: [Side; 2],
    state: State,
}

#[derive(PartialEq)]
enum State {
    New,
    Begun,
}

/// What is left of one tree, the next part last.
struct Side {
    source: Arc<Source>,
    todo: Vec<Part>,
}

enum Part {
    Page(u8, Box<Span>),
    Entry(Box<Record>),
}

/// What is to be done with the next parts of both sides.
enum Step {
    End,
    /// Both are the same.
    Pass,
    Open(Which),
    Tell(Which),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Which {
    Before,
    After,
    Both,
}

impl Diff {
    async fn next(&mut self) -> Result<Option<EntryChange>> {
        let [before, after] = &mut self.sides;
        if self.state == State::New {
            self.state = State::Begun;
            if before.source.root_id() == after.source.root_id() {
                return Ok(None);
            }
            before.begin().await?;
            after.begin().await?;
        }
        loop {
            match step(before.todo.last(), after.todo.last()) {
                Step::End => return Ok(None),
                Step::Pass => {
                    before.todo.pop();
                    after.todo.pop();
                }
                Step::Open(which) => {
                    let turns = which.turns();
                    futures::future::try_join(before.open(turns.0), after.open(turns.1)).await?;
                }
                Step::Tell(which) => {
                    let turns = which.turns();
                    let (before, after) = (before.entry(turns.0).await?, after.entry(turns.1).await?);
                    return Ok(Some(EntryChange { before, after }));
                }
            }
        }
    }
}

fn step(before: Option<&Part>, after: Option<&Part>) -> Step {
    let (a, b) = match (before, after) {
        (None, None) => return Step::End,
        (Some(a), None) => return alone(a, Which::Before),
        (None, Some(b)) => return alone(b, Which::After),
        (Some(a), Some(b)) => (a, b),
    };
    // A page can only be shared with one that begins at the same path, so the earlier one is not.
    match a.first().cmp(b.first()) {
        Ordering::Less => alone(a, Which::Before),
        Ordering::Greater => alone(b, Which::After),
        Ordering::Equal => together(a, b),
    }
}

fn alone(part: &Part, which: Which) -> Step {
    match part {
        Part::Page(..) => Step::Open(which),
        Part::Entry(_) => Step::Tell(which),
    }
}

fn together(a: &Part, b: &Part) -> Step {
    match (a, b) {
        (Part::Page(level, span), Part::Page(other, with)) => match level.cmp(other) {
            Ordering::Greater => Step::Open(Which::Before),
            Ordering::Less => Step::Open(Which::After),
            Ordering::Equal if span.child.page.id == with.child.page.id => Step::Pass,
            Ordering::Equal => Step::Open(Which::Both),
        },
        (Part::Page(..), Part::Entry(_)) => Step::Open(Which::Before),
        (Part::Entry(_), Part::Page(..)) => Step::Open(Which::After),
        (Part::Entry(a), Part::Entry(b)) if a.same_as(b) => Step::Pass,
        (Part::Entry(_), Part::Entry(_)) => Step::Tell(Which::Both),
    }
}

impl Part {
    fn first(&self) -> &TreePath {
        match self {
            Self::Page(_, span) => &span.child.first,
            Self::Entry(record) => &record.path,
        }
    }
}

impl Side {
    fn new(source: Arc<Source>) -> Self {
        Self { source, todo: Vec::new() }
    }

    async fn begin(&mut self) -> Result<()> {
        if let Some((height, span)) = self.source.top().await? {
            self.todo.push(Part::Page(height, Box::new(span)));
        }
        Ok(())
    }

    /// Replaces the next part, a page, by what is in it.
    async fn open(&mut self, turn: Turn) -> Result<()> {
        let Some(Part::Page(level, span)) = self.todo.pop_if(|_| turn == Turn::Ours) else { return Ok(()) };
        match self.source.load(level, &span).await? {
            Page::Leaf(records) => {
                self.todo.extend(records.into_iter().rev().map(|record| Part::Entry(Box::new(record))));
            }
            Page::Inner(children) => {
                let spans = below(&children, span.end.as_ref()).into_iter().rev();
                self.todo.extend(spans.map(|span| Part::Page(level - 1, Box::new(span))));
            }
        }
        Ok(())
    }

    /// Takes the next part, an entry.
    async fn entry(&mut self, turn: Turn) -> Result<Option<StoredEntry>> {
        let Some(Part::Entry(record)) = self.todo.pop_if(|_| turn == Turn::Ours) else { return Ok(None) };
        self.source.whole(*record).await.map(Some)
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    Ours,
    Theirs,
}

impl Which {
    fn turns(self) -> (Turn, Turn) {
        match self {
            Self::Before => (Turn::Ours, Turn::Theirs),
            Self::After => (Turn::Theirs, Turn::Ours),
            Self::Both => (Turn::Ours, Turn::Ours),
        }
    }
}
