//! The blocking side of an upload: reads files, cuts and names their chunks.

use super::buffers::{Buffers, SECTION_MAX_BYTES};
use crate::format::{
    chunk::{ChunkBuffer, Chunker, ChunkerId, Written},
    crypt::IdKey,
    location::ChunkId,
};
use persist_core::{Error, ErrorKind, Result, progress::Meter};
use std::io::Read;
use tokio::sync::mpsc;

/// A section is handed on when it is as long as this: enough for 16 frames of small chunks.
pub(super) const SECTION_BYTES: usize = 2 << 20;

/// Takes in what a job reads. One file at a time; memory is bounded whatever its size.
#[derive(Debug)]
pub(crate) struct Intake<T> {
    means: Means,
    buffer: ChunkBuffer,
    section: Section<T>,
    to: mpsc::Sender<Section<T>>,
}

/// What every job cuts and names with.
#[derive(Debug, Clone)]
pub(super) struct Means {
    pub(super) chunker: Chunker,
    pub(super) ids: IdKey,
    pub(super) meter: Meter,
    pub(super) buffers: Buffers,
}

/// Some chunks of some files, in order.
#[derive(Debug)]
pub(super) struct Section<T> {
    pub(super) raw: Vec<u8>,
    pub(super) events: Vec<Event<T>>,
}

#[derive(Debug)]
pub(super) enum Event<T> {
    /// The file is read from its beginning: what was read of it before does not count.
    Begin(ChunkerId),
    /// The next bytes of the section are a chunk of the file.
    Chunk { id: ChunkId, bytes: usize },
    /// The job is done, and this came of it.
    End(Result<T>),
}

impl<T> Intake<T> {
    pub(super) fn new(means: Means, to: mpsc::Sender<Section<T>>) -> Self {
        let (buffer, section) = (means.buffers.to_read(), Section::new(&means.buffers));
        Self { means, buffer, section, to }
    }

    /// Reads the data of the job's file to its end; `bytes` is how much it should be, and with `written`
    /// decides how it is cut. A second call begins the file anew: for a file that moved.
    ///
    /// # Errors
    /// What the reader answers; `Unavailable` once the upload was stopped.
    pub(crate) fn read(&mut self, reader: impl Read, bytes: u64, written: Written) -> Result<()> {
        let Self { means, buffer, section, to } = self;
        let id = ChunkerId::choose(bytes, &written);
        section.events.push(Event::Begin(id));
        let mut chunks = means.chunker.chunks(id, reader, buffer);
        if let Written::InPlace(ranges) = written {
            chunks = chunks.at(ranges);
        }
        while let Some(chunk) = chunks.next_chunk()? {
            means.meter.check()?;
            if section.raw.len() + chunk.len() > SECTION_MAX_BYTES {
                hand_on(section, &means.buffers, to)?;
            }
            section.events.push(Event::Chunk { id: means.ids.id(chunk), bytes: chunk.len() });
            section.raw.extend_from_slice(chunk);
            means.meter.add(0, chunk.len() as u64);
            if section.raw.len() >= SECTION_BYTES {
                hand_on(section, &means.buffers, to)?;
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, value: Result<T>) -> Result<()> {
        self.means.meter.add(1, 0);
        self.section.events.push(Event::End(value));
        if self.section.raw.len() < SECTION_BYTES { Ok(()) } else { self.flush() }
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        if self.section.events.is_empty() {
            return Ok(());
        }
        hand_on(&mut self.section, &self.means.buffers, &self.to)
    }
}

impl<T> Drop for Intake<T> {
    fn drop(&mut self) {
        self.means.buffers.read(std::mem::take(&mut self.buffer));
        self.means.buffers.taken_in(std::mem::take(&mut self.section.raw));
    }
}

impl<T> Section<T> {
    fn new(buffers: &Buffers) -> Self {
        Self { raw: buffers.raw(), events: Vec::new() }
    }
}

/// Waits while the section before it is not taken.
fn hand_on<T>(section: &mut Section<T>, buffers: &Buffers, to: &mpsc::Sender<Section<T>>) -> Result<()> {
    to.blocking_send(std::mem::replace(section, Section::new(buffers)))
        .map_err(|_| Error::new(ErrorKind::Unavailable, "the upload was stopped").advise("repeat the call"))
}
