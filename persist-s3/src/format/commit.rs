//! Commit objects: the record of a commit, and for a small one its packs in front of it.

mod stored;

use super::{
    chunk::ChunkerId,
    crypt::{Binding, Part, Sealing},
    fmt::Keyring,
    frame::{Compressor, Opener, length},
    location::TreeRoot,
    pack::{ObjectKind, Pack, TRAILER_BYTES, Trailer, seal},
    table::PackTable,
    wire,
};
use crate::head::record::CommitName;
use bytes::Bytes;
use persist_core::{
    Consistency, Epoch, Error, ErrorKind, Result, VolumeId, clock::Timestamp, tree::TreePath,
};
use std::collections::{BTreeMap, BTreeSet};
use stored::{Stored, StoredTable};

/// The most raw bytes of a record: the table of 1.3 million packs, which is 40 TiB.
pub const RECORD_MAX_BYTES: usize = 32 << 20;

/// How many files that moved under the scan a commit names; it counts them all.
pub const MOVED_NAMED: usize = 64;

/// One accepted change of a volume, without its pack table.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// The volume.
    pub volume: VolumeId,
    /// Which commit of the volume it is.
    pub seq: u64,
    /// Under which epoch it was written.
    pub epoch: Epoch,
    /// The commit before it; for a fork's first, a commit of its origin.
    pub parent: Option<(VolumeId, CommitName)>,
    /// The tree.
    pub tree: TreeRoot,
    /// How consistent the cut was.
    pub consistency: Consistency,
    /// When it was cut, by the writer's clock: for people.
    pub time: Timestamp,
    /// What it cost.
    pub stats: CommitStats,
    /// Files that changed while they were read, and were stored as they were read.
    pub moved: Moved,
    /// How the files that it added were cut into chunks.
    pub chunkers: BTreeSet<ChunkerId>,
    /// Names of optional features; a reader may ignore what it does not know.
    pub features: BTreeSet<String>,
}

/// What a commit added to the bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommitStats {
    /// Bytes of file content that were new, as they were written.
    pub new_bytes: u64,
    /// Bytes of file content that the volume already had.
    pub known_bytes: u64,
    /// Bytes of packs, in the bucket.
    pub stored_bytes: u64,
}

/// Files that changed while they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Moved {
    /// How many.
    pub total: u64,
    /// The first [`MOVED_NAMED`] of them, in path order.
    pub first: Vec<TreePath>,
}

/// A commit that is ready to be uploaded.
#[derive(Debug, Clone)]
pub struct CommitObject {
    /// Its name.
    pub name: CommitName,
    /// Its bytes, in order.
    pub parts: Vec<Bytes>,
    /// The pack table as the next commit builds on it, if this one is accepted.
    pub table: PackTable,
}

/// A commit that was read. Its table may build on that of another commit.
#[derive(Debug, Clone)]
pub struct OpenedCommit {
    /// The commit.
    pub commit: Commit,
    /// Its name.
    pub name: CommitName,
    table: StoredTable,
}

/// How a commit is made into an object.
#[derive(Debug)]
pub struct CommitSeal<'a> {
    /// How the volume seals what it writes.
    pub sealing: &'a Sealing,
    /// Compresses.
    pub compressor: &'a mut Compressor,
    /// Fresh random bytes, drawn for this commit alone.
    pub nonce: [u8; 16],
}

