//! The keys of a volume, and how a part is sealed with them.
//!
//! Every sealed part is AES-256-GCM (NIST SP 800-38D) under a key of its own, derived from the keyed hash of
//! its plaintext and from what it is bound to. So a nonce never repeats under a key, also on a machine that
//! was cloned while it ran and draws the same random bits as its twin: other plaintext is another key, and
//! the same plaintext at the same place is the same ciphertext.

use super::location::ChunkId;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use persist_core::{Epoch, Error, ErrorKind, Result, VolumeId};
use std::{fmt, sync::Arc};
use zeroize::{Zeroize, Zeroizing};

/// Of every secret here, in bytes: the key of AES-256 and of keyed BLAKE3.
pub const KEY_BYTES: usize = 32;

/// What sealing adds to a part: the synthetic value that its key is derived from, and the tag of GCM.
pub const SEAL_BYTES: usize = SYNTHETIC_BYTES + TAG_BYTES;

/// 256 bits, so that two plaintexts never meet in one key: the bound for a collision is 2^128.
const SYNTHETIC_BYTES: usize = 32;

/// The full tag of GCM (NIST SP 800-38D, section 5.2.1.2).
const TAG_BYTES: usize = 16;

// What BLAKE3 derives is told apart by these texts. They are format: they never change.
const CHUNK_ID: &str = "persist-s3 2026-11-22 v1 chunk id";
const PLAINTEXT_HASH: &str = "persist-s3 2026-11-22 v1 hash of the plaintext of a part";
const PART_KEY: &str = "persist-s3 2026-11-22 v1 key of a part";
const CALLER_KEY: &str = "persist-s3 2026-11-22 v1 caller key that wraps";
const CALLER_CHECK: &str = "persist-s3 2026-11-22 v1 caller key check";

/// What a sealed part is bound to: opened as anything else, it is `Corrupt`.
#[derive(Debug, Clone, Copy)]
pub struct Binding<'a> {
    /// The volume under which the pack was written: a fork reads the packs of its origin as its origin's.
    pub volume: &'a VolumeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Which pack of that epoch; for the record of a commit, which commit of the volume.
    pub number: u64,
    /// What it is.
    pub part: Part,
    /// Where it begins in its pack or commit object, in bytes; for a key, its slot.
    pub offset: u32,
}

/// What kind of thing is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// A frame of chunks, or a tree page.
    Frame = 1,
    /// The directory of a pack.
    Directory = 2,
    /// The record of a commit.
    Record = 3,
    /// A key, wrapped by the caller's.
    Key = 4,
}

/// The secret of a lineage: a volume and its forks name equal chunks equally, and nobody else can tell.
#[derive(Clone)]
pub struct ChunkSecret(Zeroizing<[u8; KEY_BYTES]>);

/// Names chunks; cheap to clone, used from many threads.
#[derive(Clone)]
pub struct IdKey(Arc<Zeroizing<[u8; KEY_BYTES]>>);

/// What the caller keeps outside the bucket; it wraps the volume's own keys. There is no default.
#[derive(Clone)]
pub struct CallerKey(Zeroizing<[u8; KEY_BYTES]>);

/// Seals and opens parts; cheap to clone, used from many threads.
#[derive(Clone)]
pub struct SealKey(Arc<Derived>);

struct Derived {
    hash: Zeroizing<[u8; KEY_BYTES]>,
    seal: Zeroizing<[u8; KEY_BYTES]>,
}

/// Which of a volume's master keys seals a pack or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyNumber(pub u16);

impl KeyNumber {
    /// No key: the part is stored as it is.
    pub const CLEAR: Self = Self(0);
    /// The first master key of a volume.
    pub const FIRST: Self = Self(1);
}

/// Whether parts are sealed, and by which key.
#[derive(Debug, Clone)]
pub enum Sealing {
    /// They are stored as they are: whoever reads the bucket reads the volume.
    Clear,
    /// They are sealed by the volume's master key of this number.
    Key(KeyNumber, SealKey),
}

impl ChunkSecret {
    /// The secret of these bytes: fresh random ones for a new lineage.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Names the lineage's chunks.
    pub fn ids(&self) -> IdKey {
        IdKey(Arc::new(derive(CHUNK_ID, &self.0)))
    }

    /// The bytes, for whoever stores or derives.
    pub(super) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl IdKey {
    /// The name of a chunk or a page of these raw bytes.
    pub fn id(&self, raw: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.0, raw).as_bytes())
    }
}

