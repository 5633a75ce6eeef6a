//! kill -9 in the middle of an operation: what was acknowledged is there, the repeat succeeds, and after
//! a prune nothing is left over.

use super::scene::*;
use futures::TryStreamExt;
use persist_core::{
    CreateOptions, Epoch, ErrorKind, Outcome, Source, VolumeStore,
    attachment::AttachmentFilter,
    care::{PruneMode, PruneOptions, PruneReason, VerifyOptions},
    name::LabelKey,
    volume::{Import, ListOptions, ListStates, UpdateOptions},
};
use std::fs;

pub const TESTS: &[(&str, fn())] = &[
    ("a_create_repeated_after_kill_9_succeeds", create),
    ("an_update_repeated_after_kill_9_succeeds", update),
    ("an_attach_or_detach_repeated_after_kill_9_succeeds", attach),
    ("an_adopt_repeated_after_kill_9_succeeds", adopt),
    ("what_was_synced_before_kill_9_is_there", sync),
    ("a_snapshot_repeated_after_kill_9_succeeds", snapshot),
    ("a_restore_repeated_after_kill_9_succeeds", restore),
    ("a_delete_repeated_after_kill_9_succeeds", delete),
    ("a_prune_repeated_after_kill_9_succeeds", prune),
];

/// How many lines a child says before it is killed: at its first operation and in full swing.
const KILLED_AFTER: [usize; 4] = [1, 2, 5, 9];

fn create() {
    each_kill(
        "create",
        async |_, scene, _| {
            let path = scene.root().with_file_name("source");
            fs::create_dir(&path).unwrap();
            write_tree(&path, 7);
        },
        async |store, scene, last| {
            let last: usize = last.parse().unwrap();
            let source =
                || Source::Directory { path: scene.root().with_file_name("source"), import: Import::Copy };
            for n in 0..last + 3 {
                let name = volume(&format!("v{n}"));
                let report =
                    store.create(&name, CreateOptions::default().with_source(source())).await.unwrap();
                assert!(n > last || report.outcome == Outcome::Already, "v{n} was acknowledged, and is lost");
                assert_eq!(tree_at(attached(store, &format!("v{n}")).await.path()), 7);
            }
        },
    );
}

fn update() {
    each_kill("update", with_volume, async |store, _, last| {
        let last: usize = last.parse().unwrap();
        let labels = store.get(&volume("v")).await.unwrap().spec.labels;
        let values: Vec<usize> = labels.values().map(|value| value.parse().unwrap()).collect();
        assert!(values[0] == last || values[0] == last + 1, "{values:?} after {last}");
        assert_eq!(values[0], values[1], "half an update");
        let change = UpdateOptions::default().with_label(LabelKey::new("a").unwrap(), "again");
        assert_eq!(store.update(&volume("v"), change).await.unwrap().outcome, Outcome::Done);
    });
}

fn attach() {
    each_kill("attach", with_volume, async |store, _, last| {
        let (round, epoch) = last.split_once(' ').unwrap();
        let attachment = attached(store, "v").await;
        assert!(attachment.epoch > Epoch::new(epoch.parse().unwrap()), "an epoch was given twice");
        let seen: usize = fs::read_to_string(attachment.path().join("round")).unwrap().parse().unwrap_or(0);
        let round: usize = round.parse().unwrap();
        assert!(seen == round || seen == round + 1 || seen == 0, "{seen} after {round}");
        let records: Vec<_> = store.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
        assert_eq!(records, [attachment.record().clone()]);
        for outcome in [Outcome::Done, Outcome::Already] {
            assert_eq!(store.detach(&attachment.id, Default::default()).await.unwrap().outcome, outcome);
        }
    });
}

fn adopt() {
    each_kill("adopt", with_volume, async |store, _, last| {
        let records: Vec<_> = store.attachments(AttachmentFilter::default()).try_collect().await.unwrap();
        let [record] = &records[..] else { panic!("not one attachment: {records:?}") };
        let adopted = store.adopt(record, Default::default()).await.unwrap();
        assert_eq!(adopted.id, record.id);
        assert!(adopted.epoch > Epoch::new(last.parse().unwrap()));
        store.sync(&adopted.id, Default::default()).await.unwrap();
    });
}

fn sync() {
    each_kill("sync", with_volume, async |store, _, last| {
        let attachment = attached(store, "v").await;
        for n in 0..=last.parse::<usize>().unwrap() {
            let synced = fs::read_to_string(attachment.path().join(format!("synced-{n}"))).unwrap();
            assert_eq!(synced, n.to_string());
        }
        store.sync(&attachment.id, Default::default()).await.unwrap();
    });
}

