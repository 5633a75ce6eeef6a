//! The head: the one mutable record of a volume, whose change *is* the commit.

use persist_core::{AttachmentId, Epoch, Error, ErrorKind, Holder, Result, VolumeId, clock::Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, time::Duration};

/// The head's largest size in bytes: one small request, and what an inline list of tombstones needs.
pub const HEAD_MAX_BYTES: usize = 4096;

/// The format that this version reads and writes.
pub const FORMAT: u16 = 1;

/// The one mutable record of a volume: at which commit it is, and who writes.
///
/// Created with `If-None-Match: *`, changed only with `If-Match`, never deleted: deletion writes a head
/// whose stage is [`Stage::Deleted`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format.
    pub format: u16,
    /// The volume: a head of another volume is refused.
    pub volume: VolumeId,
    /// Whether there is a volume.
    pub stage: Stage,
    /// The epoch: only grows.
    pub epoch: Epoch,
    /// How many commits were accepted.
    pub seq: u64,
    /// The commit that the volume is at.
    pub commit: Option<CommitName>,
    /// Who may write; none while nobody does.
    pub lease: Option<Lease>,
    /// Packs that are about to be removed: whoever needs one uploads it again under another name.
    pub tombstones: BTreeSet<PackName>,
    /// What makes this body unlike every other one.
    pub write: WriteId,
}

/// Whether there is a volume behind a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// There is.
    Live,
    /// It was deleted. Final.
    Deleted,
}

/// The right of one session to write, until it lets the head unchanged for too long.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The attachment that holds it.
    pub attachment: AttachmentId,
    /// One life of the process that holds it; 128 random bits, never used again.
    pub session: SessionId,
    /// On which node, for what, and what would prove it dead.
    pub holder: Holder,
    /// Since when, by the holder's clock: for people.
    pub since: Timestamp,
    /// How long the head may stay unchanged before another may take it.
    pub ttl: Duration,
    /// Whether the holder renews it.
    pub beats: Beats,
}

/// Whether a holder renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Beats {
    /// It does, three times in a ttl.
    Renewed,
    /// It does not: the lease never expires, and ends by detach or by a vouch.
    Never,
}

/// One life of a process that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u128);

/// The name of an immutable commit object: `c/<seq>-<epoch>-<hash>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommitName {
    /// Which commit of the volume it would be.
    pub seq: u64,
    /// Under which epoch it was written.
    pub epoch: Epoch,
    /// The hash of its content.
    pub hash: Digest,
}

/// The name of an immutable pack: `p/<xx>/<epoch>-<seq>-<hash>`. Epoch and number make it unique: a name
/// is never used again, so a DELETE that arrives late never removes what was uploaded since.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackName {
    /// Under which epoch it was written.
    pub epoch: Epoch,
    /// Which upload of that epoch it was.
    pub seq: u64,
    /// The hash of its content.
    pub hash: Digest,
}

/// The first 128 bits of a BLAKE3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 16]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 16];
        digest.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Self(digest)
    }
}

/// Makes each body of a head unlike every other one: 128 fresh random bits and the hash of the rest of
/// the body. An ETag is often a checksum of the content, so identical bodies would allow A-B-A; and a
/// machine that was cloned while it ran draws the same random bits for another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WriteId {
    /// Fresh for every body.
    pub nonce: u128,
    /// Of the body without its write id.
    pub body: Digest,
}

impl WriteId {
    /// Of a body that is not sealed yet.
    pub const UNSEALED: Self = Self { nonce: 0, body: Digest([0; 16]) };
}

impl Head {
    /// The head of a new volume: no commit, nobody writes.
    ///
    /// # Errors
    /// As [`sealed`](Self::sealed).
    pub fn new(volume: VolumeId, nonce: u128) -> Result<Self> {
        let head = Self {
            format: FORMAT,
            volume,
            stage: Stage::Live,
            epoch: Epoch::ZERO,
            seq: 0,
            commit: None,
            lease: None,
            tombstones: BTreeSet::new(),
            write: WriteId::UNSEALED,
        };
        head.sealed(nonce)
    }

