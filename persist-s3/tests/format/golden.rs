//! One small volume: its `fmt`, a pack with two chunks and a page, and a commit that holds this pack.

use bytes::Bytes;
use persist_core::{
    Consistency, Epoch, VolumeId,
    clock::Timestamp,
    testing::SeededEntropy,
    tree::{TreePath, TreeTotals},
};
use persist_s3::{
    format::{
        chunk::ChunkerId,
        commit::{Commit, CommitSeal, CommitStats, Moved},
        crypt::{CallerKey, KeyNumber},
        fmt::{self, Keyring, NewFormat},
        frame::{Compression, Compressor, Draft, FrameKind},
        location::{ChunkId, Location, PackIndex, TreeRoot},
        pack::{Pack, PackBuilder, PackSlot},
        table::{Home, PackEntry, PackTable},
    },
    head::record::{CommitName, Digest, PackName},
};
use std::{fs, path::PathBuf};

/// The raw bytes of the chunks, in order.
pub(crate) const TEXTS: [&[u8]; 3] =
    [b"hello, version 1", b"a second, second, second, second, second, second chunk", b"a page of the tree"];

/// The index of a pack that is an object of its own.
pub(crate) const LARGE: PackIndex = PackIndex(0);

/// The objects, and the names of two of them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Golden {
    pub(crate) fmt: Vec<u8>,
    pub(crate) pack: Bytes,
    pub(crate) pack_name: Vec<u8>,
    pub(crate) commit: Bytes,
    pub(crate) commit_name: Vec<u8>,
}

pub(crate) fn volume() -> VolumeId {
    VolumeId::parse("01900000-0000-7000-8000-000000000001").unwrap()
}

pub(crate) fn large(volume: &VolumeId) -> PackEntry {
    let name = PackName { epoch: Epoch::new(3), seq: 9, hash: Digest([0x11; 16]) };
    PackEntry { volume: volume.clone(), name, bytes: 33_000_000, key: KeyNumber::CLEAR, home: Home::Own }
}

pub(crate) fn commit() -> Commit {
    let at = Location { pack: PackIndex(1), frame_offset: 75, frame_bytes: 23, offset: 0, bytes: 18 };
    let totals = TreeTotals { files: 3, bytes: 70 };
    Commit {
        volume: volume(),
        seq: 300,
        epoch: Epoch::new(4),
        parent: Some((volume(), CommitName { seq: 299, epoch: Epoch::new(3), hash: Digest([0x22; 16]) })),
        tree: TreeRoot { at, id: ChunkId([0x33; 32]), totals, height: 0 },
        consistency: Consistency::Application,
        time: Timestamp::from_millisecond(1_795_337_000_123),
        stats: CommitStats { new_bytes: 70, known_bytes: 1_000_000, stored_bytes: 300 },
        moved: Moved { total: 1, first: vec![TreePath::new("log/current").unwrap()] },
        chunkers: [ChunkerId::Whole, ChunkerId::FastCdc, ChunkerId::Blocks128K].into(),
        features: ["prefetch-hints".to_owned()].into(),
    }
}

impl Golden {
    /// The objects of this version.
    pub(crate) fn made(caller: Option<&CallerKey>, compression: Compression) -> Self {
        let new = NewFormat { volume: &volume(), origin: None, caller };
        let (fmt, keyring) = fmt::create(&new, &SeededEntropy::new(1)).unwrap();
        let mut compressor = Compressor::new(compression).unwrap();
        let mut table = PackTable::new();
        assert_eq!(table.reserve().unwrap(), LARGE);
        table.put(LARGE, large(&volume()));
        let pack = pack(&keyring, table.reserve().unwrap(), &mut compressor);
        let (bytes, name) = (pack.parts.concat(), serde_json::to_vec(&pack.name).unwrap());
        let sealing = &keyring.writing();
        let seal = CommitSeal { sealing, compressor: &mut compressor, nonce: [0x55; 16] };
        let object = commit().seal(&table, vec![pack], seal).unwrap();
        Self {
            fmt,
            pack: bytes.into(),
            pack_name: name,
            commit: object.parts.concat().into(),
            commit_name: serde_json::to_vec(&object.name).unwrap(),
        }
    }

    /// The objects that are kept.
    pub(crate) fn kept(case: &str) -> Self {
        let read = |what: &str| fs::read(path(case, what)).unwrap();
        Self {
            fmt: read("fmt"),
            pack: read("pack").into(),
            pack_name: read("pack-name.json"),
            commit: read("commit").into(),
            commit_name: read("commit-name.json"),
        }
    }

    /// Keeps them.
    pub(crate) fn keep(&self, case: &str) {
        let write = |what: &str, bytes: &[u8]| fs::write(path(case, what), bytes).unwrap();
        write("fmt", &self.fmt);
        write("pack", &self.pack);
        write("pack-name.json", &self.pack_name);
        write("commit", &self.commit);
        write("commit-name.json", &self.commit_name);
    }
}

fn path(case: &str, what: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/format/v1").join(format!("{case}.{what}"))
}

fn pack(keyring: &Keyring, index: PackIndex, compressor: &mut Compressor) -> Pack {
    let slot = PackSlot { volume: volume(), epoch: Epoch::new(4), number: 17, index };
    let mut builder = PackBuilder::new(slot, keyring.writing());
    for (kind, texts) in [(FrameKind::Data, &TEXTS[..2]), (FrameKind::Page, &TEXTS[2..])] {
        let mut draft = Draft::new(kind);
        for text in texts {
            draft.push(keyring.secret().ids().id(text), text).unwrap();
        }
        builder.append(draft.compress(compressor).unwrap()).unwrap();
    }
    builder.finish(compressor, [0x44; 16]).unwrap()
}
