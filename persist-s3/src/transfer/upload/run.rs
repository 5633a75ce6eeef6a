//! What drives an upload: one step at a time, each waiting for the one thing that it needs.

use super::{
    FRAMES_BYTES, FRAMES_WAITING, JOBS_MAX, Job, UploadOptions, Uploaded,
    buffers::Buffers,
    group::Grouping,
    intake::{Event, Intake, Means, Section},
    packs::Packs,
};
use crate::{
    format::{
        chunk::{Chunker, ChunkerId, WHOLE_MAX_BYTES},
        crypt::ChunkSecret,
        frame::{Draft, Frame},
        pack::PackBuilder,
    },
    transfer::processors::Processors,
};
use futures::{StreamExt, stream::BoxStream};
use persist_core::{Error, Result, progress::Meter};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt, mem,
    sync::Arc,
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// Small files share a blocking thread up to this much data: a thread's start is less than its work then.
const BATCH_BYTES: u64 = 4 << 20;

/// And up to so many of them, because empty files and entries without data have none.
const BATCH_JOBS: usize = 256;

pub(super) struct Run<T> {
    packs: Arc<Packs>,
    means: Means,
    meter: Meter,
    /// None after its end.
    jobs: Option<BoxStream<'static, Result<Job<T>>>>,
    batch: Batch<T>,
    reading: VecDeque<Reading<T>>,
    grouping: Grouping<T>,
    processors: Processors,
    /// In the order of their drafts, with their raw bytes.
    compressing: VecDeque<(usize, JoinHandle<Result<Frame>>)>,
    /// Compressed, and in no pack yet.
    held: Option<Frame>,
    open: Option<PackBuilder>,
    chunkers: BTreeSet<ChunkerId>,
}

/// Jobs that will share a thread.
struct Batch<T> {
    jobs: Vec<Job<T>>,
    bytes: u64,
}

/// A thread that reads, and what it has read.
struct Reading<T> {
    sections: mpsc::Receiver<Section<T>>,
    thread: JoinHandle<Result<()>>,
    /// What the jobs that have not begun yet consisted of before.
    befores: VecDeque<Vec<crate::format::location::ChunkRef>>,
    place: Place,
}

/// Whether the grouping has the file of the next event.
#[derive(PartialEq, Eq)]
enum Place {
    Between,
    Opened,
    Begun,
}

/// What is left when all jobs are done.
pub(super) struct Totals {
    pub(super) open: Option<PackBuilder>,
    pub(super) new_bytes: u64,
    pub(super) known_bytes: u64,
    pub(super) chunkers: BTreeSet<ChunkerId>,
}

