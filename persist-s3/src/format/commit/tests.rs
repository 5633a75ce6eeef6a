use super::*;
use crate::{
    format::{
        crypt::{CallerKey, KeyNumber},
        fmt::{self, NewFormat},
        frame::{Compression, Draft, FrameKind, chunk_of},
        location::{ChunkId, ChunkRef, Location, PackIndex},
        pack::{PackBuilder, PackSlot},
        table::{Home, PackEntry},
    },
    head::record::{Digest, PackName},
};
use persist_core::{testing::SeededEntropy, tree::TreeTotals};
use proptest::prelude::*;

fn volume(last: u8) -> VolumeId {
    VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap()
}

fn keyrings() -> [Keyring; 2] {
    let caller = CallerKey::new([1; 32]);
    [None, Some(&caller)].map(|caller| {
        let new = NewFormat { volume: &volume(1), origin: None, caller };
        fmt::create(&new, &SeededEntropy::new(1)).unwrap().1
    })
}

fn commit(seq: u64) -> Commit {
    let at = Location { pack: PackIndex(0), frame_offset: 0, frame_bytes: 10, offset: 0, bytes: 5 };
    Commit {
        volume: volume(1),
        seq,
        epoch: Epoch::new(2),
        parent: None,
        tree: TreeRoot { at, id: ChunkId([7; 32]), totals: TreeTotals { files: 3, bytes: 4 }, height: 1 },
        consistency: Consistency::Atomic,
        time: Timestamp::from_millisecond(1_700_000_000_123),
        stats: CommitStats { new_bytes: 1, known_bytes: 2, stored_bytes: 3 },
        moved: Moved { total: 1, first: vec![TreePath::new("log/current").unwrap()] },
        chunkers: [ChunkerId::Whole, ChunkerId::FastCdc].into(),
        features: BTreeSet::new(),
    }
}

fn entry(volume: VolumeId, seq: u64) -> PackEntry {
    let name = PackName { epoch: Epoch::new(1), seq, hash: Digest::of(&seq.to_le_bytes()) };
    PackEntry { volume, name, bytes: 1 << 25, key: KeyNumber::CLEAR, home: Home::Own }
}

fn sealed(commit: &Commit, table: &PackTable, within: Vec<Pack>, keyring: &Keyring) -> CommitObject {
    let mut compressor = Compressor::new(Compression::default()).unwrap();
    let sealing = &keyring.writing();
    commit.seal(table, within, CommitSeal { sealing, compressor: &mut compressor, nonce: [5; 16] }).unwrap()
}

fn opened(object: &CommitObject, keyring: &Keyring) -> Result<OpenedCommit> {
    let bytes = Bytes::from(object.parts.concat());
    OpenedCommit::open(&bytes, &volume(1), &object.name, keyring, &mut Opener::new()?)
}

fn small_pack(keyring: &Keyring, index: PackIndex, text: &[u8]) -> (Pack, ChunkRef) {
    let mut compressor = Compressor::new(Compression::default()).unwrap();
    let slot = PackSlot { volume: volume(1), epoch: Epoch::new(2), number: index.0.into(), index };
    let mut builder = PackBuilder::new(slot, keyring.writing());
    let mut draft = Draft::new(FrameKind::Data);
    draft.push(keyring.secret().ids().id(text), text).unwrap();
    let references = builder.append(draft.compress(&mut compressor).unwrap()).unwrap();
    (builder.finish(&mut compressor, [6; 16]).unwrap(), references[0])
}

#[test]
fn a_commit_and_its_table_read_back() {
    for keyring in keyrings() {
        let mut table = PackTable::new();
        for seq in 0..4 {
            let index = table.reserve().unwrap();
            table.put(index, entry(volume(if seq == 2 { 9 } else { 1 }), seq));
        }
        table.remove(PackIndex(1));
        let object = sealed(&commit(4), &table, Vec::new(), &keyring);
        let opened = opened(&object, &keyring).unwrap();
        assert_eq!(opened.commit, commit(4));
        assert_eq!((opened.base(), opened.table(None).unwrap()), (None, object.table.clone()));
        assert_eq!(object.table.entries(), table.entries());
    }
}