    /// This head with a write id of its own.
    ///
    /// # Errors
    /// `Exhausted` if it is larger than [`HEAD_MAX_BYTES`].
    pub fn sealed(mut self, nonce: u128) -> Result<Self> {
        self.write = WriteId::UNSEALED;
        let body = Digest::of(&self.encode()?);
        self.write = WriteId { nonce, body };
        self.encode()?;
        Ok(self)
    }

    /// The bytes that are stored.
    ///
    /// # Errors
    /// `Exhausted` if it is larger than [`HEAD_MAX_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| Error::internal("a head cannot be written as JSON").with_source(e))?;
        if bytes.len() <= HEAD_MAX_BYTES {
            return Ok(bytes);
        }
        Err(Error::new(ErrorKind::Exhausted, "the head does not fit its object")
            .context("bytes", bytes.len())
            .context("limit", HEAD_MAX_BYTES)
            .advise("prune the volume, or shorten the workload's name"))
    }

    /// Reads the head of `volume`.
    ///
    /// # Errors
    /// `Corrupt` for anything that is not a whole head of that volume; `Unsupported` for a newer format.
    pub fn decode(bytes: &[u8], volume: &VolumeId) -> Result<Self> {
        let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what).context("volume", volume);
        if bytes.len() > HEAD_MAX_BYTES {
            return Err(corrupt("the head is larger than any head"));
        }
        let head: Self =
            serde_json::from_slice(bytes).map_err(|e| corrupt("the head cannot be read").with_source(e))?;
        if head.format != FORMAT {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the head has a format that this version does not know",
            )
            .context("format", head.format)
            .advise("use a newer version"));
        }
        if head.volume != *volume {
            return Err(corrupt("the head is another volume's").context("found", head.volume));
        }
        if head.clone().sealed(head.write.nonce)?.write != head.write {
            return Err(corrupt("the head does not match its own hash"));
        }
        Ok(head)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for CommitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c/{}-{}-{}", self.seq, self.epoch, self.hash)
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The first byte of the hash spreads the packs over 256 prefixes: object stores split by prefix.
        write!(f, "p/{:02x}/{}-{}-{}", self.hash.0[0], self.epoch, self.seq, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(last: u8) -> VolumeId {
        VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap()
    }

    #[test]
    fn a_head_reads_back_and_a_changed_byte_is_corrupt() {
        let head = Head::new(volume(1), 7).unwrap();
        let bytes = head.encode().unwrap();
        assert_eq!(Head::decode(&bytes, &volume(1)).unwrap(), head);
        let text = String::from_utf8(bytes).unwrap().replace("\"epoch\":0", "\"epoch\":9");
        assert_eq!(Head::decode(text.as_bytes(), &volume(1)).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn garbage_and_other_heads_are_refused() {
        let other = Head::new(volume(2), 7).unwrap().encode().unwrap();
        let newer = String::from_utf8(Head::new(volume(1), 7).unwrap().encode().unwrap()).unwrap();
        let newer = newer.replace("\"format\":1", "\"format\":2");
        let large = vec![b' '; HEAD_MAX_BYTES + 1];
        for (bytes, kind) in [
            (&b""[..], ErrorKind::Corrupt),
            (b"{}", ErrorKind::Corrupt),
            (b"\xff\xfe", ErrorKind::Corrupt),
            (&large, ErrorKind::Corrupt),
            (&other, ErrorKind::Corrupt),
            (newer.as_bytes(), ErrorKind::Unsupported),
        ] {
            assert_eq!(Head::decode(bytes, &volume(1)).unwrap_err().kind(), kind, "{bytes:?}");
        }
    }

    #[test]
    fn a_head_that_outgrows_its_object_is_refused_when_it_is_made() {
        let mut head = Head::new(volume(1), 7).unwrap();
        let pack = |seq| PackName { epoch: Epoch::new(1), seq, hash: Digest([0; 16]) };
        head.tombstones = (0..100).map(pack).collect();
        assert_eq!(head.sealed(8).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn the_same_change_with_other_randomness_is_another_body() {
        let head = Head::new(volume(1), 7).unwrap();
        assert_ne!(head.clone().sealed(8).unwrap().encode().unwrap(), head.encode().unwrap());
    }
}
