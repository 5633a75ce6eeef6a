//! Deadlines and progress of long calls.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, DetachOptions, Error, ErrorKind, Retry, SnapshotOptions, Source,
    SyncOptions,
    care::*,
    progress::{Phase, Progress},
    snapshot::{Outcome, RestoreOptions},
    volume::{DeleteOptions, Import},
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

const NOW: Duration = Duration::ZERO;

pub(super) async fn a_create_past_its_deadline_creates_nothing(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    let options = || CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
    let name = volume("v");
    let call = store.create(&name, options().with_deadline(NOW));
    let error = refused(ErrorKind::Unavailable, call.await);
    assert_ne!(error.retry(), Retry::Never);
    store.create(&name, options()).await.unwrap();
    tree.assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn every_call_with_a_deadline_ends_at_it(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let (name, attachment) = (volume("v"), attached(&store, "v", "w").await);
    Tree::sample("one").write(attachment.path());
    let late = |error: Error| assert_ne!(error.retry(), Retry::Never, "{error}");
    let kind = ErrorKind::Unavailable;
    late(refused(kind, store.sync(&attachment.id, SyncOptions::default().with_deadline(NOW)).await));
    late(refused(kind, store.detach(&attachment.id, DetachOptions::default().with_deadline(NOW)).await));
    detached(&store, &attachment).await;
    late(refused(kind, store.attach(&name, holder("w").with_deadline(NOW)).await));
    late(refused(kind, store.usage(UsageOptions::default().with_deadline(NOW)).await));
    late(refused(kind, store.verify(VerifyOptions::default().with_deadline(NOW)).await));
    let apply = PruneOptions::default().with_mode(PruneMode::Apply);
    late(refused(kind, store.prune(apply.with_deadline(NOW)).await));
    late(refused(kind, store.delete(&name, DeleteOptions::default().with_deadline(NOW)).await));
    // Each of them, with time: the volume is as it was, or what was asked for is done.
    if store.get(&name).await.is_ok() {
        let again = attached(&store, "v", "w").await;
        Tree::sample("one").assert_at(again.path());
        store.sync(&again.id, SyncOptions::default()).await.unwrap();
        store.detach(&again.id, DetachOptions::default()).await.unwrap();
    }
    store.delete(&name, DeleteOptions::default()).await.unwrap();
    refused(ErrorKind::NotFound, store.get(&name).await);
}

pub(super) async fn a_snapshot_past_its_deadline_is_whole_or_not_there(bench: Bench) {
    let (store, one) = (bench.store().await, Tree::sample("one"));
    made(&store, "v").await;
    let (name, s) = (volume("v"), named("s"));
    let attachment = attached(&store, "v", "w").await;
    one.write(attachment.path());
    let late = SnapshotOptions::default().with_deadline(NOW);
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let call = store.snapshot(&name, &s, late);
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    refused(ErrorKind::Unavailable, store.snapshot(&name, &s, late).await);
    store.snapshot(&name, &s, SnapshotOptions::default()).await.unwrap();
    Tree::of(&*store.open_snapshot(&name, &s).await.unwrap()).await.assert_is(&one);
    Tree::sample("two").replace(attachment.path());
    detached(&store, &attachment).await;
    let late = RestoreOptions::default().with_deadline(NOW);
    refused(ErrorKind::Unavailable, store.restore(&name, &s, late).await);
    store.restore(&name, &s, RestoreOptions::default()).await.unwrap();
    one.assert_at(attached(&store, "v", "w").await.path());
}

pub(super) async fn a_wait_ends_at_the_deadline_of_its_call(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let first = attached(&store, "v", "first").await;
    let name = volume("v");
    let options = holder("second").with_wait(HANG * 2).with_deadline(Duration::from_millis(20));
    let call = store.attach(&name, options);
    refused_without_a_trace(&store, ErrorKind::Unavailable, soon("a wait past its deadline", call)).await;
    store.sync(&first.id, Default::default()).await.unwrap();
}

pub(super) async fn long_calls_say_how_far_they_are(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    let path = bench.directory("from");
    tree.write(&path);
    let (seen, listener) = listening();
    let options = CreateOptions::default()
        .with_source(Source::Directory { path, import: Import::Copy })
        .with_progress(listener);
    let report = store.create(&volume("v"), options).await.unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(!seen.is_empty(), "nothing was reported, not even the end");
    for pair in seen.windows(2).filter(|pair| pair[0].phase == pair[1].phase) {
        assert!(pair[0].files <= pair[1].files && pair[0].bytes <= pair[1].bytes, "{pair:?} goes back");
    }
    for progress in &seen {
        assert!(progress.total_files.is_none_or(|total| progress.files <= total), "{progress:?}");
    }
}

pub(super) async fn verifying_says_how_far_it_is(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
    store.create(&volume("v"), options).await.unwrap();
    let (seen, listener) = listening();
    store.verify(VerifyOptions::default().with_progress(listener)).await.unwrap();
    let last = *seen.lock().unwrap().last().unwrap();
    assert_eq!(last.phase, Phase::Verify);
    assert!(last.files >= tree.len() - 1, "{last:?} of {} entries", tree.len());
}

type Seen = Arc<Mutex<Vec<Progress>>>;

/// A listener that keeps what it hears.
fn listening() -> (Seen, impl Fn(&Progress) + Send + Sync + 'static) {
    let seen = Seen::default();
    let sink = Arc::clone(&seen);
    (seen, move |progress: &Progress| sink.lock().unwrap().push(*progress))
}
