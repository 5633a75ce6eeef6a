//! Where bytes lie: chunks and tree pages are found by their location, not by an index.

use persist_core::tree::TreeTotals;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The place of a pack in a volume's pack table; stable within the volume's lineage, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackIndex(pub u32);

/// What a chunk or a tree page is, by its content: BLAKE3 of its raw bytes, keyed with the lineage's secret.
/// Equal ids are equal bytes; without the secret an id says nothing about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkId(pub [u8; 32]);

/// Where a chunk or a tree page is: one ranged GET fetches its frame, and its bytes are a part of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// In which pack.
    pub pack: PackIndex,
    /// Where the sealed frame begins in the pack, in bytes.
    pub frame_offset: u32,
    /// How long the sealed frame is, in bytes.
    pub frame_bytes: u32,
    /// Where the chunk begins in the opened frame, in bytes.
    pub offset: u32,
    /// How long the chunk is, in bytes, as it was written.
    pub bytes: u32,
}

/// A piece of a file's data: what it is, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkRef {
    /// What it is; checked on every read.
    pub id: ChunkId,
    /// Where it is.
    pub at: Location,
}

/// Where the tree of a commit begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRoot {
    /// The root page.
    pub at: Location,
    /// What the root page is; checked on every read.
    pub id: ChunkId,
    /// How large the tree is.
    pub totals: TreeTotals,
    /// How many levels of pages are below the root; zero if the root is a leaf.
    pub height: u8,
}

impl fmt::Display for PackIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pack {} at {}+{}", self.pack, self.frame_offset, self.frame_bytes)?;
        write!(f, ", bytes {}+{} of its frame", self.offset, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn location() -> impl Strategy<Value = Location> {
        (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(pack, frame_offset, frame_bytes, offset, bytes)| Location {
                pack: PackIndex(pack),
                frame_offset,
                frame_bytes,
                offset,
                bytes,
            },
        )
    }

    #[test]
    fn a_small_files_reference_is_its_id_and_a_dozen_bytes() {
        let at = Location {
            pack: PackIndex(40),
            frame_offset: 30 << 20,
            frame_bytes: 32 << 10,
            offset: 100 << 10,
            bytes: 8 << 10,
        };
        let bytes = postcard::to_allocvec(&ChunkRef { id: ChunkId([7; 32]), at }).unwrap();
        assert_eq!(bytes.len(), 32 + 1 + 4 + 3 + 3 + 2);
    }

    proptest! {
        #[test]
        fn a_reference_reads_back(id in any::<[u8; 32]>(), at in location()) {
            let reference = ChunkRef { id: ChunkId(id), at };
            let bytes = postcard::to_allocvec(&reference).unwrap();
            prop_assert_eq!(postcard::from_bytes::<ChunkRef>(&bytes).unwrap(), reference);
        }
    }
}
