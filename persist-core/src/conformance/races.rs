//! Races: two openings and many tasks at once, and one truth.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Outcome, Result, Source,
    name::LabelKey,
    volume::{DeleteOptions, UpdateOptions},
};
use futures::future::join_all;
use std::collections::BTreeSet;

pub(super) async fn of_many_creators_one_wins(bench: Bench) {
    let stores = [bench.store().await, bench.open("b").await];
    for round in 0..5 {
        let name = format!("v{round}");
        let tree = Tree::sample("one");
        let calls = at_once(&stores, 16, |store, _| {
            let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&tree)));
            let name = volume(&name);
            async move { store.create(&name, options).await.unwrap() }
        });
        let reports = calls.await;
        let ids: BTreeSet<_> = reports.iter().map(|report| report.volume.id.clone()).collect();
        let made = reports.iter().filter(|report| report.outcome == Outcome::Done).count();
        assert_eq!((ids.len(), made), (1, 1));
        tree.assert_at(attached(&stores[0], &name, "w").await.path());
    }
}

pub(super) async fn of_many_writers_one_gets_the_volume(bench: Bench) {
    let stores = [bench.store().await, bench.open("b").await, bench.store().await];
    for round in 0..5 {
        let name = format!("v{round}");
        made(&stores[0], &name).await;
        let results = at_once(&stores, 12, |store, n| {
            let name = volume(&name);
            async move { store.attach(&name, holder(&format!("w{n}"))).await }
        })
        .await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let [winner] = &won.into_iter().map(Result::unwrap).collect::<Vec<_>>()[..] else {
            panic!("not one writer")
        };
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        }
        let on_record: Vec<_> = attachments(&stores[1]).await;
        assert!(on_record.contains(winner.record()) && on_record.len() == round + 1);
    }
}

pub(super) async fn many_calls_of_one_holder_make_one_attachment(bench: Bench) {
    let store = bench.store().await;
    made(&store, "v").await;
    let handles = at_once(std::slice::from_ref(&store), 12, |store, _| async move {
        store.attach(&volume("v"), holder("w")).await.unwrap()
    })
    .await;
    let records: Vec<_> = handles.iter().map(|handle| handle.record().clone()).collect();
    assert!(records.iter().all(|record| *record == records[0]), "{records:?}");
    assert_eq!(attachments(&store).await, records[..1]);
}

pub(super) async fn of_many_snapshots_of_a_name_one_is_taken(bench: Bench) {
    let stores = [bench.store().await, bench.open("b").await];
    made(&stores[0], "v").await;
    let attachment = attached(&stores[0], "v", "w").await;
    Tree::sample("one").write(attachment.path());
    // What another process of the node takes a snapshot of is what was synced, where it cannot see more.
    stores[0].sync(&attachment.id, Default::default()).await.unwrap();
    if !claims(&stores[0], Capabilities::SNAPSHOTS) {
        let (v, s) = (volume("v"), named("s"));
        let call = stores[0].snapshot(&v, &s, Default::default());
        refused_without_a_trace(&stores[0], ErrorKind::Unsupported, call).await;
        return;
    }
    let reports = at_once(&stores, 8, |store, _| async move {
        store.snapshot(&volume("v"), &named("s"), Default::default()).await.unwrap()
    })
    .await;
    let done = reports.iter().filter(|report| report.outcome == Outcome::Done).count();
    assert_eq!(done, 1);
    assert!(reports.iter().all(|report| report.record == reports[0].record));
    let kept = stores[1].open_snapshot(&volume("v"), &named("s")).await.unwrap();
    Tree::of(&*kept).await.assert_is(&Tree::sample("one"));
}

