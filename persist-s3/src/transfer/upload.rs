//! From files to packs in the bucket: read, cut, named, compressed and sent at the same time, in bounded
//! memory and in path order.
//!
//! Blocking threads read a few jobs ahead; each hands its chunks on in sections and waits while nobody takes
//! them. What is new is grouped in path order, compressed on blocking threads, sealed into the open pack,
//! and full packs are sent in the background. Whoever drops the upload stops all of it: requests at once,
//! threads at their next section or frame.

mod buffers;
mod group;
mod intake;
mod packs;
mod pages;
mod run;

pub(crate) use group::KnownChunks;
pub(crate) use intake::Intake;
pub(crate) use packs::Destination;
pub(crate) use pages::UploadPages;

use crate::format::{
    chunk::ChunkerId,
    frame::Compression,
    location::ChunkRef,
    pack::{Pack, PackBuilder},
    table::PackTable,
};
use futures::stream::BoxStream;
use packs::Packs;
use persist_core::{Error, Result, progress::Meter};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// What an upload keeps in memory beside its packs, at most: three readers of 16 MiB (a buffer of 8, and two
/// sections of 4), one section at the grouping, and 14 MiB of frames, raw and compressed.
const WORK_BYTES: u64 = 66 << 20;

/// A pack in memory: its target, the frame that reached it, and its directory.
const PACK_BYTES: u64 = 37 << 20;

/// More packs in flight than these only queue behind each other on one connection pool.
const IN_FLIGHT_MAX: u64 = 4;

/// Jobs that are read at the same time, and no more than there are processors: one thread waits for the device, one
/// computes, one is ahead. Two processors are as busy with two, which take a tenth less memory.
const JOBS_MAX: usize = 3;

/// Frames that wait for a processor while the others compress.
const FRAMES_WAITING: usize = 2;

/// Raw bytes of frames that are compressed ahead, whatever their number: two of the longest.
const FRAMES_BYTES: usize = 8 << 20;

/// How an upload behaves.
#[derive(Debug, Clone)]
pub(crate) struct UploadOptions {
    /// How many bytes of memory it may take, at least [`UploadOptions::MEMORY_MIN`]. A process with several
    /// uploads at once takes as much for each.
    pub(crate) memory: u64,
    /// How strongly it compresses.
    pub(crate) compression: Compression,
    /// The most bytes of packs that [`Upload::finish`] gives back instead of sending, to lie within the
    /// commit object.
    pub(crate) within: u64,
    /// Where it finds chunks of the volume beyond those of each job's file.
    pub(crate) known: Option<Arc<dyn KnownChunks>>,
    /// Counts entries and raw bytes as they are read; stops the upload when it is stopped.
    pub(crate) meter: Meter,
}

/// Something to upload: one entry of a tree, in its turn.
pub(crate) struct Job<T> {
    /// The data that it is expected to have, in bytes.
    pub(crate) bytes: u64,
    /// What the file consisted of at the last commit: what is unchanged is found without an index.
    pub(crate) before: Vec<ChunkRef>,
    /// Runs on a blocking thread, reads the file into the [`Intake`], if there is one, and says what goes
    /// with it. An error of it fails this entry, not the upload.
    pub(crate) read: ReadJob<T>,
}

/// What a job does.
pub(crate) type ReadJob<T> = Box<dyn FnOnce(&mut Intake<T>) -> Result<T> + Send>;

/// An entry whose data is in packs.
#[derive(Debug)]
pub(crate) struct Uploaded<T> {
    /// What its job said.
    pub(crate) value: Result<T>,
    /// Its data, in order.
    pub(crate) chunks: Vec<ChunkRef>,
}

/// An upload under way. [`next`](Self::next) drives it.
#[derive(Debug)]
pub(crate) struct Upload<T> {
    run: run::Run<T>,
    packs: Arc<Packs>,
    pages: UploadPages,
    within: u64,
}

/// What came of an upload.
#[derive(Debug)]
pub(crate) struct UploadDone {
    /// The pack table, with every pack that was sent.
    pub(crate) table: PackTable,
    /// Packs that were not sent: they belong into the commit object, in this order.
    pub(crate) within: Vec<Pack>,
    /// Raw bytes of file data that were new.
    pub(crate) new_bytes: u64,
    /// Raw bytes of file data that the volume already had.
    pub(crate) known_bytes: u64,
    /// Bytes of packs, sent or not.
    pub(crate) stored_bytes: u64,
    /// How files were cut.
    pub(crate) chunkers: BTreeSet<ChunkerId>,
}

