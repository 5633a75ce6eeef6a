//! Taking, listing, reading and deleting.

use super::bench::{Bench, name};
use crate::{
    ErrorKind, Result,
    capability::{Capabilities, Consistency},
    name::{LabelKey, VolumeName},
    quiesce::Quiesce,
    snapshot::{DeleteSnapshotOptions, Outcome, Replaced, RestoreOptions, SnapshotOptions},
    store::VolumeStore,
    volume::{ListOptions, ListStates},
};
use async_trait::async_trait;
use futures::FutureExt;
use std::{
    fs,
    sync::{Arc, Mutex, mpsc::channel},
    time::Duration,
};
use tokio::runtime::Handle;

#[tokio::test]
async fn a_snapshot_keeps_what_was_there_and_its_name_stays_its_own() {
    let bench = Bench::new().await;
    let first = bench.snapshot("s").await.unwrap();
    assert_eq!((first.outcome, first.record.consistency), (Outcome::Done, Consistency::PerFile));
    bench.write("two");
    let again = bench.snapshot("s").await.unwrap();
    assert_eq!((again.outcome, again.record), (Outcome::Already, first.record));
    assert_eq!(bench.content_of("s").await.unwrap(), "one");
    assert_eq!((bench.content().as_str(), bench.trees()), ("two", 2));
}

#[tokio::test]
async fn a_snapshot_costs_one_flush_and_two_fsyncs() {
    let bench = Bench::new().await;
    let before = bench.store.fsyncs();
    bench.snapshot("s").await.unwrap();
    // The draft of the record, and the directory of its name.
    assert_eq!((bench.place.count("flush"), bench.store.fsyncs() - before), (1, 2));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_nothing_is_left() {
    let bench = Bench::new().await;
    let nobody = VolumeName::new("nobody").unwrap();
    let taken = bench.store.snapshot(&nobody, &name("s"), SnapshotOptions::default()).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bench.content_of("s").await.unwrap_err().kind(), ErrorKind::NotFound);
    let restored = bench.store.restore(&bench.volume, &name("s"), RestoreOptions::default()).await;
    assert_eq!(restored.unwrap_err().kind(), ErrorKind::NotFound);
    let listed: Vec<_> =
        futures::StreamExt::collect(bench.store.snapshots(&nobody, ListOptions::default())).await;
    let kinds: Vec<_> = listed.into_iter().map(|item: Result<_>| item.unwrap_err().kind()).collect();
    assert_eq!(kinds, [ErrorKind::NotFound]);
    for volume in [&nobody, &bench.volume] {
        let s = name("s");
        let deleted = bench.store.delete_snapshot(volume, &s, DeleteSnapshotOptions::default());
        assert_eq!(deleted.await.unwrap(), Outcome::Already);
    }
    assert_eq!(bench.trees(), 1);
}

#[tokio::test]
async fn without_the_capability_every_call_is_refused_without_a_trace() {
    let bench = Bench::with(Capabilities::empty(), None).await;
    let delete = DeleteSnapshotOptions::default();
    let refused = [
        bench.snapshot("s").await.unwrap_err(),
        bench.content_of("s").await.unwrap_err(),
        bench.store.delete_snapshot(&bench.volume, &name("s"), delete).await.unwrap_err(),
        bench.store.restore(&bench.volume, &name("s"), RestoreOptions::default()).await.unwrap_err(),
    ];
    assert!(refused.iter().all(|error| error.kind() == ErrorKind::Unsupported));
    assert_eq!((bench.trees(), fs::read_dir(bench.layout.intents()).unwrap().count()), (1, 0));
}

#[tokio::test]
async fn a_consistency_that_cannot_be_reached_is_refused_without_a_trace() {
    let bench = Bench::new().await;
    let options = SnapshotOptions::default().with_consistency(Consistency::Crash);
    let error = bench.store.snapshot(&bench.volume, &name("s"), options.clone()).await.unwrap_err();
    assert_eq!((error.kind(), bench.place.count("cut"), bench.trees()), (ErrorKind::Unsupported, 0, 1));
    assert_eq!(fs::read_dir(bench.layout.intents()).unwrap().count(), 0);
    // What is there is given whatever it is worth: the record says so.
    bench.snapshot("s").await.unwrap();
    let there = bench.store.snapshot(&bench.volume, &name("s"), options).await.unwrap();
    assert_eq!((there.outcome, there.record.consistency), (Outcome::Already, Consistency::PerFile));
}

#[derive(Debug, Default)]
struct Hook {
    seen: Arc<Mutex<Vec<&'static str>>>,
    fails: Option<ErrorKind>,
}

#[async_trait]
impl Quiesce for Hook {
    fn name(&self) -> &str {
        "hook"
    }

