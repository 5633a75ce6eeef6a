//! Quiesce hooks: writers are held around a cut, and always let go again.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, Consistency, Error, ErrorKind, Quiesce, Result, SnapshotOptions, SyncOptions, SyncPolicy,
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

pub(super) async fn a_hook_holds_the_writers_around_a_snapshot(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let hook = Hook::new(Freeze::Works);
    let options =
        SnapshotOptions::default().with_quiesce(hook.quiesce()).with_consistency(Consistency::Crash);
    let report = store.snapshot(&volume("v"), &named("s"), options).await.unwrap();
    assert_eq!((hook.frozen(), hook.held()), (1, false));
    assert!(hook.thawed() >= 1);
    assert!(report.record.consistency >= Consistency::Crash, "{:?}", report.record.consistency);
    let [run] = &report.record.hooks[..] else { panic!("not one hook: {:?}", report.record.hooks) };
    assert_eq!((run.hook.as_str(), &run.failure), ("test hook", &None));
    assert_eq!(snapshots_of(&store, &volume("v")).await, [report.record]);
}

pub(super) async fn a_hook_holds_the_writers_around_a_sync(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    let hook = Hook::new(Freeze::Works);
    let options = SyncOptions::default().with_quiesce(hook.quiesce());
    let report = store.sync(&attachment.id, options).await.unwrap();
    assert_eq!((hook.frozen(), hook.held()), (1, false));
    assert_eq!(report.hooks.iter().map(|run| run.hook.as_str()).collect::<Vec<_>>(), ["test hook"]);
}

pub(super) async fn a_hook_that_fails_is_thawed_and_the_cut_counts_as_without_it(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    for (n, freeze) in [Freeze::Fails, Freeze::Hangs].into_iter().enumerate() {
        let hook = Hook::new(freeze);
        let options = SnapshotOptions::default().with_quiesce(hook.quiesce());
        let call = async { store.snapshot(&volume("v"), &named(&format!("s{n}")), options).await };
        let report = soon("a snapshot beside a bad hook", call).await.unwrap();
        assert!(hook.thawed() >= 1 && !hook.held());
        assert!(report.record.hooks[0].failure.is_some(), "the failure is not on record");
        assert!(report.record.consistency <= store.info().characteristics.cut_consistency);
    }
}

pub(super) async fn a_consistency_that_was_not_reached_is_no_snapshot(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let wanted = SnapshotOptions::default().with_consistency(Consistency::Application);
    let call = async { store.snapshot(&volume("v"), &named("s"), wanted.clone()).await };
    refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
    let hook = Hook::new(Freeze::Fails);
    let call = async {
        store.snapshot(&volume("v"), &named("s"), wanted.clone().with_quiesce(hook.quiesce())).await
    };
    refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
    assert!(!hook.held());
    let hook = Hook::new(Freeze::Works);
    store.snapshot(&volume("v"), &named("s"), wanted.with_quiesce(hook.quiesce())).await.unwrap();
}

pub(super) async fn writers_are_let_go_when_the_call_is_dropped(bench: Bench) {
    let Some(store) = snapshotting(&bench).await else { return };
    let hook = Hook::new(Freeze::HangsLong);
    let options = SnapshotOptions::default().with_quiesce(hook.quiesce());
    let (own, name) = (store.clone(), named("s"));
    let call = tokio::spawn(async move { own.snapshot(&volume("v"), &name, options).await });
    soon("a freeze", hook.freezing.notified()).await;
    call.abort();
    soon("a thaw after the call was dropped", hook.thawing.notified()).await;
    assert!(!hook.held());
    let report = store.snapshot(&volume("v"), &named("s"), SnapshotOptions::default()).await.unwrap();
    assert!(report.record.hooks.is_empty());
}

pub(super) async fn a_store_syncs_by_itself_as_it_was_told(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let hook = Hook::new(Freeze::Works);
    let every = SyncPolicy::Every(Duration::from_millis(20));
    let options = holder("w").with_sync(every).with_quiesce(hook.quiesce());
    let attachment = store.attach(&volume("v"), options).await.unwrap();
    Tree::sample("one").write(attachment.path());
    for _ in 0..3 {
        soon("a sync by itself", hook.freezing.notified()).await;
    }
    store.close().await.unwrap();
    let runs = hook.frozen();
    assert!(!hook.held());
    tokio::task::yield_now().await;
    assert_eq!(hook.frozen(), runs, "a closed store still syncs");
}

/// A store with the volume `v`; `None` where snapshots are not claimed and were refused.
async fn snapshotting(bench: &Bench) -> Option<Store> {
    let store = bench.store().await;
    made(&store, "v").await;
    if claims(&store, Capabilities::SNAPSHOTS) {
        return Some(store);
    }
    let call = async { store.snapshot(&volume("v"), &named("s"), SnapshotOptions::default()).await };
    refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
    None
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Freeze {
    Works,
    Fails,
    /// Until its deadline, which is short.
    Hangs,
    /// Until it is dropped.
    HangsLong,
}

/// A hook that counts, and does what it is told.
#[derive(Debug)]
struct State {
    freeze: Freeze,
    frozen: AtomicUsize,
    thawed: AtomicUsize,
    held: Mutex<bool>,
    freezing: Notify,
    thawing: Notify,
}

#[derive(Debug, Clone)]
struct Hook(Arc<State>);

impl Hook {
    fn new(freeze: Freeze) -> Self {
        Self(Arc::new(State {
            freeze,
            frozen: AtomicUsize::new(0),
            thawed: AtomicUsize::new(0),
            held: Mutex::new(false),
            freezing: Notify::new(),
            thawing: Notify::new(),
        }))
    }

    fn quiesce(&self) -> Arc<dyn Quiesce> {
        Arc::new(self.clone())
    }

    fn frozen(&self) -> usize {
        self.0.frozen.load(SeqCst)
    }

    fn thawed(&self) -> usize {
        self.0.thawed.load(SeqCst)
    }

    fn held(&self) -> bool {
        *self.0.held.lock().unwrap()
    }
}

impl std::ops::Deref for Hook {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

#[async_trait]
impl Quiesce for Hook {
    fn name(&self) -> &str {
        "test hook"
    }

    fn reaches(&self) -> Consistency {
        Consistency::Application
    }

    fn deadline(&self) -> Duration {
        if self.freeze == Freeze::Hangs { Duration::from_millis(10) } else { HANG * 2 }
    }

    async fn freeze(&self) -> Result<()> {
        self.0.frozen.fetch_add(1, SeqCst);
        *self.held.lock().unwrap() = true;
        self.freezing.notify_one();
        match self.freeze {
            Freeze::Works => Ok(()),
            Freeze::Fails => Err(Error::internal("the hook fails").during("freeze", "test hook")),
            Freeze::Hangs | Freeze::HangsLong => std::future::pending().await,
        }
    }

    async fn thaw(&self) -> Result<()> {
        self.0.thawed.fetch_add(1, SeqCst);
        *self.held.lock().unwrap() = false;
        self.thawing.notify_one();
        Ok(())
    }
}