#[test]
fn a_small_commit_is_one_object_and_its_chunks_read_back_from_it() {
    for keyring in keyrings() {
        let mut table = PackTable::new();
        let texts: [&[u8]; 2] = [b"first", b"second"];
        let (packs, references): (Vec<_>, Vec<_>) =
            texts.iter().map(|text| small_pack(&keyring, table.reserve().unwrap(), text)).unzip();
        let object = sealed(&commit(1), &table, packs, &keyring);
        let bytes = Bytes::from(object.parts.concat());
        // The next commit finds them there too, after it was read from the bucket.
        let later = sealed(&commit(2), &object.table, Vec::new(), &keyring);
        let table = opened(&later, &keyring).unwrap().table(None).unwrap();
        for (reference, text) in references.iter().zip(texts) {
            let entry = table.get(reference.at.pack).unwrap();
            assert!(matches!(&entry.home, Home::Commit { commit, .. } if *commit == object.name));
            let range = entry.frame_range(&reference.at).unwrap();
            let frame = bytes.slice(range.start as usize..range.end as usize);
            let sealing = keyring.sealing(&entry.volume, entry.key).unwrap();
            let mut opener = Opener::new().unwrap();
            let frame = opener.open_frame(frame, &sealing, &entry.frame_binding(&reference.at)).unwrap();
            assert_eq!(chunk_of(&frame, reference, &keyring.secret().ids()).unwrap(), text);
        }
    }
}