impl UploadOptions {
    /// The least memory that an upload works in: one pack in flight, one of data and one of pages open.
    pub(crate) const MEMORY_MIN: u64 = WORK_BYTES + 3 * PACK_BYTES;

    /// Packs in flight, as far as the memory allows.
    fn in_flight(&self) -> Result<usize> {
        if self.memory < Self::MEMORY_MIN {
            return Err(Error::invalid("memory", "too little for an upload")
                .context("bytes", self.memory)
                .context("least", Self::MEMORY_MIN));
        }
        let packs = (self.memory - WORK_BYTES) / PACK_BYTES - 2;
        Ok(usize::try_from(packs.min(IN_FLIGHT_MAX)).unwrap_or(1))
    }
}

impl Default for UploadOptions {
    /// 256 MiB of memory. Within the commit object lie the last pack of data, at most 32 MiB, and 8 MiB of
    /// pages, which is some 100,000 files.
    fn default() -> Self {
        Self {
            memory: 256 << 20,
            compression: Compression::default(),
            within: 40 << 20,
            known: None,
            meter: Meter::default(),
        }
    }
}

impl<T: Send + 'static> Upload<T> {
    /// Uploads `jobs` in their order; `table` is the last commit's. Must be called within a tokio runtime with
    /// more blocking threads than it has uploads times three: readers wait on theirs for what compresses.
    ///
    /// # Errors
    /// `Invalid` for options that cannot be, or without a runtime.
    pub(crate) fn new(
        to: Destination,
        table: PackTable,
        jobs: BoxStream<'static, Result<Job<T>>>,
        options: UploadOptions,
    ) -> Result<Self> {
        let secret = to.keyring.secret().clone();
        let packs = Arc::new(Packs::new(to, table, options.compression, options.in_flight()?)?);
        let pages = UploadPages::new(Arc::clone(&packs), secret.ids());
        let run = run::Run::new(Arc::clone(&packs), &secret, jobs, &options);
        Ok(Self { run, packs, pages, within: options.within })
    }

    /// The next entry whose data has a place, in the order of the jobs; `None` after the last.
    ///
    /// Cancellation: a dropped call loses nothing, the next one goes on.
    ///
    /// # Errors
    /// That of the jobs' stream or of the bucket; the upload is over then.
    pub(crate) async fn next(&mut self) -> Result<Option<Uploaded<T>>> {
        self.run.next().await
    }

    /// Takes the tree's pages.
    pub(crate) fn pages(&self) -> UploadPages {
        self.pages.clone()
    }

    /// Waits until every pack is in the bucket, those apart that are small enough to lie within the commit.
    /// Call it after the last page.
    ///
    /// # Errors
    /// That of the bucket; `Internal` if [`next`](Self::next) has not said `None` yet.
    pub(crate) async fn finish(self) -> Result<UploadDone> {
        let Self { run, packs, pages, within } = self;
        let totals = run.into_totals()?;
        let mut stored_bytes = 0;
        let kept = keep(within, totals.open, pages.take(), |pack| packs.send(pack, None));
        let kept: Vec<Pack> = kept.into_iter().map(|pack| packs.finish(pack)).collect::<Result<_>>()?;
        stored_bytes += packs.settle().await? + kept.iter().map(|pack| u64::from(pack.bytes)).sum::<u64>();
        Ok(UploadDone {
            table: packs.table(),
            within: kept,
            new_bytes: totals.new_bytes,
            known_bytes: totals.known_bytes,
            stored_bytes,
            chunkers: totals.chunkers,
        })
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The packs that stay for the commit object, pages last; the others are sent. Data goes first: the pages
/// are what a reader of the commit wants next.
fn keep(
    within: u64,
    data: Option<PackBuilder>,
    pages: Option<PackBuilder>,
    mut send: impl FnMut(PackBuilder),
) -> Vec<PackBuilder> {
    let mut left = within;
    let mut kept: Vec<PackBuilder> = Vec::new();
    for pack in [pages, data].into_iter().flatten() {
        match left.checked_sub(pack.body_bytes() as u64) {
            Some(rest) => {
                left = rest;
                kept.insert(0, pack);
            }
            None => send(pack),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