impl CallerKey {
    /// The key of these bytes; they must be random, a password is not a key.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What tells this key from another without telling anything about it.
    pub(super) fn check(&self, volume: &VolumeId) -> [u8; 16] {
        let key = derive(CALLER_CHECK, &self.0);
        let hash = blake3::keyed_hash(&key, volume.to_string().as_bytes());
        let mut check = [0; 16];
        check.copy_from_slice(&hash.as_bytes()[..16]);
        check
    }

    /// Wraps and unwraps keys.
    pub(super) fn wrapping(&self) -> SealKey {
        SealKey::new(&derive(CALLER_KEY, &self.0))
    }
}

impl SealKey {
    /// Derives what seals from a master key.
    pub fn new(master: &[u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Derived { hash: derive(PLAINTEXT_HASH, master), seal: derive(PART_KEY, master) }))
    }

    /// Appends `plain` to `out`, sealed: [`SEAL_BYTES`] longer.
    ///
    /// # Errors
    /// `Internal` if the cipher refuses, which it does only beyond 64 GiB.
    pub fn seal(&self, plain: &[u8], binding: &Binding<'_>, out: &mut Vec<u8>) -> Result<()> {
        let context = binding.bytes();
        let synthetic = self.synthetic(&context, plain);
        out.reserve(plain.len() + SEAL_BYTES);
        out.extend_from_slice(&synthetic);
        let begin = out.len();
        out.extend_from_slice(plain);
        let tag = self
            .cipher(&context, &synthetic)?
            .seal_in_place_separate_tag(nonce(), Aad::from(&context[..]), &mut out[begin..])
            .map_err(|e| Error::internal("a part cannot be sealed").with_source(e))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// What was sealed as `binding` says.
    ///
    /// # Errors
    /// `Corrupt` if it is not exactly that: a changed byte, another place, another key.
    pub fn open(&self, sealed: &[u8], binding: &Binding<'_>) -> Result<Vec<u8>> {
        let corrupt = || {
            Error::new(ErrorKind::Corrupt, "a sealed part is not what was written")
                .context("volume", binding.volume)
                .context("epoch", binding.epoch)
                .context("number", binding.number)
                .context("offset", binding.offset)
                .advise("keep the object; restore the volume from a snapshot that is whole")
        };
        let length = sealed.len().checked_sub(SEAL_BYTES).ok_or_else(corrupt)?;
        let (synthetic, rest) = sealed.split_at(SYNTHETIC_BYTES);
        let (body, tag) = rest.split_at(length);
        let context = binding.bytes();
        let mut plain = vec![0; length];
        self.cipher(&context, synthetic)?
            .open_separate_gather(nonce(), Aad::from(&context[..]), body, tag, &mut plain)
            .map_err(|_| corrupt())?;
        Ok(plain)
    }

    fn synthetic(&self, context: &[u8], plain: &[u8]) -> [u8; SYNTHETIC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.hash);
        hasher.update(context).update(plain);
        let synthetic = *hasher.finalize().as_bytes();
        hasher.zeroize();
        synthetic
    }

    fn cipher(&self, context: &[u8], synthetic: &[u8]) -> Result<LessSafeKey> {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.seal);
        hasher.update(context).update(synthetic);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        hasher.zeroize();
        let key = UnboundKey::new(&AES_256_GCM, &*key)
            .map_err(|e| Error::internal("the key of a part cannot be made").with_source(e))?;
        Ok(LessSafeKey::new(key))
    }
}

impl Sealing {
    /// The number that a reader finds the key by.
    pub fn number(&self) -> KeyNumber {
        match self {
            Self::Clear => KeyNumber::CLEAR,
            Self::Key(number, _) => *number,
        }
    }

    /// How many bytes it adds to a part.
    pub fn overhead(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::Key(..) => SEAL_BYTES,
        }
    }
}

/// A binding as it is authenticated: the volume's id as text, then numbers, little end first.
const BINDING_BYTES: usize = 36 + 8 + 8 + 1 + 4;

impl Binding<'_> {
    fn bytes(&self) -> [u8; BINDING_BYTES] {
        let mut bytes = [0; BINDING_BYTES];
        let volume = self.volume.to_string();
        for (to, from) in bytes.iter_mut().zip(volume.as_bytes()) {
            *to = *from;
        }
        bytes[36..44].copy_from_slice(&self.epoch.get().to_le_bytes());
        bytes[44..52].copy_from_slice(&self.number.to_le_bytes());
        bytes[52] = self.part as u8;
        bytes[53..57].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }
}

/// Zero: a key seals one plaintext.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn derive(purpose: &str, from: &[u8; KEY_BYTES]) -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(blake3::derive_key(purpose, from))
}

/// A secret shows its name and nothing else.
macro_rules! silent {
    ($($name:ident),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}

silent!(ChunkSecret, IdKey, CallerKey, SealKey);

#[cfg(test)]
mod tests;
