//! The directory of a pack: what its frames hold, so that a lost tree can be found again from packs alone.

use super::{DIRECTORY_MAX_BYTES, ObjectKind, PACK_MAX_CHUNKS, Trailer};
use crate::{
    format::{
        crypt::{Binding, Part},
        fmt::Keyring,
        frame::{FrameChunk, FrameKind, Opener},
        location::{ChunkRef, Location, PackIndex},
        wire,
    },
    head::record::PackName,
};
use bytes::Bytes;
use persist_core::{Error, ErrorKind, Result, VolumeId};
use serde::{Deserialize, Serialize};

/// What is in a pack, in the order in which it lies there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The pack's place in the pack table of the commit that it was written for.
    pub index: PackIndex,
    /// Its frames, one right after the other.
    pub frames: Vec<DirectoryFrame>,
}

/// One frame of a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryFrame {
    /// How long it is in the pack, in bytes.
    pub sealed_bytes: u32,
    /// What it holds.
    pub kind: FrameKind,
    /// Its chunks, one right after the other.
    pub chunks: Vec<FrameChunk>,
}

impl Directory {
    /// Reads the directory of the pack `name` of `volume` from `tail`, any last part of the pack that holds
    /// it: [`Trailer::tail_bytes`] says how much that is.
    ///
    /// Takes memory of a small multiple of [`DIRECTORY_MAX_BYTES`] at most.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was written under this name; `Denied` if its key is missing.
    pub fn open(
        tail: &Bytes,
        volume: &VolumeId,
        name: &PackName,
        keyring: &Keyring,
        opener: &mut Opener,
    ) -> Result<Self> {
        let trailer = Trailer::decode(tail, ObjectKind::Pack)?;
        let sealed = wire::indexed(tail, &trailer, &name.hash).map_err(|e| e.context("pack", name))?;
        let binding = Binding {
            volume,
            epoch: name.epoch,
            number: name.seq,
            part: Part::Directory,
            offset: trailer.body_bytes,
        };
        let sealing = keyring.sealing(volume, trailer.key)?;
        let raw = opener.open(sealed, &sealing, &binding, DIRECTORY_MAX_BYTES)?;
        let directory: Self = wire::decode(&raw, "the directory of a pack")?;
        if directory.adds_up(&trailer) {
            return Ok(directory);
        }
        Err(Error::new(ErrorKind::Corrupt, "the directory of a pack contradicts it").context("pack", name))
    }

    /// Where every chunk and page is, in order.
    pub fn references(&self) -> impl Iterator<Item = (FrameKind, ChunkRef)> + '_ {
        let mut frame_offset = 0;
        self.frames.iter().flat_map(move |frame| {
            let at = frame_offset;
            frame_offset += frame.sealed_bytes;
            frame.references(self.index, at).map(|reference| (frame.kind, reference))
        })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        wire::encode(self)
    }

    fn adds_up(&self, trailer: &Trailer) -> bool {
        let frames: u64 = self.frames.iter().map(|frame| u64::from(frame.sealed_bytes)).sum();
        let chunks: usize = self.frames.iter().map(|frame| frame.chunks.len()).sum();
        frames == u64::from(trailer.body_bytes) && chunks <= PACK_MAX_CHUNKS && self.chunks_fit()
    }

    fn chunks_fit(&self) -> bool {
        let raw = |frame: &DirectoryFrame| frame.chunks.iter().map(|c| u64::from(c.bytes)).sum::<u64>();
        self.frames.iter().all(|frame| raw(frame) <= crate::format::frame::FRAME_MAX_BYTES as u64)
    }
}

impl DirectoryFrame {
    /// Where the chunks of this frame are, if it begins at `frame_offset` of the pack `pack`.
    pub(super) fn references(
        &self,
        pack: PackIndex,
        frame_offset: u32,
    ) -> impl Iterator<Item = ChunkRef> + use<'_> {
        let mut offset = 0;
        self.chunks.iter().map(move |chunk| {
            let (begin, frame_bytes) = (offset, self.sealed_bytes);
            offset += chunk.bytes;
            let at = Location { pack, frame_offset, frame_bytes, offset: begin, bytes: chunk.bytes };
            ChunkRef { id: chunk.id, at }
        })
    }
}