impl<T: Send + 'static> Run<T> {
    pub(super) fn new(
        packs: Arc<Packs>,
        secret: &ChunkSecret,
        jobs: BoxStream<'static, Result<Job<T>>>,
        options: &UploadOptions,
    ) -> Self {
        let meter = options.meter.clone();
        let (chunker, ids, buffers) = (Chunker::new(secret), secret.ids(), Buffers::default());
        let means = Means { chunker, ids, buffers, meter: meter.clone() };
        Self {
            packs,
            means,
            meter,
            jobs: Some(jobs),
            batch: Batch { jobs: Vec::new(), bytes: 0 },
            reading: VecDeque::new(),
            grouping: Grouping::new(options.known.clone()),
            processors: Processors::all(),
            compressing: VecDeque::new(),
            held: None,
            open: None,
            chunkers: BTreeSet::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Uploaded<T>>> {
        loop {
            if let Some((value, chunks)) = self.grouping.ready() {
                return Ok(Some(Uploaded { value, chunks }));
            }
            self.meter.check()?;
            if self.is_ahead() || self.held.is_some() {
                self.pack().await?;
            } else if self.grouping.is_long() && self.grouping.has_draft() {
                self.close_frame();
            } else if self.jobs.is_some() && self.reading.len() < self.processors.count().min(JOBS_MAX) {
                self.begin().await?;
            } else if !self.reading.is_empty() {
                self.group().await?;
            } else if self.grouping.has_draft() {
                self.close_frame();
            } else if !self.compressing.is_empty() {
                self.pack().await?;
            } else {
                return Ok(None);
            }
        }
    }

    /// Takes the next job; starts a thread when there is enough for one.
    async fn begin(&mut self) -> Result<()> {
        let Some(jobs) = &mut self.jobs else { return Ok(()) };
        let Some(job) = jobs.next().await.transpose()? else {
            self.jobs = None;
            self.start_batch();
            return Ok(());
        };
        if job.bytes > WHOLE_MAX_BYTES as u64 {
            self.start_batch();
            self.start(vec![job]);
            return Ok(());
        }
        self.batch.bytes += job.bytes;
        self.batch.jobs.push(job);
        if self.batch.bytes >= BATCH_BYTES || self.batch.jobs.len() >= BATCH_JOBS {
            self.start_batch();
        }
        Ok(())
    }

    fn start_batch(&mut self) {
        self.batch.bytes = 0;
        let jobs = mem::take(&mut self.batch.jobs);
        if !jobs.is_empty() {
            self.start(jobs);
        }
    }

    fn start(&mut self, mut jobs: Vec<Job<T>>) {
        let befores = jobs.iter_mut().map(|job| mem::take(&mut job.before)).collect();
        // One section waits while the next is read.
        let (to, sections) = mpsc::channel(1);
        let means = self.means.clone();
        let thread = spawn_blocking(move || {
            let mut intake = Intake::new(means, to);
            for job in jobs {
                let value = (job.read)(&mut intake);
                intake.end(value)?;
            }
            intake.flush()
        });
        self.reading.push_back(Reading { sections, thread, befores, place: Place::Between });
    }

    /// Takes the next section of the first thread.
    async fn group(&mut self) -> Result<()> {
        let Some(first) = self.reading.front_mut() else { return Ok(()) };
        if let Some(section) = first.sections.recv().await {
            return self.take_in(section);
        }
        let ended = (&mut first.thread).await;
        self.reading.pop_front();
        ended.map_err(|e| Error::internal("a reading thread did not end well").with_source(e))?
    }

    fn take_in(&mut self, section: Section<T>) -> Result<()> {
        let mut raw = &section.raw[..];
        for event in section.events {
            let Some(first) = self.reading.front_mut() else { break };
            if first.place == Place::Between {
                self.grouping.open(first.befores.pop_front().unwrap_or_default());
                first.place = Place::Opened;
            }
            match event {
                Event::Begin(id) => {
                    self.chunkers.insert(id);
                    if mem::replace(&mut first.place, Place::Begun) == Place::Begun {
                        self.grouping.again();
                    }
                }
                Event::Chunk { id, bytes } => {
                    let (chunk, rest) = raw
                        .split_at_checked(bytes)
                        .ok_or_else(|| Error::internal("a section is shorter than its chunks"))?;
                    raw = rest;
                    if let Some(full) = self.grouping.chunk(id, chunk)? {
                        self.compress(full);
                    }
                }
                Event::End(value) => {
                    first.place = Place::Between;
                    self.grouping.end(value);
                }
            }
        }
        self.means.buffers.taken_in(section.raw);
        Ok(())
    }

    /// Whether one of the frames that are compressed must be packed before there are more.
    fn is_ahead(&self) -> bool {
        let most = if self.grouping.is_long() { 1 } else { self.processors.count() + FRAMES_WAITING };
        let bytes: usize = self.compressing.iter().map(|(bytes, _)| bytes).sum();
        self.compressing.len() >= most || bytes >= FRAMES_BYTES
    }

    fn close_frame(&mut self) {
        if let Some(draft) = self.grouping.last_draft() {
            self.compress(draft);
        }
    }

    /// A section may fill a few frames more than are taken at a time: sixteen at most, of 128 KiB.
    fn compress(&mut self, draft: Draft) {
        let (packs, processors) = (Arc::clone(&self.packs), self.processors.clone());
        let bytes = draft.raw_bytes();
        let work = move || packs.with_compressor(|compressor| draft.compress(compressor));
        self.compressing.push_back((bytes, tokio::spawn(async move { processors.run(work).await })));
    }

    /// Puts the next frame into its pack, and sends the pack before it if that is full.
    async fn pack(&mut self) -> Result<()> {
        if self.held.is_none() {
            let Some((_, next)) = self.compressing.front_mut() else { return Ok(()) };
            let frame = next.await;
            self.compressing.pop_front();
            let ended = frame.map_err(|e| Error::internal("a frame was not compressed").with_source(e))?;
            self.held = Some(ended?);
        }
        if self.is_full() {
            let room = self.packs.room().await?;
            if let Some(full) = self.open.take() {
                self.packs.send(full, Some(room));
            }
        }
        let Some(frame) = self.held.take() else { return Ok(()) };
        let pack = match &mut self.open {
            Some(pack) => pack,
            none => none.insert(self.packs.open()?),
        };
        let chunks = pack.append(frame)?;
        self.grouping.place(&chunks);
        Ok(())
    }

    fn is_full(&self) -> bool {
        matches!((&self.open, &self.held), (Some(pack), Some(frame)) if !pack.takes(frame))
    }

    pub(super) fn into_totals(self) -> Result<Totals> {
        if self.jobs.is_some() || !self.reading.is_empty() || !self.compressing.is_empty() {
            return Err(Error::internal("an upload is finished before its last entry"));
        }
        let Grouping { new_bytes, known_bytes, .. } = self.grouping;
        Ok(Totals { open: self.open, new_bytes, known_bytes, chunkers: self.chunkers })
    }
}

impl<T> fmt::Debug for Run<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