fn snapshot() {
    each_kill("snapshot", with_volume, async |store, _, last| {
        let (v, last) = (volume("v"), last.parse::<usize>().unwrap());
        let listed: Vec<_> = store.snapshots(&v, ListOptions::default()).try_collect().await.unwrap();
        assert!(listed.iter().any(|record| record.name == named(&format!("s{last}"))));
        for record in &listed {
            let source = store.open_snapshot(&v, &record.name).await.unwrap();
            let wanted: usize = record.name.as_str()[1..].parse().unwrap();
            assert_eq!(tree_at(source.directory().unwrap()), wanted, "a partial snapshot");
        }
        let attachment = attached(store, "v").await;
        write_tree(attachment.path(), last + 5);
        let next = named(&format!("s{}", last + 1));
        let report = store.snapshot(&v, &next, Default::default()).await.unwrap();
        let source = store.open_snapshot(&v, &next).await.unwrap();
        let wanted = if report.outcome == Outcome::Done { last + 5 } else { last + 1 };
        assert_eq!(tree_at(source.directory().unwrap()), wanted);
    });
}

fn restore() {
    each_kill(
        "restore",
        async |store, scene, _| {
            with_volume(store, scene, 0).await;
            let attachment = attached(store, "v").await;
            for n in 0..2 {
                write_tree(attachment.path(), n);
                store.snapshot(&volume("v"), &named(&format!("s{n}")), Default::default()).await.unwrap();
            }
            store.detach(&attachment.id, Default::default()).await.unwrap();
        },
        async |store, _, last| {
            let attachment = attached(store, "v").await;
            let seen = tree_at(attachment.path());
            let acknowledged: usize = last.parse().unwrap();
            assert!(seen == acknowledged || seen == 1 - acknowledged);
            store.detach(&attachment.id, Default::default()).await.unwrap();
            for n in [0, 1] {
                store.restore(&volume("v"), &named(&format!("s{n}")), Default::default()).await.unwrap();
                let attachment = attached(store, "v").await;
                assert_eq!(tree_at(attachment.path()), n);
                store.detach(&attachment.id, Default::default()).await.unwrap();
            }
        },
    );
}

fn delete() {
    each_kill("delete", with_volume, async |store, _, last| {
        let last: usize = last.parse().unwrap();
        for n in 0..last + 2 {
            let name = volume(&format!("v{n}"));
            if n <= last {
                assert_eq!(store.get(&name).await.unwrap_err().kind(), ErrorKind::NotFound);
            }
            store.delete(&name, Default::default()).await.unwrap();
            store.create(&name, CreateOptions::default()).await.unwrap();
        }
    });
}

fn prune() {
    each_kill(
        "prune",
        async |store, scene, _| {
            with_volume(store, scene, 0).await;
            let attachment = attached(store, "v").await;
            write_tree(attachment.path(), 3);
            store.detach(&attachment.id, Default::default()).await.unwrap();
        },
        async |store, _, _| {
            store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
            let trashed = ListOptions::default().with_states(ListStates::Trashed);
            let left: Vec<_> = VolumeStore::list(&**store, trashed).try_collect().await.unwrap();
            assert!(left.is_empty(), "{left:?}");
            assert_eq!(tree_at(attached(store, "v").await.path()), 3);
        },
    );
}

/// For each number of lines: prepares a store, lets a child run `script` and kills it, then looks.
fn each_kill(
    script: &str,
    prepare: impl AsyncFn(&Store, &Scene, usize),
    look: impl AsyncFn(&Store, &Scene, &str),
) {
    for lines in KILLED_AFTER {
        let scene = Scene::new();
        block_on(async {
            let store = open(&scene.root()).await;
            prepare(&store, &scene, lines).await;
            store.close().await.unwrap();
        });
        let last = scene.child(script).kill_after(lines);
        block_on(async {
            let store = open(&scene.root()).await;
            look(&store, &scene, &last).await;
            assert_tidy(&store).await;
            store.close().await.unwrap();
        });
    }
}

async fn with_volume(store: &Store, _: &Scene, _: usize) {
    store.create(&volume("v"), CreateOptions::default()).await.unwrap();
}

/// Fails if anything of the killed process is left after a prune, or anything is damaged.
async fn assert_tidy(store: &Store) {
    store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    let left = store.prune(PruneOptions::default()).await.unwrap();
    let interrupted = [PruneReason::Finish, PruneReason::Undo, PruneReason::Unreferenced];
    assert!(left.items.iter().all(|item| !interrupted.contains(&item.reason)), "{left:?}");
    assert_eq!(store.verify(VerifyOptions::default()).await.unwrap().faults, []);
}
