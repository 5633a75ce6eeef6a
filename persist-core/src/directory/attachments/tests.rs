//! What attaching promises, on real files and a place that remembers.

mod leases;
mod readers;
mod safety;
mod steps;
mod world;

use crate::{
    Access, Consistency, ErrorKind,
    attachment::{AdoptOptions, AttachmentFilter, BusyFiles, DetachOptions, TargetKind},
    error::Detail,
    holder::{Liveness, ProcessId},
    id::Epoch,
    lease::{LeaseState, Takeover, Vouch},
    open::OpenMode,
    quiesce::{SyncOptions, SyncPolicy},
    snapshot::Outcome,
    store::VolumeStore,
    volume::VolumeSpec,
};
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};
use world::{MOUNTING, PLAIN, World, by};

#[tokio::test]
async fn one_writes_and_the_next_one_gets_a_higher_epoch() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let first = store.attach(&v, by("a")).await.unwrap();
    assert_eq!((first.epoch, first.report().outcome), (Epoch::new(1), Outcome::Done));
    let refused = store.attach(&v, by("b")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    assert_eq!(refused.holders()[0].attachment, first.id);
    assert_eq!(refused.holders()[0].pid, Some(std::process::id()));
    let detached = store.detach(&first.id, DetachOptions::default()).await.unwrap();
    assert_eq!((detached.outcome, detached.synced.is_some()), (Outcome::Done, true));
    assert_eq!(first.lease(), LeaseState::Released);
    assert_eq!(store.detach(&first.id, DetachOptions::default()).await.unwrap().outcome, Outcome::Already);
    let second = store.attach(&v, by("b")).await.unwrap();
    assert!(second.epoch > first.epoch && second.id != first.id);
    assert_eq!(world.under(&store, "epochs"), ["2"], "older epochs go, the newest stays");
}

#[tokio::test]
async fn the_same_holder_gets_the_same_attachment_and_another_identity_is_a_conflict() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let first = store.attach(&v, by("a")).await.unwrap();
    let fsyncs = store.fsyncs();
    let again = store.attach(&v, by("a")).await.unwrap();
    assert_eq!((&again.id, again.epoch, again.path()), (&first.id, first.epoch, first.path()));
    assert_eq!((again.report().outcome, store.fsyncs()), (Outcome::Already, fsyncs));
    let other = store.attach(&v, by("a").with_access(Access::SharedOnNode)).await.unwrap_err();
    assert_eq!((other.kind(), other.differences()[0].field), (ErrorKind::Conflict, "access"));
    // What is no part of the identity is updated, and kept.
    let renewed = store.attach(&v, by("a").with_sync(SyncPolicy::Manual)).await.unwrap();
    assert_eq!((&renewed.id, renewed.sync), (&first.id, SyncPolicy::Manual));
    let listed: Vec<_> = store.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
    assert_eq!(listed, [renewed.record().clone()]);
}

#[tokio::test]
async fn without_a_workload_the_holder_is_the_calling_process() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let first = store.attach(&v, crate::AttachOptions::default()).await.unwrap();
    let Liveness::Process(Some(process)) = &first.holder.liveness else { panic!("{:?}", first.holder) };
    assert_eq!(process.pid, std::process::id());
    assert_eq!(store.attach(&v, crate::AttachOptions::default()).await.unwrap().id, first.id);
    assert_eq!(store.attach(&v, by("a")).await.unwrap_err().kind(), ErrorKind::InUse);
}

