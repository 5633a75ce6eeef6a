//! Attaching: a path to work in, for one holder, under an epoch.

use super::{bench::*, tree::*};
use crate::{
    Access, AttachOptions, Capabilities, ErrorKind, LeaseState, Outcome, SnapshotOptions, VolumeStore,
    attachment::{AttachmentFilter, Mounted},
    capability::Fencing,
    holder::NodeId,
    id::Epoch,
};
use std::{fs, time::Duration};

pub(super) async fn an_attached_path_is_a_directory_to_work_in(bench: Bench) {
    let store = bench.store().await;
    let record = made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    assert!(attachment.path().is_absolute() && attachment.path().is_dir());
    assert_eq!((&attachment.volume, &attachment.volume_name), (&record.id, &volume("v")));
    assert_eq!((attachment.access, &attachment.holder.workload), (Access::ReadWrite, &workload("w")));
    assert_eq!((attachment.report().outcome, attachment.report().mounted), (Outcome::Done, Mounted::No));
    assert_eq!(attachment.lease(), LeaseState::Held);
    let tree = Tree::sample("one");
    tree.write(attachment.path());
    tree.assert_at(attachment.path());
}

pub(super) async fn what_was_written_is_there_at_the_next_attach(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    for tag in ["one", "two", "three"] {
        let (opening, tree) = (bench.store().await, Tree::sample(tag));
        let first = attached(&opening, "v", "w").await;
        tree.replace(first.path());
        detached(&opening, &first).await;
        let second = attached(&store, "v", "another").await;
        tree.assert_at(second.path());
        detached(&store, &second).await;
    }
}

pub(super) async fn attaching_never_creates_a_volume(bench: Bench) {
    let store = bench.store().await;
    let call = async { store.attach(&volume("v"), holder("w")).await };
    refused_without_a_trace(&store, ErrorKind::NotFound, call).await;
}

pub(super) async fn the_same_holder_gets_the_same_attachment(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = attached(&store, "v", "w").await;
    fs::write(first.path().join("kept"), "kept").unwrap();
    for _ in 0..10 {
        let again = attached(&store, "v", "w").await;
        assert_eq!(again.record(), first.record());
        assert_eq!((again.path(), again.report().outcome), (first.path(), Outcome::Already));
    }
    assert_eq!(attachments(&store).await, [first.record().clone()]);
    assert_eq!(names(first.path()), ["kept"]);
}

pub(super) async fn the_calling_process_is_the_holder_where_no_workload_is_named(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = store.attach(&volume("v"), AttachOptions::default()).await.unwrap();
    let again = store.attach(&volume("v"), AttachOptions::default()).await.unwrap();
    assert_eq!(first.record(), again.record());
    let pid = match &first.holder.liveness {
        crate::Liveness::Process(Some(process)) => process.pid,
        other => panic!("not the calling process: {other:?}"),
    };
    assert_eq!(pid, std::process::id());
    let named = attached(&store, "v", "w");
    drop(named);
    refused(ErrorKind::InUse, store.attach(&volume("v"), holder("w")).await);
}

pub(super) async fn the_same_holder_with_another_identity_is_a_conflict(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    attached(&store, "v", "w").await;
    if claims(&store, Capabilities::SHARED_ON_NODE) {
        let call = async { store.attach(&volume("v"), holder("w").with_access(Access::SharedOnNode)).await };
        let error = refused_without_a_trace(&store, ErrorKind::Conflict, call).await;
        assert_eq!(error.differences().iter().map(|d| d.field).collect::<Vec<_>>(), ["access"], "{error}");
    }
    let target = bench.free_path("target");
    let link = holder("w").with_target(&*target).with_target_kind(crate::attachment::TargetKind::Symlink);
    let error = refused_without_a_trace(&store, ErrorKind::Conflict, store.attach(&volume("v"), link)).await;
    // What a target becomes is part of it, where a store tells the two apart.
    assert!(error.differences().iter().all(|d| d.field.starts_with("target")), "{error}");
    assert_eq!(error.differences()[0].field, "target", "{error}");
    assert!(fs::symlink_metadata(&target).is_err(), "refused, but there is something at the target");
}

