//! The head: the one mutable record of a volume, whose change *is* the commit.

pub use super::names::{CommitName, Digest, PackName};
use super::{
    lease::TTL_MAX,
    names::{Condemned, UniqueName},
};
use persist_core::{
    Access, AttachmentId, Epoch, Error, ErrorKind, Holder, Result, VolumeId, VolumeName, clock::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::Duration};

/// The head's largest size in bytes: one small request, and what an inline list of tombstones needs.
pub const HEAD_MAX_BYTES: usize = 4096;

/// The format that this version reads and writes.
pub const FORMAT: u16 = 1;

/// The mandatory features that this version knows: none so far. A volume that uses another one is refused.
pub const FEATURES: [&str; 0] = [];

/// How many tombstones a head holds itself: 32 names of at most 80 bytes leave room for the longest lease.
/// More are one immutable object, which the head names.
pub const TOMBSTONES_MAX: usize = 32;

/// The one mutable record of a volume: at which commit it is, and who writes.
///
/// Created with `If-None-Match: *`, changed only with `If-Match`, never deleted: deletion writes a head
/// whose stage is [`Stage::Deleted`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format.
    pub format: u16,
    /// The mandatory features that the volume uses.
    pub features: BTreeSet<String>,
    /// The volume: a head of another volume is refused.
    pub volume: VolumeId,
    /// Its name: a name's record that says otherwise is out of date.
    pub name: VolumeName,
    /// Where the volume is in its life.
    pub stage: Stage,
    /// The immutable object that says what the volume is: spec, labels, size, protection.
    pub record: UniqueName,
    /// The epoch: only grows.
    pub epoch: Epoch,
    /// How many commits were accepted.
    pub seq: u64,
    /// The commit that the volume is at.
    pub commit: Option<CommitName>,
    /// Who may write; none while nobody does.
    pub lease: Option<Lease>,
    /// What is about to be removed: whoever needs it uploads it again under another name.
    pub tombstones: BTreeSet<Condemned>,
    /// The immutable object that lists what else is about to be removed.
    pub more_tombstones: Option<UniqueName>,
    /// Whether any of that may still stay.
    #[serde(default, skip_serializing_if = "Removal::is_announced")]
    pub removal: Removal,
    /// What makes this body unlike every other one.
    pub write: WriteId,
}

/// How far the removal of what a head condemns has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Removal {
    /// No delete was sent: what somebody speaks for is spared.
    #[default]
    Announced,
    /// Deletes may be under way, also those of a process that is gone, and arrive at any time: all of it goes,
    /// and stays condemned until it is gone for certain.
    Begun,
}

impl Removal {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_announced(&self) -> bool {
        *self == Self::Announced
    }
}

/// Where a volume is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// Its name is not known to be written. It was never acknowledged: `prune` may undo it.
    Naming,
    /// It is there.
    Live,
    /// Somebody is about to delete it, and looks who needs it. Whoever takes the head undoes that; nobody
    /// takes a snapshot meanwhile.
    Deleting,
    /// It was deleted and can be taken back.
    Trashed(Trashed),
    /// It is being taken back, and its new name is not known to be written.
    Returning(Trashed),
    /// It was deleted. Final.
    Deleted,
}

/// Between which times, by the deleter's clock, a volume is in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trashed {
    /// When it was deleted.
    pub since: Timestamp,
    /// From when it may be removed.
    pub until: Timestamp,
}