#[test]
fn the_end_of_the_object_is_enough_to_read_the_record() {
    let [_, keyring] = keyrings();
    let mut table = PackTable::new();
    let (pack, _) = small_pack(&keyring, table.reserve().unwrap(), &[0x5a; 5000]);
    let object = sealed(&commit(1), &table, vec![pack], &keyring);
    let bytes = Bytes::from(object.parts.concat());
    assert_eq!(bytes.len() as u64, object.bytes());
    let needed = tail_bytes(&bytes[bytes.len() - TRAILER_BYTES..]).unwrap() as usize;
    let open = |tail: Bytes| {
        OpenedCommit::open(&tail, &volume(1), &object.name, &keyring, &mut Opener::new().unwrap())
    };
    assert!(needed < bytes.len() && open(bytes.slice(bytes.len() - needed..)).is_ok());
    let short = open(bytes.slice(bytes.len() - needed + 1..));
    assert_eq!(short.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A table so large that it is stored as a difference.
fn large_table() -> PackTable {
    let mut table = PackTable::new();
    for seq in 0..1000 {
        let index = table.reserve().unwrap();
        table.put(index, entry(volume(1), seq));
    }
    table
}

#[test]
fn a_large_table_is_stored_as_a_difference_and_in_full_again_after_64_commits() {
    let [keyring, _] = keyrings();
    let full = sealed(&commit(1), &large_table(), Vec::new(), &keyring);
    assert!(full.bytes() > 16_000);
    let (mut table, mut deltas) = (full.table.clone(), 0);
    loop {
        let index = table.reserve().unwrap();
        table.put(index, entry(volume(1), 5000 + deltas));
        table.remove(PackIndex(deltas as u32));
        let object = sealed(&commit(2 + deltas), &table, Vec::new(), &keyring);
        let opened = opened(&object, &keyring).unwrap();
        let Some(base) = opened.base() else { break };
        assert_eq!(*base, full.name);
        assert!(object.bytes() < 4_000);
        assert_eq!(opened.table(Some(&full.table)).unwrap(), object.table);
        assert!(
            object.table.needs(&volume(1), &object.name).commits.contains(&(volume(1), full.name.clone()))
        );
        table = object.table;
        deltas += 1;
    }
    assert_eq!(deltas, 63);
}

#[test]
fn a_fork_stores_its_table_in_full_and_needs_its_origins_objects() {
    let [keyring, _] = keyrings();
    let origin = sealed(&commit(1), &large_table(), Vec::new(), &keyring);
    let parent = Some((volume(1), origin.name.clone()));
    let fork = Commit { volume: volume(2), seq: 1, parent, ..commit(1) };
    let object = sealed(&fork, &origin.table.forked(), Vec::new(), &keyring);
    let bytes = Bytes::from(object.parts.concat());
    let opened =
        OpenedCommit::open(&bytes, &volume(2), &object.name, &keyring, &mut Opener::new().unwrap()).unwrap();
    let needs = opened.table(None).unwrap().needs(&volume(2), &object.name);
    assert_eq!(needs.packs.len(), 1000);
    assert!(needs.packs.iter().all(|(of, _)| *of == volume(1)));
    assert_eq!(needs.commits, [(volume(2), object.name.clone())].into());
}

#[test]
fn a_commit_under_another_name_or_volume_is_corrupt() {
    for keyring in keyrings() {
        let object = sealed(&commit(1), &PackTable::new(), Vec::new(), &keyring);
        let bytes = Bytes::from(object.parts.concat());
        let kind = |volume: &VolumeId, name: &CommitName| {
            let mut opener = Opener::new().unwrap();
            OpenedCommit::open(&bytes, volume, name, &keyring, &mut opener).map_err(|e| e.kind()).err()
        };
        assert_eq!(kind(&volume(1), &object.name), None);
        let other = [
            CommitName { seq: 2, ..object.name.clone() },
            CommitName { epoch: Epoch::new(3), ..object.name.clone() },
            CommitName { hash: Digest([0; 16]), ..object.name.clone() },
        ];
        assert!(other.iter().all(|name| kind(&volume(1), name) == Some(ErrorKind::Corrupt)));
        assert!(matches!(kind(&volume(2), &object.name), Some(ErrorKind::Corrupt | ErrorKind::Denied)));
    }
}

#[test]
fn a_frame_beyond_its_pack_and_an_unknown_pack_are_corrupt() {
    let mut table = PackTable::new();
    let index = table.reserve().unwrap();
    table.put(index, entry(volume(1), 1));
    let at = |frame_offset, frame_bytes| Location { frame_offset, frame_bytes, ..commit(1).tree.at };
    let entry = table.get(index).unwrap();
    assert_eq!(entry.frame_range(&at(1, 2)).unwrap(), 1..3);
    for at in [at(1 << 25, 1), at(u32::MAX, u32::MAX)] {
        assert_eq!(entry.frame_range(&at).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(table.get(PackIndex(1)).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// The object of a commit whose raw record is `raw`, named by what it holds.
fn forged(raw: &[u8]) -> (Bytes, CommitName) {
    let plain = Compressor::new(Compression::Stored).unwrap().pack(raw).unwrap();
    let trailer = Trailer {
        kind: ObjectKind::Commit,
        key: KeyNumber::CLEAR,
        body_bytes: 0,
        index_bytes: plain.len() as u32,
        nonce: [0; 16],
    };
    let hash = wire::tail_digest(&plain, &trailer.encode());
    ([&plain[..], &trailer.encode()].concat().into(), CommitName { seq: 1, epoch: Epoch::new(2), hash })
}

proptest! {
    #[test]
    fn whatever_a_record_says_it_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let [keyring, _] = keyrings();
        let base = large_table();
        let mut raw = wire::encode(&Stored::new(&commit(1), &large_table(), &BTreeMap::new()).unwrap()).unwrap();
        let at = at.index(raw.len());
        raw[at] = to;
        for raw in [&raw[..], &raw[..cut.index(raw.len())]] {
            let (bytes, name) = forged(raw);
            let opened = OpenedCommit::open(&bytes, &volume(1), &name, &keyring, &mut Opener::new().unwrap());
            let table = opened.and_then(|opened| opened.table(Some(&base)));
            if let Err(e) = table {
                prop_assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{e}");
            }
        }
    }

    #[test]
    fn an_arbitrary_record_is_refused(raw in prop::collection::vec(any::<u8>(), 0..100)) {
        let [keyring, _] = keyrings();
        let (bytes, name) = forged(&raw);
        let opened = OpenedCommit::open(&bytes, &volume(1), &name, &keyring, &mut Opener::new().unwrap());
        prop_assert!(matches!(opened.unwrap_err().kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
    }

    #[test]
    fn a_changed_byte_of_a_commit_is_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for keyring in keyrings() {
            let object = sealed(&commit(1), &PackTable::new(), Vec::new(), &keyring);
            let mut bytes = object.parts.concat();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            let opened =
                OpenedCommit::open(&bytes.into(), &volume(1), &object.name, &keyring, &mut Opener::new().unwrap());
            prop_assert!(matches!(opened.unwrap_err().kind(), ErrorKind::Corrupt | ErrorKind::Unsupported));
        }
    }
}
