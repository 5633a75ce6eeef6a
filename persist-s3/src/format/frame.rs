//! Frames: the unit of compression, of encryption and of a ranged GET.

use super::{
    crypt::{Binding, IdKey, Sealing},
    location::{ChunkId, ChunkRef},
};
use bytes::Bytes;
use persist_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Small chunks share a frame up to this many raw bytes: 7 to 8 % smaller than one frame a file on 36,000
/// real source files, and still one small GET for one of them.
pub const GROUP_BYTES: usize = 128 << 10;

/// The most chunks in a frame, so that what a pack says about them stays small beside them.
pub const GROUP_CHUNKS: usize = 1024;

/// The most raw bytes in a frame: the largest chunk.
pub const FRAME_MAX_BYTES: usize = super::chunk::CHUNK_MAX_BYTES;

/// Before the body of a part: how it is stored, and its raw length.
pub const HEAD_BYTES: usize = 1 + 4;

const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameKind {
    /// Chunks of files.
    Data,
    /// One page of the tree.
    Page,
}

/// A chunk within a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameChunk {
    /// What it is.
    pub id: ChunkId,
    /// Its raw length in bytes.
    pub bytes: u32,
}

/// Chunks that will share a frame, in path order.
#[derive(Debug)]
pub struct Draft {
    kind: FrameKind,
    raw: Vec<u8>,
    chunks: Vec<FrameChunk>,
}

/// A compressed frame that is in no pack yet.
#[derive(Debug)]
pub struct Frame {
    pub(super) kind: FrameKind,
    pub(super) chunks: Vec<FrameChunk>,
    /// Its head and body, before sealing.
    pub(super) plain: Vec<u8>,
}

/// How strongly frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: for data that is known not to shrink.
    Stored,
    /// By zstd at this level.
    Zstd(i32),
}

/// Compresses; one a thread, used for one frame after the other.
pub struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    /// As much as the longest frame has needed so far.
    body: Vec<u8>,
}

