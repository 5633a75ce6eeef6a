//! The pack table: which pack a location's index means, and where that pack lies.

use super::{
    crypt::{Binding, KeyNumber, Part},
    location::{Location, PackIndex},
    pack::Pack,
};
use crate::head::record::{CommitName, PackName};
use persist_core::{Error, ErrorKind, Result, VolumeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// Every pack that a commit's tree may refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackTable {
    packs: BTreeMap<PackIndex, PackEntry>,
    next: u32,
    base: Option<Base>,
}

/// One pack of the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PackEntry {
    /// The volume that wrote it, and below which it lies: for a fork, often its origin.
    pub volume: VolumeId,
    /// Its name.
    pub name: PackName,
    /// How long it is.
    pub bytes: u32,
    /// Which of that volume's keys seals it.
    pub key: KeyNumber,
    /// In which object it lies.
    pub home: Home,
}

/// The object that holds a pack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Home {
    /// An object of its own, by its own name.
    Own,
    /// The object of the commit that wrote it: a small commit is one object.
    Commit {
        /// That commit, of the pack's volume.
        commit: CommitName,
        /// Where the pack begins in it, in bytes.
        at: u32,
    },
}

/// The last commit that stored its table in full, and what is different since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) commit: CommitName,
    pub(super) changed: BTreeSet<PackIndex>,
    pub(super) deltas: u32,
}

/// The objects without which a commit cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Packs that are objects of their own.
    pub packs: BTreeSet<(VolumeId, PackName)>,
    /// Commit objects: its own, the one that its table builds on, and those that hold packs.
    pub commits: BTreeSet<(VolumeId, CommitName)>,
}

impl PackTable {
    /// The table of a volume without a commit.
    pub fn new() -> Self {
        Self::default()
    }

    /// The index of the next pack, which is never given again.
    ///
    /// # Errors
    /// `Exhausted` after 2^32 packs: 128 PiB.
    pub fn reserve(&mut self) -> Result<PackIndex> {
        let index = self.next;
        self.next = index.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::Exhausted, "the volume has no pack number left")
                .advise("copy it to a new volume")
        })?;
        Ok(PackIndex(index))
    }

    /// Says which pack `index` is.
    pub fn put(&mut self, index: PackIndex, entry: PackEntry) {
        self.next = self.next.max(index.0.saturating_add(1));
        self.packs.insert(index, entry);
        self.mark(index);
    }

    /// Drops a pack that the tree does not refer to any more.
    pub fn remove(&mut self, index: PackIndex) -> Option<PackEntry> {
        let entry = self.packs.remove(&index)?;
        self.mark(index);
        Some(entry)
    }

    /// The pack `index`.
    ///
    /// # Errors
    /// `Corrupt` if the table does not know it: the tree and the table are of different commits.
    pub fn get(&self, index: PackIndex) -> Result<&PackEntry> {
        self.packs.get(&index).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the tree refers to a pack that its commit does not list")
                .context("pack", index)
        })
    }

    /// The packs, by index.
    pub fn packs(&self) -> impl ExactSizeIterator<Item = (PackIndex, &PackEntry)> {
        self.packs.iter().map(|(index, entry)| (*index, entry))
    }

    /// What `commit` of `volume`, whose table this is, needs in the bucket.
    pub fn needs(&self, volume: &VolumeId, commit: &CommitName) -> Needs {
        let mut needs = Needs::default();
        let base = self.base.iter().map(|base| &base.commit);
        needs.commits.extend(base.chain([commit]).map(|commit| (volume.clone(), commit.clone())));
        for entry in self.packs.values() {
            match &entry.home {
                Home::Own => needs.packs.insert((entry.volume.clone(), entry.name.clone())),
                Home::Commit { commit, .. } => needs.commits.insert((entry.volume.clone(), commit.clone())),
            };
        }
        needs
    }

    /// The table of a fork: the same packs, and nothing to build on in the new volume.
    #[must_use]
    pub fn forked(&self) -> Self {
        Self { base: None, ..self.clone() }
    }

    pub(super) fn of_parts(packs: BTreeMap<PackIndex, PackEntry>, next: u32, base: Option<Base>) -> Self {
        Self { packs, next, base }
    }

    pub(super) fn entries(&self) -> &BTreeMap<PackIndex, PackEntry> {
        &self.packs
    }

    pub(super) fn next(&self) -> u32 {
        self.next
    }

    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    fn mark(&mut self, index: PackIndex) {
        if let Some(base) = &mut self.base {
            base.changed.insert(index);
        }
    }
}

impl PackEntry {
    /// A pack that is an object of its own.
    pub fn of(pack: &Pack) -> Self {
        let volume = pack.slot.volume.clone();
        Self { volume, name: pack.name.clone(), bytes: pack.bytes, key: pack.key, home: Home::Own }
    }

    /// Where the frame of `at` lies in the object that holds this pack.
    ///
    /// # Errors
    /// `Corrupt` if it is beyond the pack.
    pub fn frame_range(&self, at: &Location) -> Result<Range<u64>> {
        let end = at.frame_offset.checked_add(at.frame_bytes).filter(|end| *end <= self.bytes);
        let end = end.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "a frame lies beyond its pack")
                .context("pack", &self.name)
                .context("at", at)
        })?;
        let begin = match self.home {
            Home::Own => 0,
            Home::Commit { at, .. } => u64::from(at),
        };
        Ok(begin + u64::from(at.frame_offset)..begin + u64::from(end))
    }

    /// What the frame of `at` was sealed as.
    pub fn frame_binding(&self, at: &Location) -> Binding<'_> {
        Binding {
            volume: &self.volume,
            epoch: self.name.epoch,
            number: self.name.seq,
            part: Part::Frame,
            offset: at.frame_offset,
        }
    }
}

impl Needs {
    /// Adds what another commit needs.
    pub fn extend(&mut self, other: Self) {
        self.packs.extend(other.packs);
        self.commits.extend(other.commits);
    }
}
