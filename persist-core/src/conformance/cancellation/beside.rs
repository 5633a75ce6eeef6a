//! The verbs that bring trees in, that bind, that only look, and that end.

use super::{super::bench::*, super::tree::*, assert_tidy, at_every_await, dropped, polled};
use crate::{
    AttachOptions, BindOptions, Capabilities, CreateOptions, ErrorKind, Source, VolumeStoreExt,
    attachment::{Access, AttachmentFilter},
    care::{UsageOptions, VerifyOptions},
    volume::{Import, ListOptions},
};
use futures::{StreamExt, stream::BoxStream};
use std::time::Duration;

pub(in super::super) async fn a_dropped_clone_or_import_leaves_a_whole_volume_or_none(bench: Bench) {
    let (store, tree) = (bench.store().await, Tree::sample("one"));
    made(&store, "origin").await;
    tree.write(attached(&store, "origin", "w").await.path());
    let mut kinds = vec!["volume", "copy", "move"];
    if claims(&store, Capabilities::SNAPSHOTS) {
        store.snapshot(&volume("origin"), &named("s"), Default::default()).await.unwrap();
        kinds.push("snapshot");
    }
    for kind in kinds {
        let source = |tag: &str| match kind {
            "volume" => Source::Volume(volume("origin")),
            "snapshot" => Source::Snapshot { volume: volume("origin"), snapshot: named("s") },
            "copy" => Source::Directory { path: bench.free_path(tag), import: Import::Copy },
            _ => Source::Directory { path: bench.free_path(tag), import: Import::Move },
        };
        at_every_await(async |polls, tag| {
            let tag = format!("{kind}-{tag}");
            tree.write(&bench.directory(&tag));
            let options = || CreateOptions::default().with_source(source(&tag));
            let name = volume(&tag);
            let done = polled(polls, store.create(&name, options())).await;
            if matches!(&done, Some(Err(error)) if error.kind() == ErrorKind::Unsupported) {
                return Some(());
            }
            match store.create(&name, options()).await {
                // A directory that cannot be moved stays, and nothing else is left.
                Err(error) if kind == "move" && error.kind() == ErrorKind::Unsupported => {
                    tree.assert_at(&bench.free_path(&tag));
                    // Looked at once, as a call that was done.
                    return (polls > 0).then_some(());
                }
                created => drop(created.unwrap()),
            }
            tree.assert_at(attached(&store, &tag, "w").await.path());
            if kind == "copy" {
                tree.assert_at(&bench.free_path(&tag));
            }
            done.map(|done| drop(done.unwrap()))
        })
        .await;
    }
    assert_tidy(&bench, store).await;
}

pub(in super::super) async fn a_dropped_bind_is_finished_by_a_repeat(bench: Bench) {
    let store = bench.store().await;
    let options = || BindOptions::default().with_attach(holder("w"));
    at_every_await(async |polls, tag| {
        let name = volume(&tag);
        let done = dropped(polls, store.bind(&name, options())).await;
        let bound = store.bind(&name, options()).await.unwrap();
        assert_eq!(attachments(&store).await.len(), 1);
        bound.detach().await.unwrap();
        done.map(drop)
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(in super::super) async fn a_dropped_refresh_shows_the_old_snapshot_or_the_new_one(bench: Bench) {
    let (store, one, two) = (bench.store().await, Tree::sample("one"), Tree::sample("two"));
    if !claims(&store, Capabilities::SNAPSHOTS) || !claims(&store, Capabilities::MANY_READERS) {
        return;
    }
    at_every_await(async |polls, tag| {
        made(&store, &tag).await;
        let (name, writer) = (volume(&tag), attached(&store, &tag, "w").await);
        one.write(writer.path());
        store.snapshot(&name, &named("a"), Default::default()).await.unwrap();
        let reading = AttachOptions::default().with_workload(workload("r")).with_access(Access::ReadOnly);
        let reader = store.attach(&name, reading.with_snapshot(named("a"))).await.unwrap();
        two.replace(writer.path());
        // What is newer is decided by the clock of the store.
        bench.clock().advance(Duration::from_secs(1));
        store.snapshot(&name, &named("b"), Default::default()).await.unwrap();
        let done = dropped(polls, store.refresh(&reader.id, Default::default())).await;
        let record = attachments(&store).await.into_iter().find(|r| r.id == reader.id).unwrap();
        let pinned = record.snapshot.unwrap();
        assert!(pinned == named("a") || pinned == named("b"), "{pinned}");
        let report = store.refresh(&reader.id, Default::default()).await.unwrap();
        two.assert_at(&report.path);
        detached(&store, &reader).await;
        detached(&store, &writer).await;
        done.map(drop)
    })
    .await;
    assert_tidy(&bench, store).await;
}

pub(in super::super) async fn a_dropped_look_changes_nothing(bench: Bench) {
    let store = bench.store().await;
    let (name, unlisted) = (volume("v"), ListOptions::default);
    made(&store, "v").await;
    let attachment = attached(&store, "v", "w").await;
    Tree::sample("one").write(attachment.path());
    let snapshots = claims(&store, Capabilities::SNAPSHOTS);
    if snapshots {
        store.snapshot(&name, &named("s"), Default::default()).await.unwrap();
    }
    let before = Picture::of(&store).await;
    at_every_await(async |polls, _| {
        let looks = (
            dropped(polls, store.get(&name)).await.is_some(),
            dropped(polls, store.health()).await.is_some(),
            dropped(polls, store.usage(UsageOptions::default())).await.is_some(),
            dropped(polls, store.verify(VerifyOptions::default())).await.is_some(),
            dropped(polls, first(store.list(unlisted()))).await.is_some(),
            dropped(polls, first(store.attachments(AttachmentFilter::default()))).await.is_some(),
            !snapshots || dropped(polls, first(store.snapshots(&name, unlisted()))).await.is_some(),
            !snapshots || dropped(polls, store.open_snapshot(&name, &named("s"))).await.is_some(),
        );
        (looks == (true, true, true, true, true, true, true, true)).then_some(())
    })
    .await;
    assert_eq!(Picture::of(&store).await, before);
    assert_tidy(&bench, store).await;
}

pub(in super::super) async fn a_dropped_close_is_finished_by_the_next(bench: Bench) {
    at_every_await(async |polls, tag| {
        let store = bench.store().await;
        made(&store, &tag).await;
        let record = attached(&store, &tag, "w").await.record().clone();
        let done = dropped(polls, store.close()).await;
        store.close().await.unwrap();
        refused(ErrorKind::Unavailable, store.get(&volume(&tag)).await);
        let next = bench.store().await;
        let adopted = next.adopt(&record, Default::default()).await.unwrap();
        detached(&next, &adopted).await;
        next.close().await.unwrap();
        done
    })
    .await;
}

async fn first<T>(mut items: BoxStream<'static, crate::Result<T>>) -> crate::Result<T> {
    items.next().await.unwrap()
}