pub(super) async fn deleting_and_attaching_exclude_each_other(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    for round in 0..10 {
        let name = volume(&format!("v{round}"));
        store.create(&name, CreateOptions::default()).await.unwrap();
        let (attach, delete) =
            tokio::join!(store.attach(&name, holder("w")), other.delete(&name, DeleteOptions::default()));
        match (attach, delete) {
            (Ok(attachment), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
                std::fs::write(attachment.path().join("file"), "content").unwrap();
                store.sync(&attachment.id, Default::default()).await.unwrap();
                detached(&store, &attachment).await;
            }
            (Err(error), Ok(report)) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert_eq!(report.outcome, Outcome::Done);
            }
            other => panic!("both or none: {other:?}"),
        }
        assert_eq!(attachments(&store).await, []);
    }
}

pub(super) async fn restoring_and_attaching_exclude_each_other(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let (v, s) = (volume("v"), named("s"));
    made(&store, "v").await;
    if !claims(&store, Capabilities::SNAPSHOTS) {
        let call = store.restore(&v, &s, Default::default());
        refused_without_a_trace(&store, ErrorKind::Unsupported, call).await;
        return;
    }
    store.snapshot(&v, &s, Default::default()).await.unwrap();
    for _ in 0..10 {
        let dirty = attached(&store, "v", "dirty").await;
        Tree::sample("one").replace(dirty.path());
        detached(&store, &dirty).await;
        let (attach, restore) =
            tokio::join!(store.attach(&v, holder("w")), other.restore(&v, &s, Default::default()));
        // The restore may come first, and the attach after it: then it shows the restored tree.
        let seen = match (&attach, &restore) {
            (Ok(attachment), _) => names(attachment.path()),
            (Err(error), Ok(_)) => {
                assert!(matches!(error.kind(), ErrorKind::InUse | ErrorKind::Unavailable), "{error}");
                Vec::new()
            }
            both => panic!("neither: {both:?}"),
        };
        assert_eq!(seen.is_empty(), restore.is_ok(), "{restore:?}");
        if let Err(error) = restore {
            assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        }
        if let Ok(attachment) = attach {
            detached(&store, &attachment).await;
        }
    }
}

pub(super) async fn updates_follow_each_other(bench: Bench) {
    let stores = [bench.store().await, bench.open("b").await];
    made(&stores[0], "v").await;
    at_once(&stores, 16, |store, n| async move {
        let label = LabelKey::new(format!("k{n}")).unwrap();
        store.update(&volume("v"), UpdateOptions::default().with_label(label, "x")).await.unwrap()
    })
    .await;
    assert_eq!(stores[0].get(&volume("v")).await.unwrap().spec.labels.len(), 16);
}

pub(super) async fn no_epoch_is_given_twice(bench: Bench) {
    let stores = [bench.store().await, bench.open("b").await, bench.store().await];
    made(&stores[0], "v").await;
    let taken = at_once(&stores, 6, |store, n| async move {
        let mut epochs = Vec::new();
        for _ in 0..5 {
            let options = holder(&format!("w{n}")).with_wait(HANG);
            let attachment = store.attach(&volume("v"), options).await.unwrap();
            epochs.push(attachment.epoch);
            detached(&store, &attachment).await;
        }
        epochs
    });
    let all: Vec<_> = soon("writers that take turns", taken).await.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (30, 30));
    assert_eq!(stores[1].get(&volume("v")).await.unwrap().epoch, *distinct.last().unwrap());
}

pub(super) async fn opening_at_once_gives_one_store(bench: Bench) {
    let opened = join_all((0..8).map(|n| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.open(&format!("n{n}")).await })
    }));
    let stores: Vec<_> = opened.await.into_iter().map(|store| store.unwrap()).collect();
    let ids: BTreeSet<_> = stores.iter().map(|store| store.info().id.clone()).collect();
    assert_eq!(ids.len(), 1);
    made(&stores[0], "v").await;
    for store in &stores {
        assert_eq!(volumes(store).await.len(), 1);
    }
}

/// Runs `call` in that many tasks at once, over the stores in turn.
async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    stores: &[Store],
    tasks: usize,
    call: impl Fn(Store, usize) -> F,
) -> Vec<T> {
    let calls = (0..tasks).map(|n| tokio::spawn(call(stores[n % stores.len()].clone(), n)));
    join_all(calls).await.into_iter().map(|result| result.unwrap()).collect()
}
