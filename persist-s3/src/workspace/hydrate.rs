//! Bringing a commit's tree to this node: whole, or only what differs from the copy that is here.

mod install;
mod patch;
mod plan;
mod rows;

use super::{
    Workspace,
    record::{Finished, Of, Rows, Stamp},
    scan::Known,
    threads::metered,
};
use crate::head::record::CommitName;
use futures::{FutureExt, stream::BoxStream};
use persist_core::{
    CreateOptions, Error, ErrorKind, Result, VolumeStore,
    progress::{CallOptions, Meter, Phase},
    tree::{ApplyOptions, Attributes, Entry, TreePath, TreeSource, TreeTotals, apply},
    volume::{DeleteOptions, SnapshotsAlong, Trash},
};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Handle as Runtime, time};
use tokio_util::sync::CancellationToken;

/// A commit's tree: each entry with what the bucket holds for it.
pub trait Referenced: TreeSource {
    /// As [`entries`](TreeSource::entries), each with what the stat record keeps for it: equal for equal
    /// entries with equal content, else different.
    fn referenced(&self, after: Option<TreePath>) -> BoxStream<'static, Result<(Entry, Vec<u8>)>>;

    /// Whether the two files that these references stand for have the same content.
    fn contents(&self, one: &[u8], other: &[u8]) -> Contents;
}

/// Whether two files have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// They have.
    Same,
    /// They have not, or nobody knows.
    Unknown,
}

/// What a hydration did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HydrateReport {
    /// Which way it went.
    pub way: HydratedBy,
    /// How large the tree is.
    pub totals: TreeTotals,
    /// What could not be applied on this node, one sentence each. It is not lost: a commit leaves it as it is in
    /// the bucket.
    pub remarks: Vec<String>,
}

/// Which way a tree came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HydratedBy {
    /// All of it was brought.
    Whole,
    /// It was there already, but for so many entries.
    Difference {
        /// Entries that were made, changed or removed.
        entries: u64,
    },
}

impl Workspace {
    /// Makes the tree that of `commit`, which `tree` reads: the difference to the copy that is here, else all of
    /// it. Then nobody needs to read a file to know that it did not change.
    ///
    /// # Promise
    /// Until it has ended the workspace is not taken for a whole one, whenever it is killed; a repeat begins where
    /// that is possible with what is there. Metadata that this user or filesystem cannot hold is in the report.
    ///
    /// # Cancellation
    /// Whoever drops the future stops `meter`: nothing is written any more soon after, and the tree is held until then.
    ///
    /// # Errors
    /// `Internal` for a tree that may hold work; `InUse` while it is attached and has to be replaced; those of
    /// `tree`; as the near store reports the rest.
    pub async fn hydrate(
        &self,
        commit: Option<CommitName>,
        tree: Arc<dyn Referenced>,
        meter: &Meter,
    ) -> Result<HydrateReport> {
        self.change(|served, state| state.hydrating(served.now())).await?;
        let of = Of { volume: self.volume().clone(), base: commit.clone() };
        let patched = match self.patch(&tree, meter).boxed().await {
            Ok(Some(patched)) => self.kept(&of, &tree, meter).await.map(|rows| Some((patched, rows))),
            other => other.map(|_| None),
        };
        let ((way, remarks), (record, totals)) = match patched {
            Ok(Some(brought)) => brought,
            Ok(None) => self.bring_whole(&of, &tree, meter).await?,
            Err(error) if needs_a_new_tree(&error) => {
                tracing::debug!(%error, "the difference cannot be applied: the whole tree is brought");
                self.bring_whole(&of, &tree, meter).await?
            }
            Err(error) => return Err(error),
        };
        self.change(move |served, state| {
            record.name(&served.place.stat())?;
            Ok(state.whole(commit, totals, served.now()))
        })
        .await?;
        Ok(HydrateReport { way, totals, remarks })
    }

    async fn bring_whole(&self, of: &Of, tree: &Arc<dyn Referenced>, meter: &Meter) -> Result<Brought> {
        self.clear().await?;
        self.served().spaces.near().create(self.near_name(), CreateOptions::default()).await?;
        let brought = self.fill(of, tree, meter).await;
        if brought.is_err() {
            // It may be the space that it takes.
            if let Err(left) = self.clear().await {
                tracing::warn!(volume = %self.volume(), error = %left, "a part of a tree is left on this node");
            }
        }
        brought
    }

    /// Removes what is here of the tree.
    async fn clear(&self) -> Result<()> {
        let mut deleting = DeleteOptions::default();
        (deleting.snapshots, deleting.trash) = (SnapshotsAlong::Delete, Trash::Bypass);
        self.served().spaces.near().delete(self.near_name(), deleting).await.map(drop)
    }