#[tokio::test]
async fn another_handle_is_refused_with_the_pid_until_the_first_one_closes_and_then_adopts() {
    let world = World::new(PLAIN);
    let (one, two) = (world.open("here").await, world.open("here").await);
    let v = world.volume(&one, VolumeSpec::default());
    let first = one.attach(&v, by("a")).await.unwrap();
    for refused in [
        two.attach(&v, by("a")).await.map(drop),
        two.adopt(first.record(), AdoptOptions::default()).await.map(drop),
        two.sync(&first.id, SyncOptions::default()).await.map(drop),
        two.detach(&first.id, DetachOptions::default()).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.kind(), error.holders()[0].pid), (ErrorKind::InUse, Some(std::process::id())));
    }
    one.close().await.unwrap();
    assert_eq!(one.sync(&first.id, SyncOptions::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    let adopted = two.adopt(first.record(), AdoptOptions::default()).await.unwrap();
    assert_eq!((&adopted.id, adopted.path()), (&first.id, first.path()));
    assert!(adopted.epoch > first.epoch);
    two.close().await.unwrap();
    let three = world.open("here").await;
    three.sync(&first.id, SyncOptions::default()).await.unwrap();
    assert_eq!(three.detach(&first.id, DetachOptions::default()).await.unwrap().outcome, Outcome::Done);
    let gone = three.adopt(adopted.record(), AdoptOptions::default()).await.unwrap_err();
    // The sync adopted it and minted: whoever holds the older record was overtaken.
    assert_eq!(gone.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn claims_of_a_node_share_one_epoch_and_exclude_everybody_else() {
    let world = World::new(PLAIN);
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let shared = |name| by(name).with_access(Access::SharedOnNode);
    let one = here.attach(&v, shared("1")).await.unwrap();
    let two = here.attach(&v, shared("2")).await.unwrap();
    assert_eq!((one.epoch, two.epoch), (Epoch::new(1), Epoch::new(1)));
    assert_eq!(there.attach(&v, shared("3")).await.unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(here.attach(&v, by("3")).await.unwrap_err().kind(), ErrorKind::InUse);
    here.detach(&one.id, DetachOptions::default()).await.unwrap();
    let three = here.attach(&v, shared("3")).await.unwrap();
    assert_eq!(three.epoch, Epoch::new(1));
    here.close().await.unwrap();
    let again = world.open("here").await;
    let adopted = again.adopt(two.record(), AdoptOptions::default()).await.unwrap();
    assert_eq!(adopted.epoch, Epoch::new(1), "another claim lives, so its epoch stays");
    world.dies("3");
    again.close().await.unwrap();
    let again = world.open("here").await;
    let adopted = again.adopt(two.record(), AdoptOptions::default()).await.unwrap();
    assert_eq!(adopted.epoch, Epoch::new(2), "the last claim that lives is adopted under a new epoch");
}

#[tokio::test]
async fn many_nodes_share_where_the_store_is_coherent() {
    let world = World::new(PLAIN);
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let shared = |name| by(name).with_access(Access::SharedAcrossNodes);
    let one = here.attach(&v, shared("1")).await.unwrap();
    let two = there.attach(&v, shared("2")).await.unwrap();
    assert_eq!(one.epoch, two.epoch);
    let error = there.detach(&one.id, DetachOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InUse, "another node's attachment is not ours to end");
}

#[tokio::test]
async fn what_a_dead_holder_left_is_cleaned_up_and_its_session_is_fenced() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let target = world.outside("target");
    fs::create_dir(&target).unwrap();
    let dead = Liveness::Process(Some(ProcessId::new(u32::MAX >> 1, 1, fs_namespace())));
    let lost = store.attach(&v, by("lost").with_liveness(dead).with_target(&target)).await.unwrap();
    assert!(world.place.mounted_at(&target).is_some());
    let next = store.attach(&v, by("next")).await.unwrap();
    assert_eq!(next.report().replaced, [(lost.id.clone(), lost.epoch)]);
    assert_eq!(world.place.mounted_at(&target), None);
    assert_eq!(world.under(&store, "attachments"), [next.id.to_string()]);
    let Detail::Fenced { mine, current, .. } =
        *store.sync(&lost.id, SyncOptions::default()).await.unwrap_err().detail()
    else {
        panic!("not fenced")
    };
    assert_eq!((mine, current), (lost.epoch, next.epoch));
    assert_eq!(lost.watch().fenced().await, next.epoch);
    assert_eq!(store.detach(&lost.id, DetachOptions::default()).await.unwrap().outcome, Outcome::Already);
    store.sync(&next.id, SyncOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_vouch_takes_over_only_the_attachment_and_epoch_that_it_names() {
    let world = World::new(PLAIN);
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let first = here.attach(&v, by("a")).await.unwrap();
    let vouched =
        |epoch| by("b").with_takeover(Takeover::Vouched(Vouch::new(first.id.clone(), epoch, "cut off")));
    assert_eq!(there.attach(&v, by("b")).await.unwrap_err().kind(), ErrorKind::InUse);
    let wrong = there.attach(&v, vouched(Epoch::new(7))).await.unwrap_err();
    assert_eq!((wrong.kind(), wrong.differences()[0].field), (ErrorKind::Conflict, "vouch"));
    let taken = there.attach(&v, vouched(first.epoch)).await.unwrap();
    assert!(taken.epoch > first.epoch);
    // The loser learns it without a call of its own, from the task of its store.
    assert_eq!(first.watch().fenced().await, taken.epoch);
    let again = there.attach(&v, vouched(first.epoch)).await.unwrap();
    assert_eq!((again.id.clone(), again.epoch), (taken.id.clone(), taken.epoch), "a repeat is safe");
    assert_eq!(here.detach(&first.id, DetachOptions::default()).await.unwrap().outcome, Outcome::Already);
}

#[tokio::test]
async fn a_vouch_ends_a_dead_nodes_attachment_from_anywhere() {
    let world = World::new(PLAIN);
    let (here, there) = (world.open("here").await, world.open("there").await);
    let v = world.volume(&here, VolumeSpec::default());
    let first = here.attach(&v, by("a")).await.unwrap();
    let vouch =
        |epoch| DetachOptions::default().with_vouch(Vouch::new(first.id.clone(), epoch, "burnt down"));
    assert_eq!(there.detach(&first.id, vouch(Epoch::new(9))).await.unwrap_err().kind(), ErrorKind::Conflict);
    let report = there.detach(&first.id, vouch(first.epoch)).await.unwrap();
    assert_eq!((report.outcome, report.synced.is_some(), report.left.len()), (Outcome::Done, false, 1));
    assert_eq!(there.detach(&first.id, vouch(first.epoch)).await.unwrap().outcome, Outcome::Already);
    there.attach(&v, by("b")).await.unwrap();
    assert_eq!(here.sync(&first.id, SyncOptions::default()).await.unwrap_err().kind(), ErrorKind::Fenced);
    let other = DetachOptions::default().with_vouch(Vouch::new(first.id.clone(), first.epoch, "x"));
    let mismatch = there.attach(&v, by("b")).await.unwrap();
    assert_eq!(there.detach(&mismatch.id, other).await.unwrap_err().field(), Some("vouch"));
}

#[tokio::test]
async fn a_failed_final_sync_keeps_the_attachment_and_its_path() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let target = world.outside("target");
    fs::create_dir(&target).unwrap();
    let one = store.attach(&v, by("a").with_target(&target)).await.unwrap();
    world.place.failing.store(1, SeqCst);
    let error = store.detach(&one.id, DetachOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, crate::Retry::Verify));
    assert!(world.place.mounted_at(&target).is_some());
    assert!(matches!(one.lease(), LeaseState::Unconfirmed { .. }));
    assert_eq!(world.under(&store, "attachments"), [one.id.to_string()]);
    store.sync(&one.id, SyncOptions::default()).await.unwrap();
    assert_eq!(one.lease(), LeaseState::Held);
    store.detach(&one.id, DetachOptions::default()).await.unwrap();
    assert_eq!(world.place.mounted_at(&target), None);
}

#[tokio::test]
async fn a_busy_mount_refuses_the_detach_and_leaves_lazily_on_demand() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let target = world.outside("target");
    fs::create_dir(&target).unwrap();
    let one = store.attach(&v, by("a").with_target(&target)).await.unwrap();
    world.place.busy.lock().unwrap().push(target.clone());
    let refused = store.detach(&one.id, DetachOptions::default()).await.unwrap_err();
    assert_eq!((refused.kind(), one.lease()), (ErrorKind::InUse, LeaseState::Held));
    assert!(world.place.mounted_at(&target).is_some());
    let left = store.detach(&one.id, DetachOptions::default().with_busy(BusyFiles::Lazy)).await.unwrap().left;
    assert!(left.len() == 1 && left[0].contains("last open file"), "{left:?}");
}

#[tokio::test]
async fn a_refused_target_leaves_no_trace() {
    let world = World::new(MOUNTING);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    fs::write(world.outside("file"), "x").unwrap();
    fs::create_dir(world.outside("full")).unwrap();
    fs::write(world.outside("full/x"), "x").unwrap();
    std::os::unix::fs::symlink(world.outside("full"), world.outside("link")).unwrap();
    fs::create_dir(world.root().join("inside")).unwrap();
    std::os::unix::fs::symlink(world.root(), world.outside("into")).unwrap();
    let (mount, link) = (TargetKind::Mount, TargetKind::Symlink);
    for (target, kind, expected) in [
        ("relative".into(), mount, ErrorKind::Invalid),
        ("/".into(), mount, ErrorKind::Denied),
        (world.outside("x/../file"), mount, ErrorKind::Invalid),
        (world.outside("missing"), mount, ErrorKind::Denied),
        (world.outside("missing/link"), link, ErrorKind::Denied),
        (world.outside("file"), mount, ErrorKind::Denied),
        (world.outside("full"), mount, ErrorKind::Denied),
        (world.outside("link"), mount, ErrorKind::Denied),
        (world.outside("file"), link, ErrorKind::Denied),
        (world.outside("full"), link, ErrorKind::Denied),
        (world.root().join("inside"), mount, ErrorKind::Denied),
        (world.root().join("new"), link, ErrorKind::Denied),
        (world.outside("into/inside"), mount, ErrorKind::Denied),
        (world.root(), mount, ErrorKind::Denied),
        (world.dir.path().to_owned(), mount, ErrorKind::Denied),
    ] {
        let options = by("a").with_target(&target).with_target_kind(kind);
        let error = store.attach(&v, options).await.unwrap_err();
        assert_eq!(error.kind(), expected, "{}: {error}", target.display());
        for part in ["attachments", "served", "epochs", "views"] {
            assert!(world.under(&store, part).is_empty(), "{part} after {}", target.display());
        }
        assert!(world.place.mounts.lock().unwrap().is_empty());
    }
    assert_eq!(fs::read_link(world.outside("link")).unwrap(), world.outside("full"));
}

#[tokio::test]
async fn a_link_is_made_and_only_a_link_of_ours_is_removed() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let target = world.outside("link");
    let linked = || by("a").with_target(&target).with_target_kind(TargetKind::Symlink);
    let one = store.attach(&v, linked()).await.unwrap();
    fs::write(one.path().join("f"), "x").unwrap();
    assert_eq!(one.path(), target);
    store.detach(&one.id, DetachOptions::default()).await.unwrap();
    assert!(fs::symlink_metadata(&target).is_err());
    let two = store.attach(&v, linked()).await.unwrap();
    assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "x");
    fs::remove_file(&target).unwrap();
    std::os::unix::fs::symlink("/somewhere", &target).unwrap();
    store.detach(&two.id, DetachOptions::default()).await.unwrap();
    assert_eq!(fs::read_link(&target).unwrap().to_str(), Some("/somewhere"));
}