pub(super) async fn a_second_writer_is_refused_and_told_who_holds_it(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    made(&store, "v").await;
    let first = attached(&store, "v", "first").await;
    for opening in [&store, &other] {
        let call = async { opening.attach(&volume("v"), holder("second")).await };
        let error = refused_without_a_trace(opening, ErrorKind::InUse, call).await;
        let [seen] = error.holders() else { panic!("not one holder: {error}") };
        assert_eq!((&seen.attachment, seen.epoch, seen.access), (&first.id, first.epoch, first.access));
        assert_eq!((&seen.node, &seen.workload), (&first.holder.node.id, &first.holder.workload));
        assert_eq!(seen.since, first.since);
    }
}

pub(super) async fn access_modes_exclude_each_other_as_the_table_says(bench: Bench) {
    use Access::{ReadOnly, ReadWrite, SharedAcrossNodes, SharedOnNode};
    let (here, there) = (bench.store().await, bench.open("b").await);
    let modes = [ReadWrite, SharedOnNode, SharedAcrossNodes, ReadOnly];
    let usable = |access: &Access| can(&here, *access);
    for (n, first) in modes.into_iter().filter(usable).enumerate() {
        for (m, second) in modes.into_iter().filter(usable).enumerate() {
            for (opening, same_node) in [(&here, true), (&there, false)] {
                let name = format!("v-{n}-{m}-{same_node}");
                made(&here, &name).await;
                if claims(&here, Capabilities::SNAPSHOTS) {
                    here.snapshot(&volume(&name), &named("s"), SnapshotOptions::default()).await.unwrap();
                }
                let kept = here.attach(&volume(&name), mode(first, "first")).await.unwrap();
                let result = opening.attach(&volume(&name), mode(second, "second")).await;
                let together = match (first, second) {
                    (ReadOnly, _) | (_, ReadOnly) | (SharedAcrossNodes, SharedAcrossNodes) => true,
                    (SharedOnNode, SharedOnNode) => same_node,
                    _ => false,
                };
                match result {
                    Ok(_) => assert!(together, "{first:?} and {second:?}, same node {same_node}"),
                    Err(error) => {
                        assert!(!together, "{first:?} and {second:?}, same node {same_node}: {error}");
                        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
                    }
                }
                assert!(attachments(&here).await.contains(kept.record()));
            }
        }
    }
}

pub(super) async fn every_attach_for_writing_has_a_larger_epoch(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let mut last = Epoch::ZERO;
    for _ in 0..10 {
        let attachment = attached(&store, "v", "w").await;
        assert!(attachment.epoch > last, "{} after {last}", attachment.epoch);
        last = attachment.epoch;
        assert_eq!(store.get(&volume("v")).await.unwrap().epoch, last);
        detached(&store, &attachment).await;
        assert_eq!(store.get(&volume("v")).await.unwrap().epoch, last);
    }
}