impl Commit {
    /// The object of this commit, whose tree may refer to the packs of `table` and to those of `within`,
    /// which become part of the object.
    ///
    /// # Errors
    /// `Exhausted` if the table is larger than [`RECORD_MAX_BYTES`].
    pub fn seal(
        &self,
        table: &PackTable,
        within: Vec<Pack>,
        seal_as: CommitSeal<'_>,
    ) -> Result<CommitObject> {
        let (mut table, mut parts, mut places) = (table.clone(), Vec::new(), BTreeMap::new());
        let mut body_bytes = 0_u32;
        for pack in within {
            let entry = super::table::PackEntry::of(&pack);
            places.insert(pack.slot.index, body_bytes);
            table.put(pack.slot.index, entry);
            body_bytes = body_bytes.checked_add(pack.bytes).ok_or_else(too_large)?;
            parts.extend(pack.parts);
        }
        let raw = wire::encode(&Stored::new(self, &table, &places)?)?;
        if raw.len() > RECORD_MAX_BYTES {
            return Err(too_large());
        }
        let index = seal(seal_as.compressor.pack(&raw)?, seal_as.sealing, &self.binding(body_bytes))?;
        let (kind, key, index_bytes) = (ObjectKind::Commit, seal_as.sealing.number(), length(index.len())?);
        let trailer = Trailer { kind, key, body_bytes, index_bytes, nonce: seal_as.nonce }.encode();
        let hash = wire::tail_digest(&index, &trailer);
        let name = CommitName { seq: self.seq, epoch: self.epoch, hash };
        parts.extend([index, Bytes::copy_from_slice(&trailer)]);
        let table = stored::settle(table, &places, &name);
        Ok(CommitObject { name, parts, table })
    }

    fn binding(&self, offset: u32) -> Binding<'_> {
        record_binding(&self.volume, self.epoch, self.seq, offset)
    }
}

impl CommitObject {
    /// How long the object is.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

impl OpenedCommit {
    /// Reads the commit `name` of `volume` from `tail`, any last part of its object that holds the record:
    /// [`tail_bytes`] says how much that is.
    ///
    /// Takes memory of a small multiple of [`RECORD_MAX_BYTES`] at most.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was written under this name; `Denied` if its key is missing;
    /// `Unsupported` for a newer version.
    pub fn open(
        tail: &Bytes,
        volume: &VolumeId,
        name: &CommitName,
        keyring: &Keyring,
        opener: &mut Opener,
    ) -> Result<Self> {
        let trailer = Trailer::decode(tail, ObjectKind::Commit)?;
        let sealed = wire::indexed(tail, &trailer, &name.hash).map_err(|e| e.context("commit", name))?;
        let binding = record_binding(volume, name.epoch, name.seq, trailer.body_bytes);
        let raw = opener.open(sealed, &keyring.sealing(volume, trailer.key)?, &binding, RECORD_MAX_BYTES)?;
        let stored: Stored = wire::decode(&raw, "the record of a commit")?;
        let (commit, table) = stored.take_apart()?;
        if commit.volume == *volume && commit.seq == name.seq && commit.epoch == name.epoch {
            return Ok(Self { commit, name: name.clone(), table });
        }
        Err(corrupt("the record of a commit is another commit's").context("commit", name))
    }

    /// The commit whose table this one's builds on; it is needed for [`table`](Self::table). Always of the
    /// same volume.
    pub fn base(&self) -> Option<&CommitName> {
        self.table.base()
    }

    /// The pack table; `base` is the table of [`base`](Self::base), where there is one.
    ///
    /// # Errors
    /// `Corrupt` if it contradicts itself or its base; `Internal` if the base is not given.
    pub fn table(&self, base: Option<&PackTable>) -> Result<PackTable> {
        self.table.resolve(&self.commit.volume, &self.name, base)
    }
}

/// How much of the end of a commit object holds its record, read from any last part of at least
/// [`TRAILER_BYTES`].
///
/// # Errors
/// `Corrupt` if it is not the end of a commit object.
pub fn tail_bytes(tail: &[u8]) -> Result<u64> {
    let trailer = Trailer::decode(tail, ObjectKind::Commit)?;
    let most =
        (RECORD_MAX_BYTES + super::frame::HEAD_BYTES + super::crypt::SEAL_BYTES + TRAILER_BYTES) as u64;
    Some(trailer.tail_bytes())
        .filter(|bytes| *bytes <= most)
        .ok_or_else(|| corrupt("a commit object has a record that is longer than any"))
}

fn record_binding(volume: &VolumeId, epoch: Epoch, number: u64, offset: u32) -> Binding<'_> {
    Binding { volume, epoch, number, part: Part::Record, offset }
}

fn too_large() -> Error {
    Error::new(ErrorKind::Exhausted, "the commit's pack table is larger than a commit can hold")
        .context("limit", RECORD_MAX_BYTES)
        .advise("prune the volume, or copy it to a new one")
}

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, what)
        .advise("keep the object; restore the volume from a snapshot that is whole")
}

#[cfg(test)]
mod tests;
