//! The entries of a source, cut into batches that are worth a visit to a blocking thread.

use super::{
    ApplyLimits,
    gate::{Gate, data_bytes, is_later_name},
};
use crate::{
    error::Result,
    tree::{
        entry::{Entry, EntryKind},
        source::TreeTotals,
    },
};
use futures::stream::{BoxStream, StreamExt};

/// Entries that follow one another, by what is to be done with them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Made first, in this order.
    pub(super) directories: Vec<Entry>,
    /// Files that are read whole, and at most one of more than [`SMALL_BYTES`].
    pub(super) files: Vec<Entry>,
    /// Symbolic links, fifos, sockets, devices.
    pub(super) others: Vec<Entry>,
    /// Further names of files that came in this batch or before.
    pub(super) links: Vec<Entry>,
    /// Directories that are complete after this batch, the deepest first.
    pub(super) closed: Vec<Entry>,
    /// What has come, this batch included.
    pub(super) totals: TreeTotals,
    entries: usize,
    bytes: u64,
}

/// Entries in a batch: enough that the switch to a blocking thread costs little.
const BATCH_ENTRIES: usize = 128;

/// Bytes of content in a batch, all of them in memory at once.
const BATCH_BYTES: u64 = 2 << 20;

/// A file with more data ends its batch, and is read chunk by chunk.
pub(super) const SMALL_BYTES: u64 = 1 << 20;

/// The batches of `entries`; ends after its first error.
pub(super) fn batches(
    entries: BoxStream<'static, Result<Entry>>,
    limits: ApplyLimits,
) -> BoxStream<'static, Result<Batch>> {
    let plan =
        Plan { entries: entries.fuse().boxed(), gate: Gate::new(limits), held: None, state: State::Open };
    futures::stream::try_unfold(plan, async |mut plan| Ok(plan.next().await?.map(|batch| (batch, plan))))
        .boxed()
}

struct Plan {
    entries: BoxStream<'static, Result<Entry>>,
    gate: Gate,
    /// Admitted, but for the next batch.
    held: Option<(Entry, Vec<Entry>)>,
    state: State,
}

#[derive(PartialEq)]
enum State {
    Open,
    Ended,
}

impl Plan {
    async fn next(&mut self) -> Result<Option<Batch>> {
        if self.state == State::Ended {
            return Ok(None);
        }
        let mut batch = Batch::default();
        if let Some((entry, closed)) = self.held.take() {
            batch.add(entry, closed);
        }
        while !batch.is_full() {
            let Some(entry) = self.entries.next().await.transpose()? else {
                batch.closed.extend(self.gate.end()?);
                self.state = State::Ended;
                break;
            };
            let closed = self.gate.admit(&entry)?;
            if !batch.has_room_for(&entry) {
                self.held = Some((entry, closed));
                break;
            }
            batch.add(entry, closed);
        }
        batch.totals = self.gate.totals;
        Ok(Some(batch))
    }
}

impl Batch {
    /// A batch of `entry` alone, which is no directory and no further name.
    pub(super) fn of(entry: Entry) -> Self {
        let mut batch = Self::default();
        batch.add(entry, Vec::new());
        batch
    }

    fn has_room_for(&self, entry: &Entry) -> bool {
        let bytes = data_bytes(&entry.kind);
        is_later_name(entry) || self.bytes == 0 || self.bytes.saturating_add(bytes) <= BATCH_BYTES
    }

    fn is_full(&self) -> bool {
        self.entries >= BATCH_ENTRIES || self.bytes > SMALL_BYTES
    }

    fn add(&mut self, entry: Entry, closed: Vec<Entry>) {
        self.entries += 1;
        self.closed.extend(closed);
        if is_later_name(&entry) {
            self.links.push(entry);
            return;
        }
        self.bytes = self.bytes.saturating_add(data_bytes(&entry.kind));
        match entry.kind {
            EntryKind::Directory => self.directories.push(entry),
            EntryKind::File { .. } => self.files.push(entry),
            _ => self.others.push(entry),
        }
    }
}
