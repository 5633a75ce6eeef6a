//! Restoring.

use super::bench::{Bench, name};
use crate::{
    ErrorKind, Result,
    capability::Capabilities,
    directory::{records, snapshots::record::StoredSnapshot},
    snapshot::{Outcome, Replaced, RestoreOptions, RestoreReport, SnapshotKind, SnapshotRecord},
    store::VolumeStore,
    volume::ListOptions,
};
use std::fs;

impl Bench {
    async fn restore(&self, snapshot: &str, replaced: Replaced) -> Result<RestoreReport> {
        let options = RestoreOptions::default().with_replaced(replaced);
        self.store.restore(&self.volume, &name(snapshot), options).await
    }

    /// What a restore leaves that is killed between its two links.
    fn prepare(&self, kept: &str) {
        let located = self.store.engine.locate(&self.volume).unwrap();
        let volume = located.stored.volume;
        let mut snapshot = SnapshotRecord::new(name(kept), volume.id, volume.name, self.store.engine.now());
        snapshot.kind = SnapshotKind::Replaced;
        let stored = StoredSnapshot { snapshot, generation: located.stored.generation };
        fs::write(self.layout.snapshot(&name(kept)), records::encode(&stored).unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_restore_gives_the_old_tree_and_keeps_what_it_replaces() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.write("two");
    let report = bench.restore("s", Replaced::Keep).await.unwrap();
    assert_eq!((report.outcome, bench.content().as_str()), (Outcome::Done, "one"));
    assert_eq!(report.volume.restored_from, Some(name("s")));
    let kept = report.replaced.clone().unwrap();
    assert_eq!(bench.content_of(kept.as_str()).await.unwrap(), "two");
    let listed = bench.list(ListOptions::default()).await;
    let kinds: Vec<_> = listed.into_iter().map(|record| record.unwrap().kind).collect();
    assert_eq!(kinds, [SnapshotKind::Replaced, SnapshotKind::Named]);
    // Nothing but the new live tree was copied, and what is kept is sealed.
    assert_eq!((bench.place.count("cut"), bench.trees(), bench.place.count("seal")), (2, 3, 1));
    let again = bench.restore("s", Replaced::Keep).await.unwrap();
    assert_eq!((again.outcome, again.replaced), (Outcome::Already, None));
    assert_eq!((bench.names().await.len(), bench.trees()), (2, 3));
    bench.write("three");
    assert_eq!(bench.content_of("s").await.unwrap(), "one");
}

#[tokio::test]
async fn after_a_writer_or_for_another_snapshot_of_the_name_a_restore_is_done_again() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.restore("s", Replaced::Keep).await.unwrap();
    fs::write(bench.layout.epochs().join("1"), "{}").unwrap();
    bench.write("two");
    assert_eq!(bench.restore("s", Replaced::Keep).await.unwrap().outcome, Outcome::Done);
    assert_eq!(bench.content(), "one");
    bench.write("three");
    assert_eq!(bench.delete("s").await.unwrap(), Outcome::Done);
    bench.snapshot("s").await.unwrap();
    bench.write("four");
    assert_eq!(bench.restore("s", Replaced::Keep).await.unwrap().outcome, Outcome::Done);
    assert_eq!(bench.content(), "three");
}

#[tokio::test]
async fn what_is_kept_has_the_name_that_was_asked_for_or_nothing_moves() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.write("two");
    for taken in ["s", "other"] {
        bench.snapshot(taken).await.unwrap();
        let error = bench.restore("s", Replaced::KeepAs(name(taken))).await.unwrap_err();
        assert_eq!((error.kind(), bench.content().as_str()), (ErrorKind::Conflict, "two"));
    }
    let report = bench.restore("s", Replaced::KeepAs(name("mine"))).await.unwrap();
    assert_eq!(report.replaced, Some(name("mine")));
    assert_eq!(bench.content_of("mine").await.unwrap(), "two");
}

#[tokio::test]
async fn what_is_discarded_is_gone() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.write("two");
    let report = bench.restore("s", Replaced::Discard).await.unwrap();
    assert_eq!((report.replaced, bench.content().as_str()), (None, "one"));
    assert_eq!((bench.names().await, bench.trees()), (vec!["s".to_owned()], 2));
}

#[tokio::test]
async fn what_a_killed_restore_prepared_is_no_snapshot_and_the_live_tree_is_safe() {
    let bench = Bench::new().await;
    bench.snapshot("s").await.unwrap();
    bench.prepare("before-s-1");
    assert_eq!(bench.names().await, ["s"]);
    assert_eq!(bench.content_of("before-s-1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        (bench.delete("before-s-1").await.unwrap(), bench.content().as_str()),
        (Outcome::Already, "one")
    );
    // Its name is free for others.
    bench.prepare("mine");
    bench.write("two");
    assert_eq!(bench.snapshot("mine").await.unwrap().outcome, Outcome::Done);
    assert_eq!(bench.content_of("mine").await.unwrap(), "two");
}

#[tokio::test]
async fn a_repeat_after_a_killed_restore_keeps_the_old_tree_once() {
    for replaced in [Replaced::Keep, Replaced::KeepAs(name("mine")), Replaced::Discard] {
        let bench = Bench::new().await;
        bench.snapshot("s").await.unwrap();
        bench.prepare("before-s-1");
        bench.write("two");
        let report = bench.restore("s", replaced.clone()).await.unwrap();
        let mut names = vec!["s".to_owned()];
        names.extend(report.replaced.iter().map(ToString::to_string));
        names.sort();
        assert_eq!(bench.names().await, names, "{replaced:?}");
        assert_eq!(bench.content(), "one");
        if let Some(kept) = &report.replaced {
            assert_eq!(bench.content_of(kept.as_str()).await.unwrap(), "two");
        }
    }
}

#[tokio::test]
async fn a_restore_that_fails_changes_nothing() {
    let bench = Bench::with(Capabilities::SNAPSHOTS | Capabilities::ENFORCED_SIZE, Some(1 << 20)).await;
    bench.snapshot("s").await.unwrap();
    bench.write("two");
    for call in ["cut", "limit_size", "flush"] {
        bench.place.fail(call);
        let error = bench.restore("s", Replaced::Keep).await.unwrap_err();
        assert_eq!((error.kind(), bench.content().as_str()), (ErrorKind::Exhausted, "two"), "{call}");
        assert_eq!((bench.names().await, bench.trees()), (vec!["s".to_owned()], 2), "{call}");
    }
    let limited = bench.place.count("limit_size");
    bench.restore("s", Replaced::Keep).await.unwrap();
    assert_eq!(bench.place.count("limit_size"), limited + 1);
}

#[tokio::test]
async fn a_size_that_cannot_be_enforced_any_more_is_not_dropped_silently() {
    let bench = Bench::with(Capabilities::SNAPSHOTS, Some(1 << 20)).await;
    bench.snapshot("s").await.unwrap();
    let error = bench.restore("s", Replaced::Keep).await.unwrap_err();
    assert_eq!((error.kind(), bench.trees()), (ErrorKind::Unsupported, 2));
}