/// Opens parts; one a thread, used for one after the other.
pub struct Opener(zstd::bulk::Decompressor<'static>);

impl Default for Compression {
    /// Level 1: over twice as fast as level 3 on source text for a tenth more bytes.
    fn default() -> Self {
        Self::Zstd(1)
    }
}

impl Draft {
    /// Nothing yet.
    pub fn new(kind: FrameKind) -> Self {
        Self { kind, raw: Vec::new(), chunks: Vec::new() }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many raw bytes are in it.
    pub fn raw_bytes(&self) -> usize {
        self.raw.len()
    }

    /// How many chunks are in it.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Whether a chunk of `bytes` belongs in it: the first always does, small ones up to
    /// [`GROUP_BYTES`], and a page is alone.
    pub fn takes(&self, bytes: usize) -> bool {
        let fits = self.raw.len() + bytes <= GROUP_BYTES && self.chunks.len() < GROUP_CHUNKS;
        self.is_empty() || (self.kind == FrameKind::Data && fits)
    }

    /// Adds a chunk.
    ///
    /// # Errors
    /// `Internal` if it is longer than any chunk, or does not belong in it.
    pub fn push(&mut self, id: ChunkId, raw: &[u8]) -> Result<()> {
        if raw.len() > FRAME_MAX_BYTES || !self.takes(raw.len()) {
            return Err(Error::internal("a chunk does not fit its frame").context("bytes", raw.len()));
        }
        self.raw.extend_from_slice(raw);
        self.chunks.push(FrameChunk { id, bytes: length(raw.len())? });
        Ok(())
    }

    /// The frame of these chunks.
    ///
    /// # Errors
    /// `Internal` if zstd fails.
    pub fn compress(self, compressor: &mut Compressor) -> Result<Frame> {
        let plain = compressor.pack(&self.raw)?;
        Ok(Frame { kind: self.kind, chunks: self.chunks, plain })
    }
}

impl Compressor {
    /// Compresses as told.
    ///
    /// # Errors
    /// `Internal` if zstd does not know the level.
    pub fn new(compression: Compression) -> Result<Self> {
        let Compression::Zstd(level) = compression else { return Ok(Self { zstd: None, body: Vec::new() }) };
        let context = zstd::bulk::Compressor::new(level)
            .map_err(|e| Error::internal("zstd cannot be set up").context("level", level).with_source(e))?;
        Ok(Self { zstd: Some(context), body: Vec::new() })
    }

    /// Head and body of a part: compressed, or stored where that is not smaller.
    ///
    /// # Errors
    /// `Internal` if zstd fails.
    pub(super) fn pack(&mut self, raw: &[u8]) -> Result<Vec<u8>> {
        if let Some(plain) = self.shrink(raw)? {
            return Ok(plain);
        }
        let mut plain = Vec::with_capacity(HEAD_BYTES + raw.len());
        plain.extend_from_slice(&head(STORED, raw.len())?);
        plain.extend_from_slice(raw);
        Ok(plain)
    }

    fn shrink(&mut self, raw: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(zstd) = &mut self.zstd else { return Ok(None) };
        let bound = zstd::zstd_safe::compress_bound(raw.len());
        if self.body.len() < bound {
            self.body.resize(bound, 0);
        }
        let compressed = zstd.compress_to_buffer(raw, &mut self.body[..]);
        let bytes = compressed.map_err(|e| Error::internal("zstd failed").with_source(e))?;
        if bytes >= raw.len() {
            return Ok(None);
        }
        let mut plain = Vec::with_capacity(HEAD_BYTES + bytes);
        plain.extend_from_slice(&head(ZSTD, raw.len())?);
        plain.extend_from_slice(&self.body[..bytes]);
        Ok(Some(plain))
    }
}

impl Opener {
    /// Opens with memory of its own.
    ///
    /// # Errors
    /// `Internal` if zstd cannot be set up.
    pub fn new() -> Result<Self> {
        let context = zstd::bulk::Decompressor::new()
            .map_err(|e| Error::internal("zstd cannot be set up").with_source(e))?;
        Ok(Self(context))
    }

    /// The raw bytes of a sealed frame. Its chunks are not checked yet: [`chunk_of`] does.
    ///
    /// Takes at most [`FRAME_MAX_BYTES`] of memory beside the sealed bytes' own length.
    ///
    /// # Errors
    /// `Corrupt` if it is not a frame, or was sealed as something else.
    pub fn open_frame(&mut self, sealed: Bytes, sealing: &Sealing, binding: &Binding<'_>) -> Result<Bytes> {
        self.open(sealed, sealing, binding, FRAME_MAX_BYTES)
    }

    /// The raw bytes of any sealed part of at most `limit` raw bytes.
    pub(super) fn open(
        &mut self,
        sealed: Bytes,
        sealing: &Sealing,
        binding: &Binding<'_>,
        limit: usize,
    ) -> Result<Bytes> {
        if sealed.len() > HEAD_BYTES + limit + sealing.overhead() {
            return Err(broken("a part is longer than any", binding));
        }
        let plain = match sealing {
            Sealing::Clear => sealed,
            Sealing::Key(_, key) => Bytes::from(key.open(&sealed, binding)?),
        };
        self.unpack(plain, limit).ok_or_else(|| broken("a part does not unpack", binding))
    }

    fn unpack(&mut self, plain: Bytes, limit: usize) -> Option<Bytes> {
        let (head, body) = plain.split_first_chunk::<HEAD_BYTES>()?;
        let [how, length @ ..] = *head;
        let raw = usize::try_from(u32::from_le_bytes(length)).ok().filter(|raw| *raw <= limit)?;
        match how {
            STORED if body.len() == raw => Some(plain.slice(HEAD_BYTES..)),
            ZSTD => {
                let mut out = Vec::with_capacity(raw);
                self.0.decompress_to_buffer(body, &mut out).ok()?;
                (out.len() == raw).then(|| Bytes::from(out))
            }
            _ => None,
        }
    }
}

/// The chunk that `reference` names, out of its opened frame.
///
/// # Errors
/// `Corrupt` if it is not what was written: every read passes here.
pub fn chunk_of(frame: &Bytes, reference: &ChunkRef, ids: &IdKey) -> Result<Bytes> {
    let at = &reference.at;
    let corrupt = |what: &'static str| {
        Error::new(ErrorKind::Corrupt, what)
            .context("chunk", reference.id)
            .context("at", at)
            .advise("keep the object; restore the volume from a snapshot that is whole")
    };
    let begin = usize::try_from(at.offset).map_err(|_| corrupt("a chunk lies beyond memory"))?;
    let length = usize::try_from(at.bytes).map_err(|_| corrupt("a chunk lies beyond memory"))?;
    let end = begin.checked_add(length).filter(|end| *end <= frame.len());
    let chunk = frame.slice(begin..end.ok_or_else(|| corrupt("a chunk lies beyond its frame"))?);
    if ids.id(&chunk) == reference.id {
        return Ok(chunk);
    }
    Err(corrupt("a chunk is not what was written"))
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

/// A length as the format stores it.
pub(super) fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes)
        .map_err(|_| Error::internal("longer than the format can say").context("bytes", bytes))
}

fn head(how: u8, raw: usize) -> Result<[u8; HEAD_BYTES]> {
    let [a, b, c, d] = length(raw)?.to_le_bytes();
    Ok([how, a, b, c, d])
}

fn broken(what: &'static str, binding: &Binding<'_>) -> Error {
    Error::new(ErrorKind::Corrupt, what)
        .context("volume", binding.volume)
        .context("epoch", binding.epoch)
        .context("number", binding.number)
        .context("offset", binding.offset)
        .advise("keep the object; restore the volume from a snapshot that is whole")
}

#[cfg(test)]
mod tests;