pub(super) async fn a_reader_never_moves_the_epoch(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let writer = attached(&store, "v", "w").await;
    if !can(&store, Access::ReadOnly) {
        let call = async { store.attach(&volume("v"), mode(Access::ReadOnly, "r")).await };
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    store.snapshot(&volume("v"), &named("s"), SnapshotOptions::default()).await.unwrap();
    for n in 0..10 {
        let reader = store.attach(&volume("v"), mode(Access::ReadOnly, &format!("r{n}"))).await.unwrap();
        assert_eq!(reader.epoch, writer.epoch);
    }
    assert_eq!(store.get(&volume("v")).await.unwrap().epoch, writer.epoch);
    store.sync(&writer.id, Default::default()).await.unwrap();
}

pub(super) async fn dropping_a_handle_does_not_detach(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let record = attached(&store, "v", "w").await.record().clone();
    assert_eq!(attachments(&store).await, [record.clone()]);
    store.sync(&record.id, Default::default()).await.unwrap();
    refused(ErrorKind::InUse, store.attach(&volume("v"), holder("another")).await);
}

pub(super) async fn a_handle_keeps_its_store_alive(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let other = bench.store().await;
    drop(store);
    // Had the store gone with its handle, its attachment would be free for the next process.
    let error =
        refused(ErrorKind::InUse, other.adopt(attachment.record(), Default::default()).await.map(drop));
    assert!(!error.holders().is_empty(), "{error}");
    assert_eq!(attachment.lease(), LeaseState::Held);
}

pub(super) async fn a_waiting_attach_gets_the_volume_when_the_holder_leaves(bench: Bench) {
    for node in ["a", "b"] {
        let (store, other) = (bench.store().await, bench.open(node).await);
        store.create(&volume("v"), Default::default()).await.unwrap();
        let first = attached(&store, "v", "first").await;
        let options = holder("second").with_wait(HANG);
        let waits = Store::clone(&other);
        let waiting = tokio::spawn(async move { waits.attach(&volume("v"), options).await });
        tokio::task::yield_now().await;
        detached(&store, &first).await;
        let second = soon("an attach that waits", waiting).await.unwrap().unwrap();
        assert!(second.epoch > first.epoch);
        assert_eq!(attachments(&store).await, [second.record().clone()]);
        detached(&other, &second).await;
    }
}

pub(super) async fn a_wait_ends_at_its_bound(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = attached(&store, "v", "first").await;
    let call =
        async { store.attach(&volume("v"), holder("second").with_wait(Duration::from_millis(1))).await };
    let error = refused_without_a_trace(&store, ErrorKind::InUse, soon("a bounded wait", call)).await;
    assert_eq!(error.holders()[0].attachment, first.id);
}

pub(super) async fn fencing_is_stated_as_the_store_has_it(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    assert_eq!(attachment.fencing(), store.info().characteristics.fencing);
    assert!(attachment.fencing() >= Fencing::Advisory, "a lost writer would not be told");
}

pub(super) async fn attachments_are_found_by_volume_node_and_workload(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    for name in ["v1", "v2", "v3"] {
        made(&store, name).await;
    }
    let one = attached(&store, "v1", "x").await;
    let two = attached(&store, "v2", "y").await;
    let three = attached(&other, "v3", "x").await;
    let found = async |filter: AttachmentFilter| {
        let mut ids: Vec<_> =
            all(VolumeStore::attachments(&*store, filter)).await.into_iter().map(|r| r.id).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<crate::AttachmentId>| {
        ids.sort();
        ids
    };
    let filter = AttachmentFilter::default;
    assert_eq!(found(filter()).await, sorted(vec![one.id.clone(), two.id.clone(), three.id.clone()]));
    assert_eq!(found(filter().with_volume(volume("v2"))).await, [two.id.clone()]);
    assert_eq!(found(filter().with_node(NodeId::new("b").unwrap())).await, [three.id.clone()]);
    let by_workload = filter().with_workload(workload("x"));
    assert_eq!(found(by_workload.clone()).await, sorted(vec![one.id.clone(), three.id.clone()]));
    assert_eq!(found(by_workload.with_node(NodeId::new("a").unwrap())).await, [one.id.clone()]);
    assert_eq!(found(filter().with_volume(volume("unknown"))).await, []);
}

/// Whether the store claims what attaching in this mode needs here; readers are pinned to a snapshot.
fn can(store: &Store, access: Access) -> bool {
    let snapshots = if access == Access::ReadOnly { Capabilities::SNAPSHOTS } else { Capabilities::empty() };
    claims(store, access.capability() | snapshots)
}

fn mode(access: Access, by: &str) -> AttachOptions {
    let options = holder(by).with_access(access);
    if access == Access::ReadOnly { options.with_snapshot(named("s")) } else { options }
}