    /// Fills the tree, which is empty; it is written to the disk meanwhile.
    async fn fill(&self, of: &Of, tree: &Arc<dyn Referenced>, meter: &Meter) -> Result<Brought> {
        let live = self.live(&CallOptions::default()).await?;
        if let Some(totals) = tree.totals() {
            meter.expect(totals.files, totals.bytes);
        }
        let (source, written) = (Arc::<dyn Referenced>::clone(tree), CancellationToken::new());
        // The tree stays held until nobody writes to it any more, also if this future is dropped.
        let applied = metered(meter.clone(), move |meter| {
            let options = ApplyOptions::faithful().with_meter(meter.clone());
            Runtime::current().block_on(apply(source, live.path(), options))
        });
        let filled = async {
            let applied = applied.await?;
            written.cancel();
            let rows = self.recorded(of, tree, applied.attributes, meter).await?;
            Ok(((HydratedBy::Whole, applied.losses.remarks()), rows))
        };
        let (brought, ()) = futures::try_join!(filled, self.flushed(&written))?;
        Ok(brought)
    }

    /// Flushes again and again until a flush has begun after all was `written`: else the disk would be idle first,
    /// and waited for then. None is dropped while the rest goes well: its failure would be nobody's.
    async fn flushed(&self, written: &CancellationToken) -> Result<()> {
        let call = CallOptions::default();
        let live = self.live(&call).await?;
        loop {
            let _ = time::timeout(FLUSH_PAUSE, written.cancelled()).await;
            let is_last = written.is_cancelled();
            self.served().spaces.near().flush(&live, &call).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Makes what a difference has changed durable, and records the tree.
    async fn kept(
        &self,
        of: &Of,
        tree: &Arc<dyn Referenced>,
        meter: &Meter,
    ) -> Result<(Finished, TreeTotals)> {
        let written = CancellationToken::new();
        written.cancel();
        let recorded = self.recorded(of, tree, Attributes::Somewhere, meter);
        let (rows, ()) = futures::try_join!(recorded, self.flushed(&written))?;
        Ok(rows)
    }

    /// The stat record of the tree as it was just hydrated, while nobody writes to it.
    async fn recorded(
        &self,
        of: &Of,
        tree: &Arc<dyn Referenced>,
        attributes: Attributes,
        meter: &Meter,
    ) -> Result<(Finished, TreeTotals)> {
        let live = self.live(&CallOptions::default()).await?;
        let (drafts, of, tree) = (self.drafts().to_owned(), of.clone(), Arc::clone(tree));
        meter.enter(Phase::Flush);
        metered(meter.clone(), move |meter| {
            let stamp = settled(&drafts, meter)?;
            rows::record(live.path(), stamp, (&drafts, of), &*tree, attributes, meter)
        })
        .await
    }
}

/// Which way a tree came, with the remarks; and what is recorded of it.
type Brought = ((HydratedBy, Vec<String>), (Finished, TreeTotals));

/// Waits until what was written before is clearly older than the clock, so that the record need not be distrusted.
fn settled(drafts: &std::path::Path, meter: &Meter) -> Result<Stamp> {
    let mut stamp = Stamp::now(drafts)?;
    let wanted = Stamp::settles(stamp.time);
    for _ in 0..SETTLE_LOOKS {
        if stamp.time >= wanted.time {
            break;
        }
        meter.check()?;
        std::thread::park_timeout(SETTLE_PAUSE);
        stamp = Stamp::now(drafts)?;
    }
    Ok(stamp)
}

/// From the end of one flush to the next: 0.2 s took a tenth less than one flush at the end, and 0.4 s half of that
/// (25,000 small files, two processors, ext4: 1.49, 1.67 and 1.55 s).
const FLUSH_PAUSE: Duration = Duration::from_millis(200);

/// Half a tick of the coarsest clock (CONFIG_HZ=100).
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// Three seconds of pauses: more than the two that the coarsest filesystem needs. A clock that does not move by then
/// costs reading again, no more.
const SETTLE_LOOKS: usize = 600;

/// Whether the tree that is here is in the way, and not the source or the space.
fn needs_a_new_tree(error: &Error) -> bool {
    use ErrorKind::{Conflict, Denied, InUse, Internal, Invalid, Unsupported};
    matches!(error.kind(), Conflict | Denied | InUse | Internal | Invalid | Unsupported)
}

/// What is known of a base for a [scan](super::scan::Tree::scan): its stat record, or where that was lost the tree in
/// the bucket, so that every file is read again and what is gone is still seen. Blocks, on a thread of a
/// runtime.
pub fn known<'a>(
    record: Option<Rows>,
    base: &'a dyn Referenced,
) -> Box<dyn Iterator<Item = Result<Known>> + Send + 'a> {
    match record {
        Some(rows) => Box::new(rows.map(|row| row.map(Known::Row))),
        None => Box::new(rows::known(base)),
    }
}

#[cfg(test)]
mod tests;