    fn reaches(&self) -> Consistency {
        Consistency::Application
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn freeze(&self) -> Result<()> {
        self.seen.lock().unwrap().push("freeze");
        self.fails.map_or(Ok(()), |kind| Err(crate::Error::new(kind, "busy")))
    }

    async fn thaw(&self) -> Result<()> {
        self.seen.lock().unwrap().push("thaw");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_are_held_for_the_cut_alone_and_the_record_says_so() {
    let bench = Bench::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let during = Arc::clone(&seen);
    bench.place.during_cut(move |_| during.lock().unwrap().push("cut"));
    let hook: Arc<dyn Quiesce> = Arc::new(Hook { seen: Arc::clone(&seen), fails: None });
    let options = SnapshotOptions::default().with_quiesce(hook).with_consistency(Consistency::Application);
    let report = bench.store.snapshot(&bench.volume, &name("s"), options).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), ["freeze", "cut", "thaw"]);
    assert_eq!(report.record.consistency, Consistency::Application);
    assert_eq!(report.record.hooks, [crate::quiesce::HookRun::new("hook", None)]);
    assert_eq!(bench.list(ListOptions::default()).await[0].as_ref().unwrap(), &report.record);
}

#[tokio::test]
async fn a_hook_that_fails_leaves_a_snapshot_without_it_or_none_if_that_is_too_little() {
    let bench = Bench::new().await;
    let hook: Arc<dyn Quiesce> = Arc::new(Hook { fails: Some(ErrorKind::Unavailable), ..Hook::default() });
    let options = SnapshotOptions::default().with_quiesce(hook);
    let least = options.clone().with_consistency(Consistency::Crash);
    let error = bench.store.snapshot(&bench.volume, &name("s"), least).await.unwrap_err();
    assert_eq!((error.kind(), bench.trees()), (ErrorKind::Unsupported, 1));
    let report = bench.store.snapshot(&bench.volume, &name("s"), options).await.unwrap();
    assert_eq!(report.record.consistency, Consistency::PerFile);
    assert!(report.record.hooks[0].failure.is_some() && report.remarks.len() == 2, "{report:?}");
}

#[tokio::test]
async fn of_two_that_take_one_name_one_wins_and_the_other_leaves_nothing() {
    let bench = Bench::new().await;
    let (store, volume, handle) = (bench.store.clone(), bench.volume.clone(), Handle::current());
    let live = bench.live();
    bench.place.during_cut(move |_| {
        let s = name("s");
        let winner = store.snapshot(&volume, &s, SnapshotOptions::default());
        assert_eq!(handle.block_on(winner).unwrap().outcome, Outcome::Done);
        fs::write(live.join("f"), "later").unwrap();
    });
    let loser = bench.snapshot("s").await.unwrap();
    assert_eq!(loser.outcome, Outcome::Already);
    assert_eq!((bench.content_of("s").await.unwrap().as_str(), bench.trees()), ("one", 2));
}

#[tokio::test]
async fn a_failed_or_dropped_one_is_not_there_and_a_repeat_works() {
    let bench = Bench::new().await;
    for call in ["cut", "flush"] {
        bench.place.fail(call);
        assert_eq!(bench.snapshot("s").await.unwrap_err().kind(), ErrorKind::Exhausted, "{call}");
        assert_eq!((bench.names().await, bench.trees()), (vec![], 1), "{call}");
    }
    let (cutting, is_cutting) = channel();
    let (stopped, was_stopped) = channel();
    bench.place.during_cut(move |meter| {
        cutting.send(()).unwrap();
        while !meter.is_stopped() {
            std::thread::yield_now();
        }
        stopped.send(()).unwrap();
    });
    let mut call = Box::pin(bench.snapshot("s"));
    while is_cutting.try_recv().is_err() {
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(call);
    tokio::task::spawn_blocking(move || was_stopped.recv().unwrap()).await.unwrap();
    assert!(bench.names().await.is_empty());
    assert_eq!(bench.snapshot("s").await.unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn a_copy_in_progress_keeps_its_tree_and_blocks_nobody() {
    let bench = Bench::new().await;
    bench.snapshot("old").await.unwrap();
    bench.write("two");
    let (store, volume, handle) = (bench.store.clone(), bench.volume.clone(), Handle::current());
    bench.place.during_cut(move |_| {
        let options = RestoreOptions::default().with_replaced(Replaced::Discard);
        let report = handle.block_on(store.restore(&volume, &name("old"), options)).unwrap();
        assert!(report.remarks.iter().any(|remark| remark.contains("being read")), "{report:?}");
    });
    assert_eq!(bench.snapshot("s").await.unwrap().outcome, Outcome::Done);
    assert_eq!(bench.content_of("s").await.unwrap(), "two");
    assert_eq!(bench.content(), "one");
}

#[tokio::test]
async fn a_snapshot_that_is_read_is_not_removed_under_the_reader() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    let source = bench.store.open_snapshot(&bench.volume, &name("s")).await.unwrap();
    assert_eq!(bench.delete("s").await.unwrap_err().kind(), ErrorKind::InUse);
    let stream = source.entries(None);
    drop(source);
    assert_eq!(bench.delete("s").await.unwrap_err().kind(), ErrorKind::InUse);
    assert_eq!(futures::StreamExt::count(stream).await, 2);
    assert_eq!(bench.delete("s").await.unwrap(), Outcome::Done);
    assert_eq!((bench.delete("s").await.unwrap(), bench.trees()), (Outcome::Already, 1));
    assert!(bench.names().await.is_empty());
    assert_eq!(bench.snapshot("s").await.unwrap().outcome, Outcome::Done);
}

#[tokio::test]
async fn a_closed_store_lets_go_of_what_was_read() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    let source = bench.store.open_snapshot(&bench.volume, &name("s")).await.unwrap();
    let mut entries = source.entries(None);
    let other = bench.reopened().await;
    let delete = || async {
        let (volume, s) = (bench.volume.clone(), name("s"));
        other.delete_snapshot(&volume, &s, DeleteSnapshotOptions::default()).await
    };
    assert_eq!(delete().await.unwrap_err().kind(), ErrorKind::InUse);
    bench.store.close().await.unwrap();
    assert_eq!(delete().await.unwrap(), Outcome::Done);
    let late = source.entry(&crate::tree::TreePath::root()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    let ended = futures::StreamExt::next(&mut entries).await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::Unavailable);
    assert!(futures::StreamExt::next(&mut entries).await.is_none());
}

#[tokio::test]
async fn a_deletion_is_done_once_the_name_has_gone() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.place.fail("remove_tree");
    assert_eq!(bench.delete("s").await.unwrap(), Outcome::Done);
    assert_eq!((bench.names().await, bench.trees()), (vec![], 2));
}

#[tokio::test]
async fn a_listing_is_in_order_in_pages_and_filtered_and_goes_on_after_what_it_cannot_read() {
    let bench = Bench::new().await;
    let key = LabelKey::new("team").unwrap();
    for (i, snapshot) in ["c", "a", "b", "a-1"].into_iter().enumerate() {
        let mut options = SnapshotOptions::default();
        options.labels.insert(key.clone(), format!("{}", i % 2));
        bench.store.snapshot(&bench.volume, &name(snapshot), options).await.unwrap();
    }
    assert_eq!(bench.names().await, ["a", "a-1", "b", "c"]);
    let page = bench.list(ListOptions::default().with_after("a").with_limit(2_usize)).await;
    let page: Vec<_> = page.into_iter().map(|record| record.unwrap().name.to_string()).collect();
    assert_eq!(page, ["a-1", "b"]);
    let mut odd = ListOptions::default().with_limit(1_usize);
    odd.labels.insert(key, "1".into());
    let odd: Vec<_> = bench.list(odd.with_after("a")).await;
    assert_eq!(odd[0].as_ref().unwrap().name.as_str(), "a-1");
    fs::write(bench.layout.snapshot(&name("b")), b"{").unwrap();
    let listed = bench.list(ListOptions::default()).await;
    let listed: Vec<_> =
        listed.iter().map(|item| item.as_ref().map_err(crate::Error::kind).is_ok()).collect();
    assert_eq!(listed, [true, true, false, true]);
    let trash = bench.list(ListOptions::default().with_states(ListStates::Trashed)).await;
    assert_eq!(trash[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
}

/// A reader that found the volume before it was deleted, and its tree after: the tree may be half removed.
#[tokio::test]
async fn a_snapshot_of_a_volume_that_was_deleted_meanwhile_is_not_read() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    let engine = &bench.store.engine;
    let located = engine.locate(&bench.volume).unwrap();
    let id = &located.stored.volume.id;
    let meter = crate::progress::Meter::default();
    engine.read_snapshot(&bench.layout, id, &name("s"), &meter).unwrap();
    engine.trash(&located, crate::volume::Trash::Bypass, &meter).unwrap();
    assert!(!engine.is_read(&bench.layout).unwrap());
    let read = engine.read_snapshot(&bench.layout, id, &name("s"), &meter);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::NotFound);
}

/// Its taker may have died between the link of the record and the flush of its directory.
#[tokio::test]
async fn a_snapshot_or_a_restore_that_is_there_already_is_flushed_before_it_is_acknowledged() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    let before = bench.store.fsyncs();
    assert_eq!(bench.snapshot("s").await.unwrap().outcome, Outcome::Already);
    assert_eq!(bench.store.fsyncs() - before, 1);
    let s = name("s");
    let restore = || bench.store.restore(&bench.volume, &s, RestoreOptions::default());
    restore().await.unwrap();
    let before = bench.store.fsyncs();
    assert_eq!((restore().await.unwrap().outcome, bench.store.fsyncs() - before), (Outcome::Already, 1));
}
