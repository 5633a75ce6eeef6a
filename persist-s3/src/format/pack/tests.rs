use super::*;
use crate::{
    format::{
        crypt::{Binding, CallerKey, KeyNumber, Part},
        fmt::{self, Keyring, NewFormat},
        frame::{Compression, Compressor, Draft, Frame, FrameChunk, FrameKind, Opener, chunk_of},
        location::{ChunkId, ChunkRef, PackIndex},
        wire,
    },
    head::record::PackName,
};
use bytes::Bytes;
use persist_core::{Epoch, ErrorKind, VolumeId, testing::SeededEntropy};
use proptest::prelude::*;

fn volume() -> VolumeId {
    VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap()
}

fn keyrings() -> [Keyring; 2] {
    let caller = CallerKey::new([1; 32]);
    [None, Some(&caller)].map(|caller| {
        let new = NewFormat { volume: &volume(), origin: None, caller };
        fmt::create(&new, &SeededEntropy::new(1)).unwrap().1
    })
}

fn slot() -> PackSlot {
    PackSlot { volume: volume(), epoch: Epoch::new(7), number: 3, index: PackIndex(5) }
}

fn compressor() -> Compressor {
    Compressor::new(Compression::default()).unwrap()
}

fn frame(keyring: &Keyring, kind: FrameKind, chunks: &[&[u8]]) -> Frame {
    let (ids, mut draft) = (keyring.secret().ids(), Draft::new(kind));
    for chunk in chunks {
        draft.push(ids.id(chunk), chunk).unwrap();
    }
    draft.compress(&mut compressor()).unwrap()
}

const CHUNKS: [&[u8]; 3] = [b"alpha", b"beta beta beta beta beta beta beta beta", b"a page"];

/// A pack of three chunks, two of them in one frame; and its bytes in one piece.
fn pack(keyring: &Keyring, nonce: u8) -> (Pack, Bytes, Vec<ChunkRef>) {
    let mut builder = PackBuilder::new(slot(), keyring.writing());
    let mut references = builder.append(frame(keyring, FrameKind::Data, &CHUNKS[..2])).unwrap();
    references.extend(builder.append(frame(keyring, FrameKind::Page, &CHUNKS[2..])).unwrap());
    let pack = builder.finish(&mut compressor(), [nonce; 16]).unwrap();
    let bytes = Bytes::from(pack.parts.concat());
    (pack, bytes, references)
}

fn open(keyring: &Keyring, name: &PackName, bytes: &Bytes) -> persist_core::Result<Directory> {
    Directory::open(bytes, &volume(), name, keyring, &mut Opener::new().unwrap())
}

/// Reads a chunk as a fetcher would: the frame by its range, then the chunk.
fn read(keyring: &Keyring, pack: &Bytes, reference: &ChunkRef) -> persist_core::Result<Bytes> {
    let (at, volume) = (&reference.at, volume());
    let begin = at.frame_offset as usize;
    let sealed = pack.slice(begin..begin + at.frame_bytes as usize);
    let binding = Binding {
        volume: &volume,
        epoch: Epoch::new(7),
        number: 3,
        part: Part::Frame,
        offset: at.frame_offset,
    };
    let frame = Opener::new()?.open_frame(sealed, &keyring.writing(), &binding)?;
    chunk_of(&frame, reference, &keyring.secret().ids())
}

#[test]
fn every_chunk_reads_back_from_where_it_was_said_to_be() {
    for keyring in keyrings() {
        let (pack, bytes, references) = pack(&keyring, 1);
        assert_eq!(pack.bytes as usize, bytes.len());
        for (reference, chunk) in references.iter().zip(CHUNKS) {
            assert_eq!(read(&keyring, &bytes, reference).unwrap(), chunk);
        }
    }
}

