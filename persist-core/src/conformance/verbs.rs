//! The five verbs of an application, on top of any store.

use super::{bench::*, tree::*};
use crate::{
    BindOptions, Capabilities, CreateOptions, ErrorKind, Needs, Outcome, Source, VolumeStoreExt,
    needs::{pick, require},
};

pub(super) async fn binding_creates_what_is_missing_and_says_so(bench: Bench) {
    let store = bench.store().await;
    let bound = store.bind(&volume("v"), bind("w")).await.unwrap();
    assert_eq!(bound.created(), Outcome::Done);
    Tree::sample("one").write(bound.path());
    bound.detach().await.unwrap();
    for _ in 0..10 {
        let again = store.bind(&volume("v"), bind("w")).await.unwrap();
        assert_eq!(again.created(), Outcome::Already);
        Tree::sample("one").assert_at(again.path());
        again.detach().await.unwrap();
    }
}

pub(super) async fn a_bind_that_cannot_attach_gives_the_holder(bench: Bench) {
    let store = bench.store().await;
    store.bind(&volume("v"), bind("w")).await.unwrap();
    refused(ErrorKind::InUse, store.bind(&volume("v"), bind("another")).await);
    let missing = Source::Volume(volume("missing"));
    let options = bind("w").with_create(CreateOptions::default().with_source(missing));
    let name = volume("new");
    refused_without_a_trace(&store, ErrorKind::NotFound, store.bind(&name, options)).await;
}

pub(super) async fn the_five_verbs_keep_an_applications_data(bench: Bench) {
    let store = bench.store().await;
    let bound = store.bind(&volume("v"), bind("w")).await.unwrap();
    Tree::sample("one").write(bound.path());
    bound.sync().await.unwrap();
    if !claims(&store, Capabilities::SNAPSHOTS) {
        refused_without_a_trace(&store, ErrorKind::Unsupported, bound.snapshot("s")).await;
        bound.detach().await.unwrap();
        return;
    }
    bound.snapshot("s").await.unwrap();
    assert_eq!(bound.snapshot("not a name").await.unwrap_err().kind(), ErrorKind::Invalid);
    Tree::sample("two").replace(bound.path());
    let bound = bound.restore("s").await.unwrap();
    Tree::sample("one").assert_at(bound.path());
    std::fs::write(bound.path().join("after"), "the restore").unwrap();
    bound.detach().await.unwrap();
    assert_eq!(attachments(&store).await, []);
    assert_eq!(snapshots_of(&store, &volume("v")).await.len(), 2);
}

pub(super) async fn a_failed_restore_leaves_the_volume_bound(bench: Bench) {
    let store = bench.store().await;
    let bound = store.bind(&volume("v"), bind("w")).await.unwrap();
    Tree::sample("one").write(bound.path());
    let error = bound.restore("unknown").await.map(drop).unwrap_err();
    let kinds = [ErrorKind::NotFound, ErrorKind::Unsupported];
    assert!(kinds.contains(&error.kind()), "{error}");
    assert_eq!(attachments(&store).await.len(), 1);
    let again = store.bind(&volume("v"), bind("w")).await.unwrap();
    Tree::sample("one").assert_at(again.path());
}

pub(super) async fn needs_are_met_by_what_the_store_says_of_itself(bench: Bench) {
    let store = bench.store().await;
    let info = store.info();
    let have = Needs::default()
        .with_survives(info.characteristics.survives)
        .with_fencing(info.characteristics.fencing)
        .with_consistency(info.characteristics.cut_consistency)
        .with_capabilities(info.capabilities);
    require(&info, &have).unwrap();
    assert_eq!(pick(std::slice::from_ref(&store), &have).unwrap().info(), info);
    for flag in Capabilities::all().difference(info.capabilities).iter() {
        let needs = Needs::default().with_capabilities(flag);
        let error = refused(ErrorKind::Unsupported, require(&info, &needs));
        assert!(error.to_string().contains(&flag.to_string()), "{error}");
        assert!(pick(std::slice::from_ref(&store), &needs).is_err());
    }
}

fn bind(by: &str) -> BindOptions {
    BindOptions::default().with_attach(holder(by))
}
