//! Dropped futures: the old state or the new one, and a repeat that succeeds.
//!
//! Each call is dropped after none, one, two, ... polls until it needs no more of them.

mod beside;

pub(super) use beside::*;

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Source,
    care::{PruneMode, PruneOptions, PruneReason},
    name::LabelKey,
    snapshot::{Replaced, RestoreOptions},
    volume::{DeleteOptions, Trash, UpdateOptions},
};
use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

pub(super) async fn a_dropped_create_leaves_a_whole_volume_or_none(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    at_every_await(async |polls, tag| {
        let name = volume(&tag);
        let options = || CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
        let done = dropped(polls, store.create(&name, options())).await;
        match store.get(&name).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        store.create(&name, options()).await.unwrap();
        tree.assert_at(attached(&store, &tag, "w").await.path());
        done
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_update_is_applied_whole_or_not_at_all(bench: Bench) {
    let store = bench.store().await;
    let key = |name: &str| LabelKey::new(name).unwrap();
    at_every_await(async |polls, tag| {
        made(&store, &tag).await;
        let (name, change) =
            (volume(&tag), || UpdateOptions::default().with_label(key("a"), "1").with_label(key("b"), "2"));
        let done = dropped(polls, store.update(&name, change())).await;
        let labels = store.get(&name).await.unwrap().spec.labels.len();
        assert!(labels == 0 || labels == 2, "{labels} of two labels");
        assert_eq!(store.update(&name, change()).await.unwrap().volume.spec.labels.len(), 2);
        done
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_delete_leaves_a_whole_volume_or_none(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    at_every_await(async |polls, tag| {
        let name = volume(&tag);
        let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
        store.create(&name, options).await.unwrap();
        let done = dropped(polls, store.delete(&name, DeleteOptions::default())).await;
        // Attaching waits for what still runs: the volume is whole, or it is gone.
        match store.attach(&name, holder("w")).await {
            Ok(attachment) => {
                tree.assert_at(attachment.path());
                detached(&store, &attachment).await;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        store.delete(&name, DeleteOptions::default()).await.unwrap();
        refused(ErrorKind::NotFound, store.get(&name).await);
        made(&store, &tag).await;
        done
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_attach_is_on_record_or_did_not_happen(bench: Bench) {
    let store = bench.store().await;
    at_every_await(async |polls, tag| {
        made(&store, &tag).await;
        let name = volume(&tag);
        let done = dropped(polls, store.attach(&name, holder("w"))).await;
        let attachment = attached(&store, &tag, "w").await;
        let records = attachments(&store).await;
        assert_eq!(records, [attachment.record().clone()]);
        refused(ErrorKind::InUse, store.attach(&name, holder("another")).await);
        store.sync(&attachment.id, Default::default()).await.unwrap();
        detached(&store, &attachment).await;
        done
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_adopt_leaves_an_attachment_that_can_be_adopted(bench: Bench) {
    at_every_await(async |polls, tag| {
        let first = bench.store().await;
        made(&first, &tag).await;
        let record = attached(&first, &tag, "w").await.record().clone();
        first.close().await.unwrap();
        let store = bench.store().await;
        let done = dropped(polls, store.adopt(&record, Default::default())).await;
        let adopted = store.adopt(&record, Default::default()).await.unwrap();
        assert_eq!((&adopted.id, adopted.epoch > record.epoch), (&record.id, true));
        assert_eq!(attachments(&store).await, [adopted.record().clone()]);
        detached(&store, &adopted).await;
        store.close().await.unwrap();
        done
    })
    .await;
    assert_tidy(&bench, bench.store().await).await;
}

pub(super) async fn a_dropped_detach_is_finished_by_a_repeat(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    at_every_await(async |polls, tag| {
        made(&store, &tag).await;
        let attachment = attached(&store, &tag, "w").await;
        tree.write(attachment.path());
        let done = dropped(polls, store.detach(&attachment.id, Default::default())).await;
        detached(&store, &attachment).await;
        assert_eq!(attachments(&store).await, []);
        let next = attached(&store, &tag, "next").await;
        tree.assert_at(next.path());
        detached(&store, &next).await;
        done
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_sync_can_be_repeated(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    at_every_await(async |polls, _| {
        tree.replace(attachment.path());
        let done = dropped(polls, store.sync(&attachment.id, Default::default())).await;
        store.sync(&attachment.id, Default::default()).await.unwrap();
        tree.assert_at(attachment.path());
        done
    })
    .await;
}

pub(super) async fn a_dropped_snapshot_is_there_whole_or_not_at_all(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    made(&store, "v").await;
    let (name, attachment) = (volume("v"), attached(&store, "v", "w").await);
    tree.write(attachment.path());
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let s = named("s");
        let call = store.snapshot(&name, &s, Default::default());
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    at_every_await(async |polls, tag| {
        let snapshot = named(&tag);
        let done = dropped(polls, store.snapshot(&name, &snapshot, Default::default())).await;
        if snapshots_of(&store, &name).await.iter().any(|record| record.name == snapshot) {
            let source = store.open_snapshot(&name, &snapshot).await.unwrap();
            Tree::of(&*source).await.assert_is(&tree);
        }
        store.snapshot(&name, &snapshot, Default::default()).await.unwrap();
        let source = store.open_snapshot(&name, &snapshot).await.unwrap();
        Tree::of(&*source).await.assert_is(&tree);
        drop(source);
        let gone = dropped(polls, store.delete_snapshot(&name, &snapshot, Default::default())).await;
        store.delete_snapshot(&name, &snapshot, Default::default()).await.unwrap();
        assert!(snapshots_of(&store, &name).await.is_empty());
        done.and(gone)
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_restore_leaves_the_old_tree_or_the_new_one(bench: Bench) {
    let (store, one, two) = (bench.store().await, Tree::sample("one"), Tree::sample("two"));
    made(&store, "v").await;
    let (name, s) = (volume("v"), named("s"));
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let call = store.restore(&name, &s, Default::default());
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    let attachment = attached(&store, "v", "w").await;
    one.write(attachment.path());
    store.snapshot(&name, &s, Default::default()).await.unwrap();
    detached(&store, &attachment).await;
    at_every_await(async |polls, _| {
        let attachment = attached(&store, "v", "w").await;
        two.replace(attachment.path());
        detached(&store, &attachment).await;
        let discard = || RestoreOptions::default().with_replaced(Replaced::Discard);
        let done = dropped(polls, store.restore(&name, &s, discard())).await;
        let attachment = attached(&store, "v", "looks").await;
        let now = Tree::read(attachment.path());
        assert!(now == one || now == two, "neither the old tree nor the new one");
        detached(&store, &attachment).await;
        store.restore(&name, &s, discard()).await.unwrap();
        let attachment = attached(&store, "v", "looks").await;
        one.assert_at(attachment.path());
        detached(&store, &attachment).await;
        done
    })
    .await;
    assert_eq!(snapshots_of(&store, &name).await.len(), 1);
    assert_tidy(&bench, store).await;
}

pub(super) async fn a_dropped_prune_is_finished_by_the_next(bench: Bench) {
    let tree = Tree::sample("one");
    let apply = || PruneOptions::default().with_mode(PruneMode::Apply);
    at_every_await(async |polls, tag| {
        let store = bench.store().await;
        let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
        store.create(&volume(&tag), options).await.unwrap();
        let soon = DeleteOptions::default().with_trash(Trash::KeepFor(Duration::from_secs(1)));
        store.delete(&volume(&tag), soon).await.unwrap();
        bench.clock().advance(Duration::from_secs(2));
        let done = dropped(polls, store.prune(apply())).await;
        // Another prune passes over what this one is still at, until close has joined it.
        store.close().await.unwrap();
        let next = bench.store().await;
        next.prune(apply()).await.unwrap();
        assert_eq!(trashed(&next).await, []);
        assert_tidy(&bench, next).await;
        done
    })
    .await;
}

/// More polls than a call of this size needs; a call that is never done hangs.
const POLLS_MAX: usize = 1000;

/// Runs `case` with 0, 1, 2, ... polls and a name of its own each time, until its call was done.
async fn at_every_await<T>(mut case: impl AsyncFnMut(usize, String) -> Option<T>) {
    for polls in 0..POLLS_MAX {
        if soon("a call after a dropped one", case(polls, format!("v{polls}"))).await.is_some() {
            assert!(polls > 0, "done without being polled");
            return;
        }
    }
    panic!("not done after {POLLS_MAX} polls");
}

/// Polls `call` so often, and drops it; what it gave if it was done by then.
async fn dropped<T>(polls: usize, call: impl Future<Output = crate::Result<T>>) -> Option<T> {
    polled(polls, call).await.map(Result::unwrap)
}

/// As [`dropped`], of a call that may be refused.
async fn polled<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Fails if, after a prune, anything of the dropped calls is left. Joins first what they still do: a prune
/// passes over what somebody is at.
async fn assert_tidy(bench: &Bench, store: Store) {
    store.close().await.unwrap();
    let store = bench.store().await;
    store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    let left = store.prune(PruneOptions::default()).await.unwrap();
    let interrupted = [PruneReason::Finish, PruneReason::Undo, PruneReason::Unreferenced];
    assert!(left.items.iter().all(|item| !interrupted.contains(&item.reason)), "{left:?}");
}
