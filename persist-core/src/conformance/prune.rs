//! Prune: says first what it would do, and never touches what somebody needs.

use super::{bench::*, tree::*};
use crate::{
    Capabilities, CreateOptions, ErrorKind, Lifetime, Liveness, Source, Takeover, VolumeSpec,
    care::{PruneMode, PruneOptions, PruneReason, PruneReport},
    holder::ProcessId,
    volume::{DeleteOptions, Trash},
};
use std::time::Duration;

pub(super) async fn prune_says_what_it_would_do_before_it_does_it(bench: Bench) {
    let store = bench.store().await;
    let expected = litter(&bench, &store).await;
    let before = Picture::of(&store).await;
    let plan = prune(&store, PruneMode::Report).await;
    assert_eq!(Picture::of(&store).await, before, "a report changed the store");
    assert_eq!(prune(&store, PruneMode::Report).await, plan, "a report changed the next report");
    for reason in expected {
        assert!(plan.items.iter().any(|item| item.reason == reason), "{reason:?} is not in {plan:?}");
    }
    assert_eq!(plan.bytes, plan.items.iter().map(|item| item.bytes).sum::<u64>());
    let done = prune(&store, PruneMode::Apply).await;
    let reasons = |report: &PruneReport| {
        let mut all: Vec<_> = report.items.iter().map(|i| format!("{:?} {:?}", i.reason, i.volume)).collect();
        all.sort();
        all
    };
    assert_eq!(reasons(&done), reasons(&plan));
    assert_ne!(Picture::of(&store).await, before);
}

pub(super) async fn prune_leaves_nothing_for_the_next_prune(bench: Bench) {
    let store = bench.store().await;
    litter(&bench, &store).await;
    prune(&store, PruneMode::Apply).await;
    for _ in 0..10 {
        let report = prune(&store, PruneMode::Apply).await;
        // A volume whose lifetime ended is in the trash now, for its window.
        assert_eq!((report.items.len(), report.bytes), (0, 0), "{report:?}");
    }
}

pub(super) async fn prune_touches_nothing_that_is_needed(bench: Bench) {
    let (store, one) = (bench.store().await, Tree::sample("one"));
    let source = || Source::Tree(MemorySource::new(&one));
    for name in ["idle", "written", "deleted"] {
        store.create(&volume(name), CreateOptions::default().with_source(source())).await.unwrap();
    }
    if claims(&store, Capabilities::SNAPSHOTS) {
        store.snapshot(&volume("idle"), &named("s"), Default::default()).await.unwrap();
    }
    let attachment = attached(&store, "written", "w").await;
    store.delete(&volume("deleted"), DeleteOptions::default()).await.unwrap();
    let before = Picture::of(&store).await;
    for opening in [&store, &bench.open("b").await, &bench.store().await] {
        let report = prune(opening, PruneMode::Apply).await;
        assert_eq!(report.items, [], "nothing was to be done");
    }
    assert_eq!(Picture::of(&store).await, before);
    one.assert_at(attachment.path());
    one.assert_at(attached(&store, "idle", "w").await.path());
    if claims(&store, Capabilities::SNAPSHOTS) {
        let kept = store.open_snapshot(&volume("idle"), &named("s")).await.unwrap();
        Tree::of(&*kept).await.assert_is(&one);
    }
}

pub(super) async fn prune_runs_beside_everything_else(bench: Bench) {
    let (store, other) = (bench.store().await, bench.open("b").await);
    let one = Tree::sample("one");
    let pruning = tokio::spawn(async move {
        let mut runs = 0;
        while runs < 1000 && volumes(&other).await.iter().all(|record| record.name != volume("end")) {
            prune(&other, PruneMode::Apply).await;
            runs += 1;
        }
    });
    for n in 0..10 {
        let name = format!("v{n}");
        let options = CreateOptions::default().with_source(Source::Tree(MemorySource::new(&one)));
        store.create(&volume(&name), options).await.unwrap();
        let attachment = attached(&store, &name, "w").await;
        if claims(&store, Capabilities::SNAPSHOTS) {
            store.snapshot(&volume(&name), &named("s"), Default::default()).await.unwrap();
            let kept = store.open_snapshot(&volume(&name), &named("s")).await.unwrap();
            Tree::of(&*kept).await.assert_is(&one);
        }
        store.sync(&attachment.id, Default::default()).await.unwrap();
        one.assert_at(attachment.path());
        detached(&store, &attachment).await;
    }
    made(&store, "end").await;
    soon("the prune beside it", pruning).await.unwrap();
}

pub(super) async fn prune_removes_what_a_dead_holder_left(bench: Bench) {
    let store = bench.store().await;
    left_by_a_dead_process(&bench, "v").await;
    made(&store, "live").await;
    let live = attached(&store, "live", "w").await;
    let plan = prune(&store, PruneMode::Report).await;
    assert_eq!(plan.items.iter().map(|i| i.reason).collect::<Vec<_>>(), [PruneReason::DeadHolder]);
    assert_eq!(attachments(&store).await.len(), 2);
    prune(&store, PruneMode::Apply).await;
    assert_eq!(attachments(&store).await, [live.record().clone()]);
    Tree::sample("one").assert_at(attached(&store, "v", "next").await.path());
}

pub(super) async fn prune_of_a_foreign_node_judges_no_process(bench: Bench) {
    let other = bench.open("b").await;
    left_by_a_dead_process(&bench, "v").await;
    let before = Picture::of(&other).await;
    assert_eq!(prune(&other, PruneMode::Apply).await.items, []);
    assert_eq!(Picture::of(&other).await, before);
    let name = volume("v");
    let options = holder("next").with_takeover(Takeover::Never);
    refused(ErrorKind::InUse, other.attach(&name, options).await);
}

/// Leaves something to do, and says which reasons a report must have.
async fn litter(bench: &Bench, store: &Store) -> [PruneReason; 3] {
    left_by_a_dead_process(bench, "dead").await;
    made(store, "expired").await;
    let short = DeleteOptions::default().with_trash(Trash::KeepFor(Duration::from_secs(1)));
    store.delete(&volume("expired"), short).await.unwrap();
    let spec = VolumeSpec::default().with_lifetime(Lifetime::For(Duration::from_secs(1)));
    store.create(&volume("ended"), CreateOptions::default().with_spec(spec)).await.unwrap();
    bench.clock().advance(Duration::from_secs(2));
    [PruneReason::DeadHolder, PruneReason::TrashExpired, PruneReason::LifetimeEnded]
}

/// The volume `name` with a sample in it, attached by a process that has ended.
async fn left_by_a_dead_process(bench: &Bench, name: &str) {
    use std::os::unix::fs::MetadataExt;
    let store = bench.store().await;
    made(&store, name).await;
    let namespace = std::fs::metadata("/proc/self/ns/pid").unwrap().ino();
    // A start time that this process never had: the number was used again.
    let dead = ProcessId::new(std::process::id(), 1, namespace);
    let options = holder("dead").with_liveness(Liveness::Process(Some(dead)));
    let attachment = store.attach(&volume(name), options).await.unwrap();
    Tree::sample("one").write(attachment.path());
    store.close().await.unwrap();
}

async fn prune(store: &Store, mode: PruneMode) -> PruneReport {
    store.prune(PruneOptions::default().with_mode(mode)).await.unwrap()
}
