//! Building a pack, frame by frame: where a chunk lies is known at once, the pack's name at the end.

use super::{
    Directory, DirectoryFrame, ObjectKind, PACK_MAX_CHUNKS, PACK_TARGET_BYTES, TRAILER_BYTES, Trailer,
};
use crate::{
    format::{
        crypt::{Binding, Part, Sealing},
        frame::{Compressor, Frame, length},
        location::{ChunkRef, PackIndex},
        wire,
    },
    head::record::PackName,
};
use bytes::Bytes;
use persist_core::{Epoch, Error, Result, VolumeId};

/// What a pack is bound to before it has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackSlot {
    /// The volume that writes it.
    pub volume: VolumeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Which pack of that epoch: a writer never uses a number twice.
    pub number: u64,
    /// Its place in the pack table.
    pub index: PackIndex,
}

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    slot: PackSlot,
    sealing: Sealing,
    body: Vec<Bytes>,
    body_bytes: usize,
    chunks: usize,
    frames: Vec<DirectoryFrame>,
}

/// A finished pack. The same bytes are an object of their own, or lie within a commit object.
#[derive(Debug, Clone)]
pub struct Pack {
    /// Where it was made for.
    pub slot: PackSlot,
    /// Its name.
    pub name: PackName,
    /// Which key seals it.
    pub key: crate::format::crypt::KeyNumber,
    /// How long it is.
    pub bytes: u32,
    /// Its bytes, in order.
    pub parts: Vec<Bytes>,
}

impl PackBuilder {
    /// An empty pack.
    pub fn new(slot: PackSlot, sealing: Sealing) -> Self {
        Self { slot, sealing, body: Vec::new(), body_bytes: 0, chunks: 0, frames: Vec::new() }
    }

    /// Whether `frame` still belongs in this pack.
    pub fn takes(&self, frame: &Frame) -> bool {
        self.body_bytes < PACK_TARGET_BYTES && self.chunks + frame.chunks.len() <= PACK_MAX_CHUNKS
    }

    /// Whether no frame is in it.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many bytes of frames are in it.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Its place in the pack table.
    pub fn index(&self) -> PackIndex {
        self.slot.index
    }

    /// Seals `frame` and adds it; says where its chunks are, in order.
    ///
    /// # Errors
    /// `Internal` if it does not belong in this pack.
    pub fn append(&mut self, frame: Frame) -> Result<Vec<ChunkRef>> {
        if !self.takes(&frame) {
            return Err(Error::internal("a frame does not fit its pack").context("pack", self.slot.index));
        }
        let offset = length(self.body_bytes)?;
        let sealed = seal(frame.plain, &self.sealing, &self.slot.binding(Part::Frame, offset))?;
        let sealed_bytes = length(sealed.len())?;
        let entry = DirectoryFrame { sealed_bytes, kind: frame.kind, chunks: frame.chunks };
        let references = entry.references(self.slot.index, offset).collect();
        self.body_bytes += sealed.len();
        self.chunks += entry.chunks.len();
        self.body.push(sealed);
        self.frames.push(entry);
        Ok(references)
    }

    /// The finished pack; `nonce` is fresh random bytes, drawn for this pack alone.
    ///
    /// # Errors
    /// `Internal` if zstd or the cipher fails.
    pub fn finish(self, compressor: &mut Compressor, nonce: [u8; 16]) -> Result<Pack> {
        let body_bytes = length(self.body_bytes)?;
        let directory = Directory { index: self.slot.index, frames: self.frames };
        let plain = compressor.pack(&directory.encode()?)?;
        let index = seal(plain, &self.sealing, &self.slot.binding(Part::Directory, body_bytes))?;
        let key = self.sealing.number();
        let index_bytes = length(index.len())?;
        let trailer = Trailer { kind: ObjectKind::Pack, key, body_bytes, index_bytes, nonce }.encode();
        let hash = wire::tail_digest(&index, &trailer);
        let name = PackName { epoch: self.slot.epoch, seq: self.slot.number, hash };
        let bytes = length(self.body_bytes + index.len() + TRAILER_BYTES)?;
        let mut parts = self.body;
        parts.extend([index, Bytes::copy_from_slice(&trailer)]);
        Ok(Pack { slot: self.slot, name, key, bytes, parts })
    }
}

impl PackSlot {
    fn binding(&self, part: Part, offset: u32) -> Binding<'_> {
        Binding { volume: &self.volume, epoch: self.epoch, number: self.number, part, offset }
    }
}

/// `plain` as it is stored.
pub(crate) fn seal(plain: Vec<u8>, sealing: &Sealing, binding: &Binding<'_>) -> Result<Bytes> {
    match sealing {
        Sealing::Clear => Ok(plain.into()),
        Sealing::Key(_, key) => {
            let mut sealed = Vec::new();
            key.seal(&plain, binding, &mut sealed)?;
            Ok(sealed.into())
        }
    }
}
