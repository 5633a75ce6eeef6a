use super::*;
use proptest::prelude::*;

fn volume(last: u8) -> VolumeId {
    VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap()
}

fn binding(volume: &VolumeId) -> Binding<'_> {
    Binding { volume, epoch: Epoch::new(3), number: 4, part: Part::Frame, offset: 5 }
}

fn sealed(key: &SealKey, plain: &[u8], binding: &Binding<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    key.seal(plain, binding, &mut out).unwrap();
    out
}

#[test]
fn a_part_opens_only_as_what_it_was_sealed_as() {
    let (key, volume, other) = (SealKey::new(&[1; 32]), volume(1), volume(2));
    let bound = binding(&volume);
    let bytes = sealed(&key, b"payroll", &bound);
    assert_eq!(key.open(&bytes, &bound).unwrap(), b"payroll");
    let wrong = [
        Binding { volume: &other, ..bound },
        Binding { epoch: Epoch::new(4), ..bound },
        Binding { number: 5, ..bound },
        Binding { part: Part::Directory, ..bound },
        Binding { offset: 6, ..bound },
    ];
    for binding in wrong {
        assert_eq!(key.open(&bytes, &binding).unwrap_err().kind(), ErrorKind::Corrupt, "{binding:?}");
    }
    let stranger = SealKey::new(&[2; 32]).open(&bytes, &bound);
    assert_eq!(stranger.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn other_plaintext_at_the_same_place_is_sealed_by_another_key() {
    let (key, volume) = (SealKey::new(&[1; 32]), volume(1));
    let (zeros, ones) =
        (sealed(&key, &[0; 64], &binding(&volume)), sealed(&key, &[1; 64], &binding(&volume)));
    assert_ne!(zeros[..32], ones[..32]);
    // Under one key and one nonce the two streams would differ exactly as the plaintexts do.
    let stream: Vec<u8> = zeros[32..96].iter().zip(&ones[32..96]).map(|(a, b)| a ^ b).collect();
    assert_ne!(stream, [1; 64]);
}

#[test]
fn no_secret_shows_itself() {
    let secret = [0xab; 32];
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        ChunkSecret::new(secret),
        ChunkSecret::new(secret).ids(),
        CallerKey::new(secret),
        Sealing::Key(KeyNumber::FIRST, SealKey::new(&secret)),
    );
    assert!(!shown.contains("171") && !shown.contains("ab, ab"), "{shown}");
}

#[test]
fn chunks_are_named_alike_within_a_lineage_and_otherwise_beyond_it() {
    let (mine, other) = (ChunkSecret::new([1; 32]).ids(), ChunkSecret::new([2; 32]).ids());
    assert_eq!(mine.id(b"x"), ChunkSecret::new([1; 32]).ids().id(b"x"));
    assert_ne!(mine.id(b"x"), other.id(b"x"));
    assert_ne!(mine.id(b"x"), mine.id(b"y"));
}

proptest! {
    #[test]
    fn a_flipped_bit_is_corrupt(plain in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let (key, volume) = (SealKey::new(&[1; 32]), volume(1));
        let mut bytes = sealed(&key, &plain, &binding(&volume));
        prop_assert_eq!(bytes.len(), plain.len() + SEAL_BYTES);
        prop_assert_eq!(key.open(&bytes, &binding(&volume)).unwrap(), plain);
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert_eq!(key.open(&bytes, &binding(&volume)).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn arbitrary_bytes_never_open(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let volume = volume(1);
        let opened = SealKey::new(&[1; 32]).open(&bytes, &binding(&volume));
        prop_assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
