//! Two ordered streams of entries as one ordered stream of pairs.

use crate::{
    error::{Error, ErrorKind, Result},
    tree::entry::{Entry, TreePath},
};
use futures::stream::{BoxStream, StreamExt};
use std::cmp::Ordering;

/// What the two trees have at one path.
#[derive(Debug, PartialEq)]
pub(super) enum Pair {
    /// Only the tree before has it.
    Before(Box<Entry>),
    /// Only the tree after has it.
    After(Box<Entry>),
    /// Both have it.
    Both(Box<Entry>, Box<Entry>),
}

/// The pairs of two streams that are each in path order; ends after its first error.
pub(super) fn pairs(
    before: BoxStream<'static, Result<Entry>>,
    after: BoxStream<'static, Result<Entry>>,
) -> BoxStream<'static, Result<Pair>> {
    let sides = (Side::new(before), Side::new(after));
    futures::stream::try_unfold(sides, async |mut sides| {
        sides.0.fill().await?;
        sides.1.fill().await?;
        Ok(next_pair(&mut sides.0, &mut sides.1).map(|pair| (pair, sides)))
    })
    .boxed()
}

/// One stream with its next entry in hand.
struct Side {
    stream: BoxStream<'static, Result<Entry>>,
    head: Option<Box<Entry>>,
    last: Option<TreePath>,
}

impl Side {
    fn new(stream: BoxStream<'static, Result<Entry>>) -> Self {
        Self { stream: stream.fuse().boxed(), head: None, last: None }
    }

    async fn fill(&mut self) -> Result<()> {
        if self.head.is_some() {
            return Ok(());
        }
        let Some(entry) = self.stream.next().await.transpose()? else { return Ok(()) };
        if self.last.as_ref().is_some_and(|last| *last >= entry.path) {
            return Err(Error::new(ErrorKind::Corrupt, "the source does not give its entries in path order")
                .during("compare", &entry.path));
        }
        self.last = Some(entry.path.clone());
        self.head = Some(Box::new(entry));
        Ok(())
    }
}

fn next_pair(before: &mut Side, after: &mut Side) -> Option<Pair> {
    let order = match (&before.head, &after.head) {
        (Some(a), Some(b)) => a.path.cmp(&b.path),
        (Some(_), None) => Ordering::Less,
        (None, _) => Ordering::Greater,
    };
    match order {
        Ordering::Less => before.head.take().map(Pair::Before),
        Ordering::Greater => after.head.take().map(Pair::After),
        Ordering::Equal => Some(Pair::Both(before.head.take()?, after.head.take()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::entry::{EntryKind, Metadata};
    use futures::{StreamExt, TryStreamExt};

    fn stream(paths: &[&str]) -> BoxStream<'static, Result<Entry>> {
        let entries: Vec<_> = paths
            .iter()
            .map(|p| Ok(Entry::new(TreePath::new(*p).unwrap(), EntryKind::Fifo, Metadata::default())))
            .collect();
        futures::stream::iter(entries).boxed()
    }

    async fn shown(before: &[&str], after: &[&str]) -> Result<Vec<String>> {
        let show = |pair| match pair {
            Pair::Before(e) => format!("-{}", e.path),
            Pair::After(e) => format!("+{}", e.path),
            Pair::Both(a, b) => format!("{}={}", a.path, b.path),
        };
        pairs(stream(before), stream(after)).map_ok(show).try_collect().await
    }

    #[tokio::test]
    async fn every_path_of_either_tree_appears_once_in_order() {
        let got = shown(&["", "a", "a/b", "a.b", "d"], &["", "a", "a.b", "c", "d", "e"]).await.unwrap();
        assert_eq!(got, [".=.", "a=a", "-a/b", "a.b=a.b", "+c", "d=d", "+e"]);
    }

    #[tokio::test]
    async fn a_source_out_of_order_is_corrupt_and_not_a_difference() {
        for bad in [&["", "b", "a"][..], &["", "a", "a"]] {
            assert_eq!(shown(&["", "a"], bad).await.unwrap_err().kind(), ErrorKind::Corrupt);
            assert_eq!(shown(bad, &["", "a"]).await.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