impl Stage {
    /// Between which times the volume is in the trash; none if it is not.
    pub fn trashed(self) -> Option<Trashed> {
        match self {
            Self::Trashed(trashed) | Self::Returning(trashed) => Some(trashed),
            _ => None,
        }
    }
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
    /// In which mode.
    pub access: Access,
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
    /// The head of a new volume that `record` describes: no commit, no name yet, nobody writes.
    ///
    /// # Errors
    /// As [`sealed`](Self::sealed).
    pub fn new(volume: VolumeId, name: VolumeName, record: UniqueName, nonce: u128) -> Result<Self> {
        let head = Self {
            format: FORMAT,
            features: BTreeSet::new(),
            volume,
            name,
            stage: Stage::Naming,
            record,
            epoch: Epoch::ZERO,
            seq: 0,
            commit: None,
            lease: None,
            tombstones: BTreeSet::new(),
            more_tombstones: None,
            removal: Removal::Announced,
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
        let unreadable = |e| corrupt("the head cannot be read").with_source(e);
        // Format and features come first: a newer head may have fields that this version does not know.
        serde_json::from_slice::<Preamble>(bytes).map_err(unreadable)?.check()?;
        let head: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if head.volume != *volume {
            return Err(corrupt("the head is another volume's").context("found", head.volume));
        }
        if head.clone().sealed(head.write.nonce)?.write != head.write {
            return Err(corrupt("the head does not match its own hash"));
        }
        if head.lease.as_ref().is_some_and(|lease| lease.ttl > TTL_MAX) {
            return Err(corrupt("the lease lasts longer than any"));
        }
        Ok(head)
    }
}

/// What every version of a head begins with.
#[derive(Deserialize)]
struct Preamble {
    format: u16,
    features: BTreeSet<String>,
}

impl Preamble {
    fn check(&self) -> Result<()> {
        let newer =
            |what: &'static str| Error::new(ErrorKind::Unsupported, what).advise("use a newer version");
        if self.format != FORMAT {
            return Err(
                newer("the head has a format that this version does not know").context("format", self.format)
            );
        }
        let unknown = self.features.iter().find(|feature| !FEATURES.contains(&feature.as_str()));
        unknown.map_or(Ok(()), |feature| {
            Err(newer("the volume uses a feature that this version does not know")
                .context("feature", format_args!("{feature:?}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::{Liveness, Node, NodeId, Workload, clock::SystemEnvironment, holder::BootId};

    fn name() -> VolumeName {
        VolumeName::new("shop").unwrap()
    }

    fn first_head() -> Head {
        Head::new(volume(1), name(), UniqueName::of(Epoch::ZERO, 0, b""), 7).unwrap()
    }

    fn volume(last: u8) -> VolumeId {
        VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap()
    }

    #[test]
    fn a_head_reads_back_and_a_changed_byte_is_corrupt() {
        let head = first_head();
        let bytes = head.encode().unwrap();
        assert_eq!(Head::decode(&bytes, &volume(1)).unwrap(), head);
        let text = String::from_utf8(bytes).unwrap().replace("\"epoch\":0", "\"epoch\":9");
        assert_eq!(Head::decode(text.as_bytes(), &volume(1)).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn garbage_and_other_heads_are_refused() {
        let other =
            Head::new(volume(2), name(), UniqueName::of(Epoch::ZERO, 0, b""), 7).unwrap().encode().unwrap();
        let newer = String::from_utf8(first_head().encode().unwrap()).unwrap();
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
    fn a_lease_longer_than_any_is_corrupt_before_anybody_computes_with_it() {
        for (ttl, refused) in [(TTL_MAX, false), (Duration::MAX, true)] {
            let mut head = first_head();
            let node = Node::new(NodeId::new("n").unwrap(), BootId::new("b").unwrap());
            let holder = Holder::new(node, Workload::new("w").unwrap(), Liveness::Boot);
            head.lease = Some(Lease {
                attachment: AttachmentId::mint(&SystemEnvironment, &SystemEnvironment),
                session: SessionId(1),
                holder,
                access: Access::ReadWrite,
                since: Timestamp::from_millisecond(0),
                ttl,
                beats: Beats::Renewed,
            });
            let bytes = head.sealed(8).unwrap().encode().unwrap();
            assert_eq!(Head::decode(&bytes, &volume(1)).is_err(), refused, "{ttl:?}");
        }
    }

    #[test]
    fn a_head_that_outgrows_its_object_is_refused_when_it_is_made() {
        let mut head = first_head();
        let pack = |seq| Condemned::Pack(PackName { epoch: Epoch::new(1), seq, hash: Digest([0; 16]) });
        head.tombstones = (0..100).map(pack).collect();
        assert_eq!(head.sealed(8).unwrap_err().kind(), ErrorKind::Exhausted);
    }

    #[test]
    fn the_same_change_with_other_randomness_is_another_body() {
        let head = first_head();
        assert_ne!(head.clone().sealed(8).unwrap().encode().unwrap(), head.encode().unwrap());
    }
}
