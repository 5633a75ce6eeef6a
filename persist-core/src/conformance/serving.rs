//! Who serves an attachment: one process at a time, and a second copy never takes it from a live first.

use super::{bench::*, tree::*};
use crate::{Access, Capabilities, Error, ErrorKind, Outcome, attachment::AdoptOptions};
use std::fs;

pub(super) async fn a_second_process_never_takes_an_attachment_from_a_live_first(bench: Bench) {
    let (first, second) = (bench.store().await, bench.store().await);
    made(&first, "v").await;
    let attachment = attached(&first, "v", "w").await;
    let (id, record) = (&attachment.id, attachment.record());
    let held = |error: Error| {
        assert_eq!(error.holders().len(), 1, "{error}");
        assert_eq!(&error.holders()[0].attachment, id);
        assert_eq!(error.holders()[0].pid, Some(std::process::id()), "{error}");
    };
    let call = async || second.adopt(record, AdoptOptions::default()).await.map(drop);
    held(refused_without_a_trace(&second, ErrorKind::InUse, call()).await);
    let call = async || second.attach(&volume("v"), holder("w")).await.map(drop);
    held(refused_without_a_trace(&second, ErrorKind::InUse, call()).await);
    let call = async || second.sync(id, Default::default()).await.map(drop);
    held(refused_without_a_trace(&second, ErrorKind::InUse, call()).await);
    let call = async || second.detach(id, Default::default()).await.map(drop);
    held(refused_without_a_trace(&second, ErrorKind::InUse, call()).await);
    first.sync(id, Default::default()).await.unwrap();
}

pub(super) async fn a_process_that_does_not_serve_it_adopts_before_it_syncs(bench: Bench) {
    let first = bench.store().await;
    made(&first, "v").await;
    let attachment = attached(&first, "v", "w").await;
    fs::write(attachment.path().join("file"), "content").unwrap();
    first.close().await.unwrap();
    let (second, third) = (bench.store().await, bench.store().await);
    second.sync(&attachment.id, Default::default()).await.unwrap();
    let [record] = &attachments(&second).await[..] else { panic!("not one attachment") };
    assert_eq!((&record.id, record.epoch > attachment.epoch), (&attachment.id, true));
    refused(ErrorKind::InUse, third.sync(&attachment.id, Default::default()).await);
}

pub(super) async fn a_process_that_does_not_serve_it_adopts_before_it_detaches(bench: Bench) {
    let first = bench.store().await;
    made(&first, "v").await;
    let attachment = attached(&first, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    first.close().await.unwrap();
    let second = bench.store().await;
    let report = second.detach(&attachment.id, Default::default()).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!(attachments(&second).await, []);
    Tree::sample("one").assert_at(attached(&second, "v", "next").await.path());
}

pub(super) async fn an_attachment_outlives_the_close_of_its_store(bench: Bench) {
    let first = bench.store().await;
    made(&first, "v").await;
    let attachment = attached(&first, "v", "w").await;
    first.close().await.unwrap();
    let second = bench.store().await;
    assert_eq!(attachments(&second).await, [attachment.record().clone()]);
    // Its workload may still write: nobody else gets the volume.
    refused_without_a_trace(&second, ErrorKind::InUse, second.attach(&volume("v"), holder("x"))).await;
}

pub(super) async fn a_closed_store_refuses_and_may_be_closed_again(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    for _ in 0..10 {
        store.close().await.unwrap();
    }
    let kind = ErrorKind::Unavailable;
    refused(kind, store.get(&volume("v")).await);
    refused(kind, store.create(&volume("new"), Default::default()).await);
    refused(kind, store.attach(&volume("v"), holder("w")).await);
    refused(kind, store.sync(&attachment.id, Default::default()).await);
    refused(kind, store.detach(&attachment.id, Default::default()).await);
    let other = bench.store().await;
    assert_eq!(volumes(&other).await.len(), 1);
}

pub(super) async fn a_second_opening_sees_the_truth_at_once(bench: Bench) {
    let (first, second) = (bench.store().await, bench.store().await);
    for n in 0..10 {
        let name = format!("v{n}");
        made(&first, &name).await;
        let attachment = attached(&first, &name, "w").await;
        assert_eq!(Picture::of(&second).await, Picture::of(&first).await);
        detached(&first, &attachment).await;
        second.delete(&volume(&name), Default::default()).await.unwrap();
        assert_eq!(Picture::of(&first).await, Picture::of(&second).await);
        refused(ErrorKind::NotFound, first.get(&volume(&name)).await);
    }
}

pub(super) async fn a_reader_pinned_to_a_snapshot_is_served_by_one_process_too(bench: Bench) {
    let (first, second) = (bench.store().await, bench.store().await);
    made(&first, "v").await;
    let options = || holder("r").with_access(Access::ReadOnly).with_snapshot(named("s"));
    if !claims(&first, Capabilities::MANY_READERS | Capabilities::SNAPSHOTS) {
        let call = async { first.attach(&volume("v"), options()).await };
        refused_without_a_trace(&first, ErrorKind::Unsupported, call).await;
        return;
    }
    first.snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap();
    let reader = first.attach(&volume("v"), options()).await.unwrap();
    let call = async || second.adopt(reader.record(), AdoptOptions::default()).await.map(drop);
    refused_without_a_trace(&second, ErrorKind::InUse, call()).await;
    first.close().await.unwrap();
    let adopted = second.adopt(reader.record(), AdoptOptions::default()).await.unwrap();
    assert_eq!((adopted.id.clone(), adopted.epoch), (reader.id.clone(), reader.epoch));
}
