//! What a call costs, and what a kill at each of its steps leaves.

use super::world::{MOUNTING, PLAIN, World, by};
use crate::{
    Access, ErrorKind,
    attachment::{AttachOptions, AttachmentFilter, DetachOptions, TargetKind},
    capability::Capabilities,
    progress::Meter,
    snapshot::SnapshotName,
    store::VolumeStore,
    volume::VolumeSpec,
};
use futures::TryStreamExt;
use std::{fs, sync::atomic::Ordering::SeqCst};

#[tokio::test]
async fn durable_steps_are_counted() {
    let world = World::new(PLAIN);
    let store = world.open("here").await;
    let v = world.volume(&store, VolumeSpec::default());
    world.snapshot(&store, "s", "x", 1000);
    let counted = async |options: AttachOptions| {
        let before = (store.fsyncs(), world.place.flushes.load(SeqCst));
        let attachment = store.attach(&v, options).await.unwrap();
        let attached = store.fsyncs() - before.0;
        store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
        (attached, store.fsyncs() - before.0 - attached, world.place.flushes.load(SeqCst) - before.1)
    };
    assert_eq!(counted(by("w")).await, (4, 1, 1), "a writer: an epoch and a record, each with its directory");
    let reader = by("r").with_access(Access::ReadOnly).with_snapshot(SnapshotName::new("s").unwrap());
    assert_eq!(counted(reader).await, (2, 1, 0), "a reader mints and writes nothing");
    let shared = |name| by(name).with_access(Access::SharedOnNode);
    store.attach(&v, shared("1")).await.unwrap();
    assert_eq!(counted(shared("2")).await, (2, 1, 1), "a further claim shares the epoch");
    world.dies("1");
    assert_eq!(counted(by("w")).await, (4, 1, 1), "clearing up after the dead costs nothing more");
}

/// How a holder attaches in a world.
type Wish = fn(&World) -> AttachOptions;

/// Kills an attach at every step that the place sees, and then a detach: what is left is attached under a
/// record that is listed, or nothing; a repeat succeeds, and nothing is left in the end.
#[tokio::test]
async fn a_kill_at_any_step_is_repaired_by_a_repeat() {
    let kinds: [(Capabilities, Wish); 4] = [
        (MOUNTING, |world| by("a").with_target(world.outside("target"))),
        (PLAIN, |world| by("a").with_target(world.outside("link")).with_target_kind(TargetKind::Symlink)),
        (PLAIN, |_| by("a").with_access(Access::ReadOnly).with_snapshot(SnapshotName::new("s").unwrap())),
        (MOUNTING, |_| by("a").with_access(Access::ReadOnly).with_snapshot(SnapshotName::new("s").unwrap())),
    ];
    for (capabilities, options) in kinds {
        let mut kills = 0;
        for step in 0.. {
            if !killed_at(step, capabilities, options).await {
                break;
            }
            kills += 1;
        }
        assert!(kills > 0, "no step was reached");
    }
}

/// Whether a step of this number was there to be killed at.
async fn killed_at(step: i64, capabilities: Capabilities, options: Wish) -> bool {
    let world = World::new(capabilities);
    let first = world.open("here").await;
    let v = world.volume(&first, VolumeSpec::default());
    world.snapshot(&first, "s", "x", 1000);
    fs::create_dir(world.outside("target")).unwrap();
    world.place.steps_to_live.store(step, SeqCst);
    let attached = first.attach(&v, options(&world)).await;
    let detached = match &attached {
        Ok(attachment) => first.detach(&attachment.id, DetachOptions::default()).await.map(drop),
        Err(_) => Ok(()),
    };
    let was_killed = attached.is_err() || detached.is_err();
    for error in attached.err().into_iter().chain(detached.err()) {
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    world.place.steps_to_live.store(i64::MAX, SeqCst);
    // The process is gone with its locks: another one comes.
    first.close().await.unwrap();
    let second = world.open("here").await;
    let listed: Vec<_> = second.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
    if listed.is_empty() {
        assert!(world.place.mounts.lock().unwrap().is_empty(), "step {step}: a mount without a record");
        assert!(fs::symlink_metadata(world.outside("link")).is_err(), "step {step}: a link without a record");
    }
    let again = second.attach(&v, options(&world)).await.unwrap();
    assert!(listed.iter().all(|record| record.id == again.id), "step {step}: the same attachment");
    second.detach(&again.id, DetachOptions::default()).await.unwrap();
    let layout = second.engine.locate(&v).unwrap().layout;
    for stray in second.engine.stray_attachments(&layout).unwrap() {
        second.engine.remove_stray_attachment(&layout, &stray, &Meter::default()).unwrap();
    }
    for part in ["attachments", "served", "views"] {
        assert!(
            world.under(&second, part).is_empty(),
            "step {step}: {part} {:?}",
            world.under(&second, part)
        );
    }
    assert!(world.place.mounts.lock().unwrap().is_empty());
    was_killed
}
