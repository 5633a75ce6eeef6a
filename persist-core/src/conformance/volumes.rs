//! Volumes: created once, seen by everybody, changed whole.

use super::{bench::*, tree};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Lifetime, Outcome, VolumeSpec,
    id::Epoch,
    name::LabelKey,
    volume::{Protection, RootSpec, UpdateOptions, VolumeState},
};
use std::{os::unix::fs::MetadataExt, time::Duration};

pub(super) async fn a_created_volume_is_there_for_every_opening(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let spec = VolumeSpec::default().with_labels([(key("team"), "shop".to_owned())]);
    let report = store.create(&volume("v"), CreateOptions::default().with_spec(spec.clone())).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!((&report.volume.name, &report.volume.spec), (&volume("v"), &spec));
    assert_eq!(report.volume.state, VolumeState::Ready);
    // A store may have made it under a lease of its own.
    assert!(report.volume.epoch <= Epoch::new(1), "{:?}", report.volume.epoch);
    for opening in [&store, &other] {
        assert_eq!(opening.get(&volume("v")).await.unwrap(), report.volume);
        assert_eq!(volumes(opening).await, [report.volume.clone()]);
    }
}

pub(super) async fn a_new_volume_is_empty(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    assert_eq!(tree::names(attachment.path()), Vec::<String>::new());
}

pub(super) async fn creating_again_gives_the_same_volume_as_it_is(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let first = made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    std::fs::write(attachment.path().join("kept"), "kept").unwrap();
    for _ in 0..10 {
        for opening in [&store, &other] {
            let again = opening.create(&volume("v"), CreateOptions::default()).await.unwrap();
            assert_eq!((again.outcome, &again.volume.id), (Outcome::Already, &first.id));
            assert_eq!(again.imported, None);
        }
    }
    assert_eq!(std::fs::read(attachment.path().join("kept")).unwrap(), b"kept");
}

pub(super) async fn creating_with_another_spec_is_a_conflict_with_the_difference(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let mode = VolumeSpec::default().with_root(RootSpec::default().with_mode(0o700_u32));
    let lifetime = VolumeSpec::default().with_lifetime(Lifetime::For(Duration::from_secs(1)));
    for (spec, field) in [(mode, "mode"), (lifetime, "lifetime")] {
        let call = async { store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await };
        let error = refused_without_a_trace(&store, ErrorKind::Conflict, call).await;
        let fields: Vec<_> = error.differences().iter().map(|d| d.field).collect();
        assert!(fields.len() == 1 && fields[0].contains(field), "{field} is not named: {error}");
        assert_ne!(error.differences()[0].wanted, error.differences()[0].actual);
    }
}

pub(super) async fn the_root_has_the_owner_and_mode_that_were_asked_for(bench: Bench) {
    let store = bench.store().await;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let root = RootSpec::default().with_uid(uid).with_gid(gid).with_mode(0o2750_u32);
    let spec = VolumeSpec::default().with_root(root);
    store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
    made(&store, "plain").await;
    let wanted = std::fs::metadata(attached(&store, "v", "w").await.path()).unwrap();
    assert_eq!((wanted.uid(), wanted.gid(), wanted.mode() & 0o7777), (uid, gid, 0o2750));
    let plain = std::fs::metadata(attached(&store, "plain", "w").await.path()).unwrap();
    assert_eq!((plain.uid(), plain.mode() & 0o7777), (uid, 0o755));
}

pub(super) async fn a_root_mode_beyond_twelve_bits_is_invalid(bench: Bench) {
    let store = bench.store().await;
    let spec = VolumeSpec::default().with_root(RootSpec::default().with_mode(0o10000_u32));
    let call = async { store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await };
    let error = refused_without_a_trace(&store, ErrorKind::Invalid, call).await;
    assert!(error.field().is_some(), "{error}");
}

pub(super) async fn an_unknown_volume_is_not_found(bench: Bench) {
    let store = bench.store().await;
    refused(ErrorKind::NotFound, store.get(&volume("v")).await);
    let label = UpdateOptions::default().with_label(key("a"), "1");
    refused_without_a_trace(&store, ErrorKind::NotFound, store.update(&volume("v"), label)).await;
}

pub(super) async fn an_identity_is_never_used_again(bench: Bench) {
    let store = bench.store().await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let record = made(&store, "v").await;
        assert!(!seen.contains(&record.id));
        seen.push(record.id);
        store.delete(&volume("v"), Default::default()).await.unwrap();
    }
}

pub(super) async fn an_update_is_seen_by_every_opening(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let before = made(&store, "v").await;
    let change = UpdateOptions::default()
        .with_label(key("team"), "shop")
        .with_label(key("gone"), "x")
        .with_protection(Protection::Protected);
    let report = store.update(&volume("v"), change).await.unwrap();
    assert_eq!((report.outcome, &report.volume.id), (Outcome::Done, &before.id));
    let report =
        other.update(&volume("v"), UpdateOptions::default().without_label(key("gone"))).await.unwrap();
    for opening in [&store, &other] {
        let record = opening.get(&volume("v")).await.unwrap();
        assert_eq!(record, report.volume);
        assert_eq!(record.spec.labels, [(key("team"), "shop".to_owned())].into());
        assert_eq!(record.spec.protection, Protection::Protected);
    }
}

pub(super) async fn the_same_update_again_changes_nothing(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let change = || UpdateOptions::default().with_label(key("a"), "1").without_label(key("b"));
    assert_eq!(store.update(&volume("v"), change()).await.unwrap().outcome, Outcome::Done);
    let picture = Picture::of(&store).await;
    for _ in 0..10 {
        assert_eq!(store.update(&volume("v"), change()).await.unwrap().outcome, Outcome::Already);
    }
    assert_eq!(Picture::of(&store).await, picture);
}

pub(super) async fn an_update_is_applied_whole_or_not_at_all(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    std::fs::write(attachment.path().join("data"), vec![1; 1 << 20]).unwrap();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let change = UpdateOptions::default().with_label(key("a"), "1").with_size_bytes(Some(4096));
    let kind = match claims(&store, Capabilities::ENFORCED_SIZE) {
        true => ErrorKind::Exhausted,
        false => ErrorKind::Unsupported,
    };
    refused_without_a_trace(&store, kind, store.update(&volume("v"), change)).await;
}

pub(super) async fn the_facts_of_an_opening_do_not_change(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let before = store.info();
    made(&store, "v").await;
    attached(&store, "v", "w").await;
    assert_eq!(store.info(), before);
    assert_eq!((&other.info().id, &other.info().kind), (&before.id, &before.kind));
    assert!(!before.kind.is_empty() && !before.location.is_empty());
    assert!(!before.characteristics.filesystem.is_empty(), "what is underneath is not said");
}

fn key(name: &str) -> LabelKey {
    LabelKey::new(name).unwrap()
}
