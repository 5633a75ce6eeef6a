//! The record of a commit as postcard stores it. Fields are only added behind the last of [`Stored`].

use super::{Commit, CommitStats, MOVED_NAMED, Moved, corrupt};
use crate::{
    format::{
        chunk::ChunkerId,
        crypt::KeyNumber,
        location::{PackIndex, TreeRoot},
        table::{Base, Home, PackEntry, PackTable},
    },
    head::record::{CommitName, PackName},
};
use persist_core::{Consistency, Epoch, Error, ErrorKind, Result, VolumeId, clock::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A table of at most so many packs is always stored in full: 6 KiB, less than the GET it saves a reader.
const ALWAYS_FULL: usize = 256;

/// After so many commits that build on it, a table is stored in full again, so that a commit object does
/// not stay for ever only because others build on it.
const DELTAS_MAX: u32 = 64;

/// The mandatory features of a record that this version understands: none beyond the first version.
const KNOWN: [&str; 0] = [];

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    mandatory: BTreeSet<String>,
    optional: BTreeSet<String>,
    volume: VolumeId,
    seq: u64,
    epoch: Epoch,
    parent: Option<(VolumeId, CommitName)>,
    tree: TreeRoot,
    consistency: u8,
    /// Milliseconds after 1970.
    time: i64,
    stats: CommitStats,
    moved: Moved,
    chunkers: Vec<u8>,
    table: StoredTable,
}

/// A pack table: in full, or as it differs from the base's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredTable {
    base: Option<StoredBase>,
    /// The index that the next pack gets.
    next: u32,
    /// The volumes other than the commit's own that wrote packs of it.
    volumes: Vec<VolumeId>,
    packs: Vec<StoredPack>,
    removed: Vec<PackIndex>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredBase {
    commit: CommitName,
    /// How many commits have built on it, this one included.
    deltas: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredPack {
    /// The pack's index, less the smallest that it can be after the pack before it.
    skipped: u32,
    /// Zero for the commit's own volume, else one more than the place in `volumes`.
    volume: u32,
    name: PackName,
    bytes: u32,
    key: KeyNumber,
    home: StoredHome,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum StoredHome {
    Own,
    /// In this very commit, whose name is not known before it is written.
    Here {
        at: u32,
    },
    Commit {
        commit: CommitName,
        at: u32,
    },
}

impl Stored {
    /// `within` says where the packs begin that lie in the commit object itself.
    pub(super) fn new(commit: &Commit, table: &PackTable, within: &BTreeMap<PackIndex, u32>) -> Result<Self> {
        let mut moved = commit.moved.clone();
        moved.first.truncate(MOVED_NAMED);
        Ok(Self {
            mandatory: BTreeSet::new(),
            optional: commit.features.clone(),
            volume: commit.volume.clone(),
            seq: commit.seq,
            epoch: commit.epoch,
            parent: commit.parent.clone(),
            tree: commit.tree,
            consistency: consistency_code(commit.consistency),
            time: commit.time.as_millisecond(),
            stats: commit.stats,
            moved,
            chunkers: commit.chunkers.iter().map(|id| id.code()).collect(),
            table: StoredTable::new(&commit.volume, table, within)?,
        })
    }

    pub(super) fn take_apart(self) -> Result<(Commit, StoredTable)> {
        let unknown: Vec<_> = self.mandatory.iter().filter(|name| !KNOWN.contains(&name.as_str())).collect();
        if !unknown.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "a commit has features that are not known here")
                .context("features", format_args!("{unknown:?}"))
                .advise("use a newer version"));
        }
        let commit = Commit {
            volume: self.volume,
            seq: self.seq,
            epoch: self.epoch,
            parent: self.parent,
            tree: self.tree,
            consistency: consistency_of(self.consistency),
            time: Timestamp::from_millisecond(self.time),
            stats: self.stats,
            moved: self.moved,
            chunkers: self.chunkers.into_iter().filter_map(ChunkerId::of_code).collect(),
            features: self.optional,
        };
        Ok((commit, self.table))
    }
}

impl StoredTable {
    fn new(own: &VolumeId, table: &PackTable, within: &BTreeMap<PackIndex, u32>) -> Result<Self> {
        let base = table.base().filter(|base| builds_on(table, base));
        let mut stored = Self {
            base: base.map(|base| StoredBase { commit: base.commit.clone(), deltas: base.deltas + 1 }),
            next: table.next(),
            volumes: Vec::new(),
            packs: Vec::new(),
            removed: Vec::new(),
        };
        let mut smallest = 0;
        let mut places = BTreeMap::new();
        for (index, entry) in
            table.packs().filter(|(index, _)| base.is_none_or(|b| b.changed.contains(index)))
        {
            let volume = stored.place(own, &entry.volume, &mut places)?;
            let home = StoredHome::of(&entry.home, within.get(&index));
            let (name, bytes, key) = (entry.name.clone(), entry.bytes, entry.key);
            stored.packs.push(StoredPack { skipped: index.0 - smallest, volume, name, bytes, key, home });
            smallest = index.0.saturating_add(1);
        }
        let gone = base.iter().flat_map(|base| &base.changed).filter(|i| !table.entries().contains_key(i));
        stored.removed = gone.copied().collect();
        Ok(stored)
    }

