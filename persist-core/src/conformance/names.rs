//! Names: what is allowed works everywhere, whatever it looks like.

use super::{bench::*, tree};
use crate::{
    Capabilities, CreateOptions, ErrorKind, SnapshotName, SnapshotOptions, VolumeName, VolumeSpec,
    name::{LabelKey, Labels},
};
use std::{collections::BTreeSet, fs};

pub(super) async fn odd_names_never_reach_a_store(_: Bench) {
    let long = "x".repeat(129);
    let odd =
        ["", ".", "..", "-rf", "/", "a/b", "a\0b", "a\nb", "a b", "ä", "\u{430}", ".hidden", "_a", &long];
    for name in odd {
        for error in [VolumeName::new(name).unwrap_err(), SnapshotName::new(name).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{name:?}");
            assert!(error.field().is_some() && !error.to_string().contains('\n'), "{error}");
        }
    }
}

/// Names that a careless layout would mix up with its own files, with each other, or cut off.
pub(super) async fn every_allowed_name_is_a_volume_of_its_own(bench: Bench) {
    let store = bench.store().await;
    let long = ["x".repeat(128), format!("{}y", "x".repeat(127))];
    let mut names: BTreeSet<String> = long.into();
    let plain = [
        "shop",
        "Shop",
        "SHOP",
        "a.b",
        "a-b",
        "a_b",
        "a..b",
        "0",
        "a.tmp",
        "a.lock",
        "a.json",
        "con",
        "nul",
        "data",
        "trash",
        "volumes",
        "snapshots",
        "attachments",
        "records",
        "names",
        "store",
        "lock",
        "tmp",
    ];
    names.extend(plain.map(String::from));
    for name in &names {
        let options = CreateOptions::default();
        store.create(&VolumeName::new(name.as_str()).unwrap(), options).await.unwrap();
        let attachment = attached(&store, name, "w").await;
        fs::write(attachment.path().join("name"), name).unwrap();
        detached(&store, &attachment).await;
    }
    assert_eq!(volumes(&store).await.len(), names.len());
    for name in &names {
        let attachment = attached(&store, name, "w").await;
        assert_eq!(fs::read_to_string(attachment.path().join("name")).unwrap(), *name);
    }
}

pub(super) async fn every_allowed_name_is_a_snapshot_of_its_own(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let names =
        ["x".repeat(128), "data".into(), "trash".into(), "S".into(), "s".into(), "a..b".into(), "0".into()];
    let attachment = attached(&store, "v", "w").await;
    for name in &names {
        fs::write(attachment.path().join("name"), name).unwrap();
        let (v, s) = (volume("v"), SnapshotName::new(name.as_str()).unwrap());
        let call = store.snapshot(&v, &s, SnapshotOptions::default());
        if !claims(&store, Capabilities::SNAPSHOTS) {
            refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
            return;
        }
        call.await.unwrap();
    }
    for name in &names {
        let s = SnapshotName::new(name.as_str()).unwrap();
        let source = store.open_snapshot(&volume("v"), &s).await.unwrap();
        let read = source.read(&tree::path(b"name"), 0..200).await.unwrap();
        assert_eq!(read, name.as_bytes());
    }
}

pub(super) async fn a_workload_is_never_taken_for_a_path(bench: Bench) {
    let store = bench.store().await;
    let outside = tree::names(bench.scratch());
    let odd = [
        "../../etc",
        "/",
        ".",
        "..",
        "a/b c",
        "%2e%2e",
        "\"quoted\" {json}",
        "ä ☃",
        "-rf",
        &"x".repeat(1024),
    ];
    for (n, name) in odd.iter().enumerate() {
        let v = format!("v{n}");
        made(&store, &v).await;
        let attachment = attached(&store, &v, name).await;
        let again = attached(&store, &v, name).await;
        assert_eq!((again.record(), again.holder.workload.as_str()), (attachment.record(), *name));
        assert_eq!(attachments(&store).await, [attachment.record().clone()]);
        detached(&store, &attachment).await;
    }
    assert_eq!(tree::names(bench.scratch()), outside);
}

pub(super) async fn labels_hold_any_text(bench: Bench) {
    let store = bench.store().await;
    let long = "x".repeat(4096);
    let values = ["", " ", "a\nb", "\"}{", "ä ☃ \u{202e}", "\u{0}", &long];
    let labels: Labels = values
        .iter()
        .enumerate()
        .map(|(n, value)| (LabelKey::new(format!("example.org/k{n}")).unwrap(), value.to_string()))
        .collect();
    let spec = VolumeSpec::default().with_labels(labels.clone());
    store.create(&volume("v"), CreateOptions::default().with_spec(spec)).await.unwrap();
    assert_eq!(bench.open("b").await.get(&volume("v")).await.unwrap().spec.labels, labels);
}
