use super::*;
use crate::{format::crypt::Sealing, head::record::Digest};
use persist_core::testing::SeededEntropy;
use proptest::prelude::*;

fn volume(last: u8) -> VolumeId {
    VolumeId::parse(&format!("00000000-0000-7000-8000-0000000000{last:02x}")).unwrap()
}

fn caller(byte: u8) -> CallerKey {
    CallerKey::new([byte; KEY_BYTES])
}

fn made(volume: &VolumeId, origin: Option<&Keyring>, caller: Option<&CallerKey>) -> (Vec<u8>, Keyring) {
    create(&NewFormat { volume, origin, caller }, &SeededEntropy::new(1)).unwrap()
}

fn seals(sealing: &Sealing) -> Vec<u8> {
    let Sealing::Key(_, key) = sealing else { return Vec::new() };
    let (volume, mut out) = (volume(9), Vec::new());
    key.seal(b"x", &secret_slot(&volume), &mut out).unwrap();
    out
}

fn resealed(json: &str) -> Vec<u8> {
    format!("{json}\n{}\n", Digest::of(json.as_bytes())).into_bytes()
}

#[test]
fn the_keys_read_back() {
    for caller in [None, Some(&caller(1))] {
        let (bytes, written) = made(&volume(1), None, caller);
        let read = open(&bytes, &volume(1), caller).unwrap();
        assert_eq!(read.secret().expose(), written.secret().expose());
        assert_eq!(seals(&read.writing()), seals(&written.writing()));
        assert_eq!(caller.is_some(), read.writing().number() == KeyNumber::FIRST);
    }
}

#[test]
fn an_encrypted_volume_opens_with_its_key_only() {
    let (bytes, _) = made(&volume(1), None, Some(&caller(1)));
    for wrong in [None, Some(&caller(2))] {
        let error = open(&bytes, &volume(1), wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains("give the key that the volume was created with"), "{error}");
    }
    let (clear, _) = made(&volume(1), None, None);
    assert_eq!(open(&clear, &volume(1), Some(&caller(1))).unwrap_err().field(), Some("key"));
}

#[test]
fn no_key_of_an_encrypted_volume_is_stored_in_clear() {
    let (bytes, keyring) = made(&volume(1), None, Some(&caller(1)));
    let text = String::from_utf8(bytes).unwrap();
    let hex = |key: &[u8; KEY_BYTES]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(!text.contains(&hex(keyring.secret().expose())));
    assert!(keyring.masters().iter().all(|master| !text.contains(&hex(master.expose()))));
}

#[test]
fn a_fork_reads_what_its_origin_wrote_and_seals_with_a_key_of_its_own() {
    let (_, origin) = made(&volume(1), None, Some(&caller(1)));
    let new = NewFormat { volume: &volume(2), origin: Some(&origin), caller: Some(&caller(2)) };
    let (bytes, _) = create(&new, &SeededEntropy::new(2)).unwrap();
    let fork = open(&bytes, &volume(2), Some(&caller(2))).unwrap();
    let inherited = fork.sealing(&volume(1), KeyNumber::FIRST).unwrap();
    assert_eq!(seals(&inherited), seals(&origin.writing()));
    assert_ne!(seals(&fork.writing()), seals(&origin.writing()));
    assert_eq!(fork.secret().expose(), origin.secret().expose());
    let bare = NewFormat { caller: None, ..new };
    assert_eq!(create(&bare, &SeededEntropy::new(3)).unwrap_err().field(), Some("key"));
}

#[test]
fn an_unsealed_part_in_an_encrypted_volume_is_corrupt_and_a_lost_key_is_denied() {
    let (_, keyring) = made(&volume(1), None, Some(&caller(1)));
    let kind = |volume: &VolumeId, number| keyring.sealing(volume, number).map_err(|e| e.kind()).err();
    assert_eq!(kind(&volume(1), KeyNumber::CLEAR), Some(ErrorKind::Corrupt));
    assert_eq!(kind(&volume(1), KeyNumber(2)), Some(ErrorKind::Denied));
    assert_eq!(kind(&volume(2), KeyNumber::CLEAR), None);
}

#[test]
fn an_unknown_mandatory_feature_is_refused_by_name_and_an_optional_one_is_not() {
    let (bytes, _) = made(&volume(1), None, None);
    let text = String::from_utf8(bytes).unwrap();
    let json = text.lines().next().unwrap();
    let newer = json.replace("\"mandatory\":[]", "\"mandatory\":[\"erasure-coding\"],\"shape\":3");
    let error = open(&resealed(&newer), &volume(1), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("erasure-coding"), "{error}");
    let optional = json.replace("\"optional\":[]", "\"optional\":[\"hints\"],\"hints\":3");
    assert!(open(&resealed(&optional), &volume(1), None).is_ok());
    let format = json.replace("\"format\":1", "\"format\":2");
    assert_eq!(open(&resealed(&format), &volume(1), None).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn another_volumes_object_and_a_swapped_key_are_corrupt() {
    let (bytes, _) = made(&volume(1), None, Some(&caller(1)));
    assert_eq!(open(&bytes, &volume(2), Some(&caller(1))).unwrap_err().kind(), ErrorKind::Corrupt);
    let text = String::from_utf8(bytes).unwrap();
    let swapped = text.lines().next().unwrap().replace("\"number\":1", "\"number\":2");
    let error = open(&resealed(&swapped), &volume(1), Some(&caller(1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn a_changed_byte_is_corrupt(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let (mut bytes, _) = made(&volume(1), None, Some(&caller(1)));
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let error = open(&bytes, &volume(1), Some(&caller(1))).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn arbitrary_text_is_corrupt(json in ".{0,200}") {
        let error = open(&resealed(&json), &volume(1), None).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