    pub(super) fn base(&self) -> Option<&CommitName> {
        self.base.as_ref().map(|base| &base.commit)
    }

    pub(super) fn resolve(
        &self,
        own: &VolumeId,
        name: &CommitName,
        base: Option<&PackTable>,
    ) -> Result<PackTable> {
        let mut packs = match (&self.base, base) {
            (None, _) => BTreeMap::new(),
            (Some(_), Some(base)) => base.entries().clone(),
            (Some(_), None) => return Err(Error::internal("a pack table is read without its base")),
        };
        let mut changed: BTreeSet<PackIndex> = self.removed.iter().copied().collect();
        packs.retain(|index, _| !changed.contains(index));
        let mut smallest = 0_u32;
        for pack in &self.packs {
            let index = smallest.checked_add(pack.skipped).filter(|index| *index < self.next);
            let index = index.ok_or_else(|| corrupt("a pack table is out of order"))?;
            packs.insert(PackIndex(index), self.entry(pack, own, name)?);
            changed.insert(PackIndex(index));
            smallest = index.saturating_add(1);
        }
        if packs.last_key_value().is_some_and(|(last, _)| last.0 >= self.next) {
            return Err(corrupt("a pack table contradicts the one that it builds on"));
        }
        let base = match &self.base {
            None => Base { commit: name.clone(), changed: BTreeSet::new(), deltas: 0 },
            Some(base) => Base { commit: base.commit.clone(), changed, deltas: base.deltas },
        };
        Ok(PackTable::of_parts(packs, self.next, Some(base)))
    }

    fn place(
        &mut self,
        own: &VolumeId,
        volume: &VolumeId,
        places: &mut BTreeMap<VolumeId, u32>,
    ) -> Result<u32> {
        if volume == own {
            return Ok(0);
        }
        if let Some(place) = places.get(volume) {
            return Ok(*place);
        }
        self.volumes.push(volume.clone());
        let place = crate::format::frame::length(self.volumes.len())?;
        places.insert(volume.clone(), place);
        Ok(place)
    }

    fn entry(&self, pack: &StoredPack, own: &VolumeId, name: &CommitName) -> Result<PackEntry> {
        let volume = match pack.volume.checked_sub(1) {
            None => own,
            Some(place) => usize::try_from(place)
                .ok()
                .and_then(|place| self.volumes.get(place))
                .ok_or_else(|| corrupt("a pack table names no volume for a pack"))?,
        };
        let home = match &pack.home {
            StoredHome::Own => Home::Own,
            StoredHome::Here { at } => Home::Commit { commit: name.clone(), at: *at },
            StoredHome::Commit { commit, at } => Home::Commit { commit: commit.clone(), at: *at },
        };
        let (name, bytes, key) = (pack.name.clone(), pack.bytes, pack.key);
        Ok(PackEntry { volume: volume.clone(), name, bytes, key, home })
    }
}

impl StoredHome {
    fn of(home: &Home, within: Option<&u32>) -> Self {
        match (within, home) {
            (Some(at), _) => Self::Here { at: *at },
            (None, Home::Own) => Self::Own,
            (None, Home::Commit { commit, at }) => Self::Commit { commit: commit.clone(), at: *at },
        }
    }
}

/// The table that the next commit builds on, now that `name` is known.
pub(super) fn settle(table: PackTable, within: &BTreeMap<PackIndex, u32>, name: &CommitName) -> PackTable {
    let base = match table.base().filter(|base| builds_on(&table, base)) {
        Some(base) => Base { deltas: base.deltas + 1, ..base.clone() },
        None => Base { commit: name.clone(), changed: BTreeSet::new(), deltas: 0 },
    };
    let mut packs = table.entries().clone();
    for (index, at) in within {
        if let Some(entry) = packs.get_mut(index) {
            entry.home = Home::Commit { commit: name.clone(), at: *at };
        }
    }
    PackTable::of_parts(packs, table.next(), Some(base))
}

/// Whether the difference from `base` is worth a second object for every reader.
fn builds_on(table: &PackTable, base: &Base) -> bool {
    let packs = table.entries().len();
    packs > ALWAYS_FULL && base.deltas + 1 < DELTAS_MAX && base.changed.len() * 2 < packs
}

/// Weakest first; a code never changes its meaning.
const CONSISTENCIES: [Consistency; 4] =
    [Consistency::PerFile, Consistency::Crash, Consistency::Atomic, Consistency::Application];

fn consistency_code(consistency: Consistency) -> u8 {
    // What this version has no code for is stored as the weakest: never more than was reached.
    CONSISTENCIES.iter().zip(0..).find(|(known, _)| **known == consistency).map_or(0, |(_, code)| code)
}

fn consistency_of(code: u8) -> Consistency {
    CONSISTENCIES.get(usize::from(code)).copied().unwrap_or_default()
}
