use super::*;
use crate::format::{
    crypt::{ChunkSecret, KeyNumber, Part, SealKey},
    location::{Location, PackIndex},
};
use persist_core::{Epoch, VolumeId};
use proptest::prelude::*;

fn volume() -> VolumeId {
    VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap()
}

fn binding(volume: &VolumeId) -> Binding<'_> {
    Binding { volume, epoch: Epoch::new(1), number: 1, part: Part::Frame, offset: 0 }
}

fn ids() -> IdKey {
    ChunkSecret::new([9; 32]).ids()
}

fn sealed(sealing: &Sealing, plain: &[u8], binding: &Binding<'_>) -> Bytes {
    let mut out = Vec::new();
    match sealing {
        Sealing::Clear => out.extend_from_slice(plain),
        Sealing::Key(_, key) => key.seal(plain, binding, &mut out).unwrap(),
    }
    out.into()
}

fn sealings() -> [Sealing; 2] {
    [Sealing::Clear, Sealing::Key(KeyNumber::FIRST, SealKey::new(&[3; 32]))]
}

fn open(plain: Vec<u8>) -> Result<Bytes> {
    let volume = volume();
    Opener::new().unwrap().open_frame(plain.into(), &Sealing::Clear, &binding(&volume))
}

fn reference(id: ChunkId, offset: u32, bytes: u32) -> ChunkRef {
    let at = Location { pack: PackIndex(0), frame_offset: 0, frame_bytes: 0, offset, bytes };
    ChunkRef { id, at }
}

#[test]
fn small_chunks_share_a_frame_and_a_large_one_is_alone() {
    let mut draft = Draft::new(FrameKind::Data);
    assert!(draft.takes(FRAME_MAX_BYTES));
    draft.push(ChunkId([0; 32]), &[0; 1000]).unwrap();
    assert!(draft.takes(GROUP_BYTES - 1000) && !draft.takes(GROUP_BYTES - 999));
    let mut large = Draft::new(FrameKind::Data);
    large.push(ChunkId([0; 32]), &vec![0; GROUP_BYTES + 1]).unwrap();
    assert!(!large.takes(1));
    let mut page = Draft::new(FrameKind::Page);
    page.push(ChunkId([0; 32]), &[0; 10]).unwrap();
    assert!(!page.takes(1));
    assert!(Draft::new(FrameKind::Page).push(ChunkId([0; 32]), &vec![0; FRAME_MAX_BYTES + 1]).is_err());
}

#[test]
fn what_does_not_shrink_is_stored() {
    let raw: Vec<u8> = (0..=255).collect();
    let mut compressor = Compressor::new(Compression::default()).unwrap();
    let plain = compressor.pack(&raw).unwrap();
    assert_eq!((plain[0], plain.len()), (STORED, HEAD_BYTES + 256));
    let plain = compressor.pack(&[b'a'; 5000]).unwrap();
    assert!(plain[0] == ZSTD && plain.len() < 100);
}

#[test]
fn a_frame_that_lies_about_its_length_is_corrupt_before_memory_is_taken() {
    let mut plain = Compressor::new(Compression::default()).unwrap().pack(&[b'a'; 5000]).unwrap();
    for lie in [4999_u32, 5001, (FRAME_MAX_BYTES + 1) as u32, u32::MAX] {
        plain[1..5].copy_from_slice(&lie.to_le_bytes());
        assert_eq!(open(plain.clone()).unwrap_err().kind(), ErrorKind::Corrupt, "{lie}");
    }
    let too_long = vec![0; HEAD_BYTES + FRAME_MAX_BYTES + 1];
    assert_eq!(open(too_long).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_chunk_is_checked_on_every_read() {
    let (ids, frame) = (ids(), Bytes::from_static(b"onetwo"));
    let two = reference(ids.id(b"two"), 3, 3);
    assert_eq!(chunk_of(&frame, &two, &ids).unwrap(), "two");
    let wrong = [
        reference(ids.id(b"one"), 3, 3),
        reference(ids.id(b"two"), 4, 3),
        reference(ids.id(b"two"), u32::MAX, u32::MAX),
        reference(ChunkSecret::new([8; 32]).ids().id(b"two"), 3, 3),
    ];
    for reference in wrong {
        let error = chunk_of(&frame, &reference, &ids).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{reference:?}");
    }
}

proptest! {
    #[test]
    fn a_frame_reads_back(raw in prop::collection::vec(0u8..4, 0..5000), level in -1i32..4) {
        let volume = volume();
        let compression = if level < 0 { Compression::Stored } else { Compression::Zstd(level) };
        let plain = Compressor::new(compression).unwrap().pack(&raw).unwrap();
        for sealing in sealings() {
            let bytes = sealed(&sealing, &plain, &binding(&volume));
            let opened = Opener::new().unwrap().open_frame(bytes, &sealing, &binding(&volume)).unwrap();
            prop_assert_eq!(&opened[..], &raw[..]);
        }
    }

    #[test]
    fn arbitrary_and_changed_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let volume = volume();
        for sealing in sealings() {
            let _ = Opener::new().unwrap().open_frame(bytes.clone().into(), &sealing, &binding(&volume));
        }
        let raw: Vec<u8> = bytes.iter().flat_map(|b| [*b; 9]).collect();
        let ids = ids();
        let mut plain = Compressor::new(Compression::default()).unwrap().pack(&raw).unwrap();
        let at = at.index(plain.len());
        plain[at] = to;
        // Unsealed, a changed byte may still unpack: then the chunk's id tells.
        if let Ok(opened) = open(plain) {
            let length = u32::try_from(raw.len()).unwrap();
            let chunk = chunk_of(&opened, &reference(ids.id(&raw), 0, length), &ids);
            prop_assert!(chunk.map_or_else(|e| e.kind() == ErrorKind::Corrupt, |chunk| chunk == raw));
        }
    }
}
