//! The trailer: the last bytes of a pack and of a commit object, of a fixed length and never sealed.

use crate::format::crypt::KeyNumber;
use persist_core::{Error, ErrorKind, Result};

/// How long every trailer is, in bytes.
pub const TRAILER_BYTES: usize = 48;

/// What the bytes of packs and commits say first: that they are ours.
const MAGIC: &[u8; 8] = b"persist\0";

/// The version of packs and commits that this version reads and writes.
pub(crate) const VERSION: u16 = 1;

/// What kind of object a trailer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ObjectKind {
    /// Frames, and their directory.
    Pack = 1,
    /// Whole packs, and the record of a commit.
    Commit = 2,
}

/// The lengths that are needed to take an object apart from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// What the object is.
    pub kind: ObjectKind,
    /// Which key seals it.
    pub key: KeyNumber,
    /// How many bytes of frames, or of packs, it begins with.
    pub body_bytes: u32,
    /// How many bytes of sealed directory, or of sealed record, follow.
    pub index_bytes: u32,
    /// Random: makes the name of an object unlike every other one, also its twin's on a cloned machine.
    pub nonce: [u8; 16],
}

impl Trailer {
    /// The bytes that are stored.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut bytes = [0; TRAILER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.kind as u8;
        bytes[12..14].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.index_bytes.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.nonce);
        bytes
    }

    /// Reads the trailer of an object of `kind` from the end of `tail`, any last part of the object.
    ///
    /// # Errors
    /// `Corrupt` for anything that is not such a trailer; `Unsupported` for a newer version.
    pub fn decode(tail: &[u8], kind: ObjectKind) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "an object of the volume does not end as one");
        let bytes = tail.last_chunk::<TRAILER_BYTES>().ok_or_else(corrupt)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        if !bytes.starts_with(MAGIC) {
            return Err(corrupt());
        }
        if half(8) != VERSION {
            return Err(Error::new(ErrorKind::Unsupported, "an object has a version that is not known here")
                .context("version", half(8))
                .advise("use a newer version"));
        }
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&bytes[32..48]);
        let (body_bytes, index_bytes) = (word(16), word(20));
        let trailer = Self { kind, key: KeyNumber(half(12)), body_bytes, index_bytes, nonce };
        // Also the reserved bytes are zero: this version writes no others.
        if trailer.encode() == *bytes { Ok(trailer) } else { Err(corrupt()) }
    }

    /// How long the object is.
    pub fn object_bytes(&self) -> u64 {
        u64::from(self.body_bytes) + self.tail_bytes()
    }

    /// How long the part is that the object's name is the hash of: index and trailer.
    pub fn tail_bytes(&self) -> u64 {
        u64::from(self.index_bytes) + TRAILER_BYTES as u64
    }
}