#[tokio::test]
async fn a_waiter_gets_the_volume_when_its_holder_leaves() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let first = store.attach(&v, by("a")).await.unwrap();
    let refused = store.attach(&v, by("b").with_wait(Duration::from_millis(30))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    let patient = by("b").with_wait(Duration::MAX);
    let dropped = Box::pin(store.attach(&v, patient.clone()));
    assert!(dropped.now_or_never().is_none());
    let late = store.attach(&v, patient.clone().with_deadline(Duration::from_millis(30))).await.unwrap_err();
    assert!(matches!(late.kind(), ErrorKind::InUse | ErrorKind::Unavailable), "{late}");
    let waiting = tokio::spawn({
        let (store, v) = (store.clone(), v.clone());
        async move { store.attach(&v, patient).await }
    });
    store.detach(&first.id, DetachOptions::default()).await.unwrap();
    assert!(waiting.await.unwrap().unwrap().epoch > first.epoch);
}

#[tokio::test]
async fn a_store_syncs_by_itself_and_shows_when_it_cannot() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let often = by("a").with_sync(SyncPolicy::Every(Duration::from_millis(5)));
    world.place.failing.store(1, SeqCst);
    let one = store.attach(&v, often).await.unwrap();
    let mut watch = one.watch();
    assert!(matches!(watch.changed().await, LeaseState::Unconfirmed { .. }));
    assert_eq!(watch.changed().await, LeaseState::Held);
    let told = store.sync(&one.id, SyncOptions::default()).await.unwrap_err();
    assert_eq!((told.kind(), told.retry()), (ErrorKind::Unavailable, crate::Retry::Verify), "{told}");
    store.sync(&one.id, SyncOptions::default()).await.unwrap();
    let flushes = world.place.flushes.load(SeqCst);
    while world.place.flushes.load(SeqCst) < flushes + 3 {
        world.place.flushed.notified().await;
    }
    store.close().await.unwrap();
    let at_close = world.place.flushes.load(SeqCst);
    tokio::task::yield_now().await;
    assert_eq!(world.place.flushes.load(SeqCst), at_close, "close joined the task");
    let bad = by("b").with_sync(SyncPolicy::Every(Duration::ZERO));
    assert_eq!(store.attach(&v, bad).await.unwrap_err().field(), Some("sync"));
}

