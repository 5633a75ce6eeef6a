use super::*;
use crate::head::names::Digest;
use persist_core::clock::SystemEnvironment;
use proptest::prelude::*;

fn volume() -> VolumeId {
    VolumeId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap()
}

fn part() -> impl Strategy<Value = Part> {
    let digest = any::<[u8; 16]>().prop_map(Digest);
    let unique = (any::<u64>(), any::<u128>(), digest.clone()).prop_map(|(epoch, nonce, hash)| UniqueName {
        epoch: Epoch::new(epoch),
        nonce,
        hash,
    });
    let numbers = (any::<u64>(), any::<u64>(), digest);
    prop_oneof![
        Just(Part::Fmt),
        Just(Part::Head),
        unique.clone().prop_map(Part::Record),
        unique.prop_map(Part::Tombstones),
        numbers.clone().prop_map(|(seq, epoch, hash)| Part::Commit(CommitName {
            seq,
            epoch: Epoch::new(epoch),
            hash
        })),
        numbers.prop_map(|(seq, epoch, hash)| Part::Pack(PackName { seq, epoch: Epoch::new(epoch), hash })),
        "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}".prop_map(|name| Part::Snapshot(SnapshotName::new(name).unwrap())),
        any::<u128>().prop_map(|id| Part::Pin(PinId(id))),
        (any::<u64>(), any::<u128>(), any::<u128>()).prop_map(|(epoch, session, nonce)| {
            Part::Salvage(SalvageName { epoch: Epoch::new(epoch), session: SessionId(session), nonce })
        }),
    ]
}

proptest! {
    #[test]
    fn every_object_is_found_again_by_its_path(part in part(), prefix in "([a-z é%]{1,5}/){0,2}[a-z]{0,3}") {
        let keys = Keys::new(Path::from(prefix));
        let key = Key::Volume(volume(), part);
        prop_assert_eq!(keys.parse(&keys.path(&key)), Some(key));
    }

    #[test]
    fn every_name_is_found_again_by_its_path(name in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}") {
        let keys = Keys::new(Path::from("a/b"));
        let key = Key::Name(VolumeName::new(name).unwrap());
        prop_assert_eq!(keys.parse(&keys.path(&key)), Some(key));
    }

    #[test]
    fn whatever_is_listed_is_nobodys_or_prints_as_it_was_read(text in "\\PC{0,80}") {
        let keys = Keys::new(Path::default());
        if let Ok(path) = Path::parse(&text) && let Some(key) = keys.parse(&path) {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn a_changed_name_is_another_object_or_none(part in part(), at in any::<prop::sample::Index>(), byte in " -~") {
        let (keys, text) = (Keys::new(Path::default()), format!("v/{}/{part}", volume()));
        let at = at.index(text.len());
        let changed = format!("{}{byte}{}", &text[..at], &text[at + 1..]);
        if let Ok(path) = Path::parse(&changed) && let Some(key) = keys.parse(&path) {
            prop_assert_eq!(key.to_string(), changed);
        }
    }
}

#[test]
fn hostile_keys_are_nobodys() {
    let keys = Keys::new(Path::from("s"));
    let id = volume();
    let hash = "0123456789abcdef0123456789abcdef";
    for odd in [
        "s/storage".to_owned(),
        "s/n/-x".to_owned(),
        "s/n/a/b".to_owned(),
        format!("s/v/{}/head", id.to_string().to_uppercase()),
        format!("s/v/{id}"),
        format!("s/v/{id}/head/x"),
        format!("s/v/{id}/c/01-1-{hash}"),
        format!("s/v/{id}/c/+1-1-{hash}"),
        format!("s/v/{id}/c/1-1-{}", hash.to_uppercase()),
        format!("s/v/{id}/c/1-1-{hash}-2"),
        format!("s/v/{id}/c/18446744073709551616-1-{hash}"),
        format!("s/v/{id}/p/ff/1-1-{hash}"),
        format!("s/v/{id}/p/01/2/1-1-{hash}"),
        format!("s/v/{id}/pin/s-"),
        format!("s/v/{id}/pin/{}", &hash[1..]),
        format!("s/v/{id}/salvage/1-2-3"),
        format!("t/v/{id}/head"),
        format!("v/{id}/head"),
    ] {
        assert_eq!(keys.parse(&Path::parse(&odd).unwrap()), None, "{odd}");
    }
}

#[test]
fn a_volume_is_found_by_its_common_prefix() {
    let keys = Keys::new(Path::from("a b"));
    let id = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
    assert_eq!(keys.parse_volume(&keys.all_of(&id, None)), Some(id));
    assert_eq!(keys.parse_volume(&Path::from("a b/v/x")), None);
    assert_eq!(keys.parse_volume(&Path::from("v/01890a5d-ac96-774b-bcce-b302099a8057")), None);
}