#[test]
fn the_directory_alone_finds_every_chunk_and_page_again() {
    for keyring in keyrings() {
        let (pack, bytes, references) = pack(&keyring, 1);
        let directory = open(&keyring, &pack.name, &bytes).unwrap();
        let found: Vec<_> = directory.references().collect();
        assert_eq!(found.iter().map(|(_, reference)| *reference).collect::<Vec<_>>(), references);
        assert_eq!(found[2].0, FrameKind::Page);
        // The tail is enough.
        let trailer = Trailer::decode(&bytes, ObjectKind::Pack).unwrap();
        let tail = bytes.slice(bytes.len() - trailer.tail_bytes() as usize..);
        assert_eq!(open(&keyring, &pack.name, &tail).unwrap(), directory);
        assert_eq!(open(&keyring, &pack.name, &tail.slice(1..)).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn the_same_content_twice_has_two_names() {
    let [clear, _] = keyrings();
    assert_ne!(pack(&clear, 1).0.name, pack(&clear, 2).0.name);
    assert_eq!(pack(&clear, 1).0.name, pack(&clear, 1).0.name);
}

#[test]
fn nothing_in_a_sealed_pack_shows_its_content_or_its_chunks() {
    let [clear, sealed] = keyrings();
    let shows = |bytes: &Bytes, what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    let (_, bytes, references) = pack(&clear, 1);
    assert!(shows(&bytes, b"alpha") && shows(&bytes, &references[0].id.0));
    let (_, bytes, references) = pack(&sealed, 1);
    assert!(!shows(&bytes, b"alpha") && !shows(&bytes, &references[0].id.0));
}

#[test]
fn a_pack_is_closed_once_it_has_its_target() {
    let [clear, _] = keyrings();
    let mut builder = PackBuilder::new(slot(), clear.writing());
    let large = vec![1; 4 << 20];
    let stored = || {
        let mut draft = Draft::new(FrameKind::Data);
        draft.push(ChunkId([0; 32]), &large).unwrap();
        draft.compress(&mut Compressor::new(Compression::Stored).unwrap()).unwrap()
    };
    let mut frames = 0;
    while builder.takes(&stored()) {
        builder.append(stored()).unwrap();
        frames += 1;
    }
    assert_eq!((frames, builder.body_bytes()), (8, (32 << 20) + 8 * 5));
    assert!(builder.append(stored()).is_err());
}

#[test]
fn a_trailer_of_another_kind_or_version_is_refused() {
    let [clear, _] = keyrings();
    let (_, bytes, _) = pack(&clear, 1);
    assert_eq!(Trailer::decode(&bytes, ObjectKind::Commit).unwrap_err().kind(), ErrorKind::Corrupt);
    let mut newer = bytes.to_vec();
    let at = newer.len() - TRAILER_BYTES + 8;
    newer[at] = 2;
    assert_eq!(Trailer::decode(&newer, ObjectKind::Pack).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// A pack without frames whose raw directory is `raw`, named by what it holds.
fn forged(raw: &[u8]) -> (Bytes, PackName) {
    let index = Compressor::new(Compression::Stored).unwrap().pack(raw).unwrap();
    let index_bytes = u32::try_from(index.len()).unwrap();
    let (kind, key) = (ObjectKind::Pack, KeyNumber::CLEAR);
    let trailer = Trailer { kind, key, body_bytes: 0, index_bytes, nonce: [0; 16] }.encode();
    let hash = wire::tail_digest(&index, &trailer);
    ([&index[..], &trailer].concat().into(), PackName { epoch: Epoch::new(7), seq: 3, hash })
}

#[test]
fn a_directory_that_contradicts_its_pack_is_corrupt() {
    let [clear, _] = keyrings();
    let chunk = |bytes| FrameChunk { id: ChunkId([0; 32]), bytes };
    let frame = |sealed_bytes, chunks| DirectoryFrame { sealed_bytes, kind: FrameKind::Data, chunks };
    let directory = |frames| Directory { index: PackIndex(5), frames };
    let opened = |directory: &Directory| {
        let (bytes, name) = forged(&directory.encode().unwrap());
        open(&clear, &name, &bytes)
    };
    assert!(opened(&directory(vec![frame(0, vec![chunk(4 << 20)])])).is_ok());
    for bad in [frame(1, vec![]), frame(0, vec![chunk((4 << 20) + 1)]), frame(0, vec![chunk(0); 65_537])] {
        assert_eq!(opened(&directory(vec![bad])).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let twice = vec![frame(u32::MAX, vec![]), frame(u32::MAX, vec![])];
    assert_eq!(opened(&directory(twice)).unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn whatever_a_directory_says_it_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        other in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let [clear, _] = keyrings();
        let (pack, bytes, _) = pack(&clear, 1);
        let mut raw = open(&clear, &pack.name, &bytes).unwrap().encode().unwrap();
        let at = at.index(raw.len());
        raw[at] = to;
        for raw in [&raw[..], &raw[..cut.index(raw.len())], &other] {
            let (bytes, name) = forged(raw);
            if let Err(e) = open(&clear, &name, &bytes) {
                prop_assert!(matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported), "{e}");
            }
        }
    }

    #[test]
    fn a_changed_byte_of_the_tail_is_refused_and_of_a_frame_is_seen_on_reading(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        for keyring in keyrings() {
            let (pack, bytes, references) = pack(&keyring, 1);
            let mut changed = bytes.to_vec();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != to);
            changed[at] = to;
            let changed = Bytes::from(changed);
            let body = Trailer::decode(&bytes, ObjectKind::Pack).unwrap().body_bytes as usize;
            if at >= body {
                let kind = open(&keyring, &pack.name, &changed).unwrap_err().kind();
                prop_assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Unsupported));
                continue;
            }
            for (reference, chunk) in references.iter().zip(CHUNKS) {
                match read(&keyring, &changed, reference) {
                    Ok(read) => prop_assert_eq!(read, chunk),
                    Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Corrupt),
                }
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_pack(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let [clear, _] = keyrings();
        let name = pack(&clear, 1).0.name;
        prop_assert_eq!(open(&clear, &name, &bytes.into()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