#[tokio::test]
async fn a_store_opened_read_only_changes_nothing() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let one = store.attach(&v, by("a")).await.unwrap();
    let reader = world.open_as("here", OpenMode::ReadOnly).await;
    for refused in [
        reader.attach(&v, by("b")).await.map(drop),
        reader.adopt(one.record(), AdoptOptions::default()).await.map(drop),
        reader.sync(&one.id, SyncOptions::default()).await.map(drop),
        reader.detach(&one.id, DetachOptions::default()).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Denied);
    }
    let listed: Vec<_> = reader.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
    assert_eq!(listed, [one.record().clone()]);
}

#[tokio::test]
async fn what_a_flush_is_not_worth_is_refused_before_it() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let demanding = by("a").with_consistency(Consistency::Atomic);
    assert_eq!(store.attach(&v, demanding).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(world.under(&store, "attachments").is_empty());
    let one = store.attach(&v, by("a")).await.unwrap();
    let demanding = SyncOptions::default().with_consistency(Consistency::Crash);
    assert_eq!(store.sync(&one.id, demanding).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(world.place.flushes.load(SeqCst), 0);
    let synced = store.sync(&one.id, SyncOptions::default()).await.unwrap();
    assert_eq!((synced.consistency, world.place.flushes.load(SeqCst)), (Consistency::PerFile, 1));
    let shown = one.watch().last_sync().unwrap();
    assert_eq!(shown.as_millisecond(), synced.cut.as_millisecond());
}

#[tokio::test]
async fn an_unreadable_record_is_one_item_of_the_listing_and_never_a_free_volume() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    let shared = |name| by(name).with_access(Access::SharedOnNode);
    let one = store.attach(&v, shared("1")).await.unwrap();
    let two = store.attach(&v, shared("2")).await.unwrap();
    let layout = store.engine.locate(&v).unwrap().layout;
    fs::write(layout.attachment(&one.id), "{").unwrap();
    fs::write(layout.attachments().join("foreign"), "x").unwrap();
    let items: Vec<_> = store.attachments(AttachmentFilter::default().with_volume(v.clone())).collect().await;
    let (good, bad): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), good[0].as_ref().unwrap()), (1, two.record()));
    assert!(bad.len() == 2 && bad.iter().all(|e| e.as_ref().unwrap_err().kind() == ErrorKind::Corrupt));
    assert_eq!(store.attach(&v, by("3")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

fn fs_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self/ns/pid").unwrap().ino()
}
