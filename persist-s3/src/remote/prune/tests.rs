use super::*;
use crate::{
    head::names::{Digest, PackName},
    remote::{
        pins::{PinnedBy, snapshots::Snapshot},
        salvage::{Salvage, UploadAgain},
        testing::{Bench, Fault, Ledger, each_fault, interleaved},
    },
};
use persist_core::{
    Epoch, Outcome, SnapshotName, Takeover, Vouch, clock::Timestamp, snapshot::SnapshotRecord,
};
use std::{sync::Arc, time::Duration};

const ONE: Retention = Retention { commits: NonZeroU64::MIN, since: None };

fn commit(seq: u64, epoch: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(epoch), hash: Digest([seq as u8; 16]) }
}

fn pack(number: u8) -> Condemned {
    Condemned::Pack(PackName { epoch: Epoch::new(1), seq: number.into(), hash: Digest([number; 16]) })
}

/// A volume of three commits; the session that made them has gone, and a second one has the head.
///
/// Commit 1 needs packs 1 and 2, commit 2 packs 2 and 3, commit 3 pack 3; packs 4 and 5 are nobody's.
#[derive(Clone)]
struct Scene {
    id: VolumeId,
    actor: Arc<HeadActor>,
    ledger: Arc<Ledger>,
}

async fn scene(bench: &Bench) -> Scene {
    let id = bench.volume("a").await;
    let ledger = Arc::new(Ledger::default());
    let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, ledger.clone());
    for (seq, packs) in [(1, vec![1, 2]), (2, vec![2, 3]), (3, vec![3])] {
        let mut reach: BTreeSet<_> = packs.into_iter().map(pack).collect();
        reach.insert(Condemned::Commit(commit(seq, 1)));
        let parent = (seq > 1).then(|| commit(seq - 1, 1));
        ledger.0.lock().unwrap().insert(commit(seq, 1), (reach, parent));
        plant(bench, &id, &Condemned::Commit(commit(seq, 1))).await;
        actor.change(Change::Commit(commit(seq, 1))).await.unwrap();
    }
    for number in 1..=5 {
        plant(bench, &id, &pack(number)).await;
    }
    actor.change(Change::Release).await.unwrap();
    let taken = bench.remote.take(&id, &bench.ask("a", "x", Takeover::Never)).await.unwrap();
    let actor = Arc::new(HeadActor::start(bench.remote.clone(), taken, ledger.clone()));
    Scene { id, actor, ledger }
}

async fn plant(bench: &Bench, id: &VolumeId, name: &Condemned) {
    bench.store.plant(&bench.remote.keys.of(id, part(name)), b"12345").await;
}

/// The commits and packs that are there.
async fn there(bench: &Bench, scene: &Scene) -> BTreeSet<Condemned> {
    bench.remote.stored(&scene.id).await.unwrap().into_keys().collect()
}

/// A prune with every look at the commits answered by what is stored: a commit that is gone reaches nothing.
async fn prune(bench: &Bench, scene: &Scene) -> Result<Pruned> {
    let pruner = Pruner::new(&bench.remote, &scene.actor, scene.ledger.as_ref(), ONE);
    pruner.run(&mut PinWatches::default()).await
}

fn kept(seqs: &[u64], packs: &[u8]) -> BTreeSet<Condemned> {
    let commits = seqs.iter().map(|seq| Condemned::Commit(commit(*seq, 1)));
    commits.chain(packs.iter().copied().map(pack)).collect()
}

fn snapshot(scene: &Scene, name: &str, seq: u64) -> Snapshot {
    let name = SnapshotName::new(name).unwrap();
    let volume_name = persist_core::VolumeName::new("a").unwrap();
    let record = SnapshotRecord::new(name, scene.id.clone(), volume_name, Timestamp::from_millisecond(0));
    Snapshot { record, commit: commit(seq, 1) }
}

async fn condemned(bench: &Bench, scene: &Scene) -> usize {
    let (head, _) = bench.remote.find_there(&scene.id).await.unwrap();
    bench.remote.tombstones(&head).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn what_no_retained_commit_needs_is_reported_first_and_removed() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let pruner = Pruner::new(&bench.remote, &scene.actor, scene.ledger.as_ref(), ONE);
    let plan = pruner.plan(&mut PinWatches::default()).await.unwrap();
    assert_eq!((plan.objects.len(), plan.bytes()), (6, 30));
    assert_eq!(there(&bench, &scene).await.len(), 8);
    let pruned = prune(&bench, &scene).await.unwrap();
    assert_eq!(pruned, Pruned { bytes: 30, objects: 6, spared: 0 });
    assert_eq!(there(&bench, &scene).await, kept(&[3], &[3]));
    assert_eq!(condemned(&bench, &scene).await, 0);
    assert_eq!(prune(&bench, &scene).await.unwrap(), Pruned::default());
}

#[tokio::test(start_paused = true)]
async fn a_floor_of_retained_commits_stays() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let two = Retention { commits: NonZeroU64::new(2).unwrap(), since: None };
    let pruner = Pruner::new(&bench.remote, &scene.actor, scene.ledger.as_ref(), two);
    pruner.run(&mut PinWatches::default()).await.unwrap();
    assert_eq!(there(&bench, &scene).await, kept(&[2, 3], &[2, 3]));
}

#[tokio::test(start_paused = true)]
async fn commits_that_are_young_enough_stay_whatever_their_number() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let since = |seconds: i64| Retention { since: Some(Timestamp::from_millisecond(seconds * 1000)), ..ONE };
    let pruned = async |retention| {
        let pruner = Pruner::new(&bench.remote, &scene.actor, scene.ledger.as_ref(), retention);
        pruner.run(&mut PinWatches::default()).await.unwrap();
        there(&bench, &scene).await
    };
    assert_eq!(pruned(since(1)).await, kept(&[1, 2, 3], &[1, 2, 3]));
    assert_eq!(pruned(since(2)).await, kept(&[2, 3], &[2, 3]));
    assert_eq!(pruned(since(9)).await, kept(&[3], &[3]), "the head's stays whatever its age");
    assert_eq!(pruned(since(1)).await, kept(&[3], &[3]), "what went before ends the look");
}

#[tokio::test(start_paused = true)]
async fn what_the_current_epoch_wrote_stays() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let young = PackName { epoch: Epoch::new(2), seq: 1, hash: Digest([9; 16]) };
    plant(&bench, &scene.id, &Condemned::Pack(young.clone())).await;
    prune(&bench, &scene).await.unwrap();
    assert!(there(&bench, &scene).await.contains(&Condemned::Pack(young)));
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_a_prune_removes_nothing_that_is_needed_and_a_repeat_ends_it() {
    let faults: Vec<_> = Fault::ANSWERS.into_iter().chain(Fault::KILLS).collect();
    let prepare = async |bench: &Bench| {
        let scene = scene(bench).await;
        bench.remote.take_snapshot(&snapshot(&scene, "kept", 1)).await.unwrap();
        scene
    };
    each_fault(
        &faults,
        prepare,
        async |bench, scene| prune(bench, &scene).await,
        async |bench, scene, done, at| {
            let expected = kept(&[1, 3], &[1, 2, 3]);
            assert!(there(bench, &scene).await.is_superset(&expected), "{at}");
            let scene = if done.is_none() { after_a_kill(bench, scene).await } else { scene };
            prune(bench, &scene).await.unwrap();
            assert_eq!(there(bench, &scene).await, expected, "{at}");
            assert_eq!(condemned(bench, &scene).await, 0, "{at}");
            let lists = bench.store.objects().await.into_keys().filter(|path| path.contains("/t/")).count();
            assert_eq!(lists, 0, "{at}");
        },
    )
    .await;
}

/// Another process, which is told that the first is dead.
async fn after_a_kill(bench: &Bench, scene: Scene) -> Scene {
    let (head, _) = bench.remote.find_there(&scene.id).await.unwrap();
    let vouch = Vouch::new(head.lease.unwrap().attachment, head.epoch, "killed by a test");
    let ask = bench.ask("a", "y", Takeover::Vouched(vouch));
    let taken = bench.remote.take(&scene.id, &ask).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, scene.ledger.clone());
    Scene { actor: Arc::new(actor), ..scene }
}

#[tokio::test(start_paused = true)]
async fn more_tombstones_than_a_head_holds_are_listed_in_an_object_of_their_own() {
    let faults = [Fault::After, Fault::Late, Fault::KilledBefore, Fault::KilledAfter];
    let prepare = async |bench: &Bench| {
        let scene = scene(bench).await;
        for number in 10..10 + u8::try_from(TOMBSTONES_MAX).unwrap() {
            plant(bench, &scene.id, &pack(number)).await;
        }
        scene
    };
    each_fault(
        &faults,
        prepare,
        async |bench, scene| prune(bench, &scene).await,
        async |bench, scene, done, at| {
            let scene = if done.is_none() { after_a_kill(bench, scene).await } else { scene };
            prune(bench, &scene).await.unwrap();
            assert_eq!(there(bench, &scene).await, kept(&[3], &[3]), "{at}");
            assert_eq!(condemned(bench, &scene).await, 0, "{at}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_taken_between_any_two_requests_of_a_prune_is_whole_or_refused() {
    let (mut whole, mut refused) = (0, 0);
    for at in 0.. {
        let bench = Bench::new();
        let scene = scene(&bench).await;
        let wanted = snapshot(&scene, "s", 2);
        let prune = prune(&bench, &scene);
        let take = async || bench.remote.take_snapshot(&wanted).await;
        let Some((pruned, taken)) = interleaved(&bench, at, prune, take).await else { break };
        pruned.unwrap();
        let left = there(&bench, &scene).await;
        match taken {
            Ok(taken) => {
                assert_eq!(taken.outcome, Outcome::Done);
                assert!(left.is_superset(&kept(&[2], &[2, 3])), "at {at}: {left:?}");
                whole += 1;
            }
            Err(e) => {
                assert!(matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Unavailable), "{e}");
                refused += 1;
            }
        }
    }
    assert!(whole > 3 && refused > 3, "{whole} {refused}");
}

#[tokio::test(start_paused = true)]
async fn a_prune_between_any_two_requests_of_a_snapshot_leaves_it_whole_or_refuses_it() {
    let (mut whole, mut refused) = (0, 0);
    for at in 0.. {
        let bench = Bench::new();
        let scene = scene(&bench).await;
        let wanted = snapshot(&scene, "s", 2);
        let take = bench.remote.take_snapshot(&wanted);
        let Some((taken, _)) =
            interleaved(&bench, at, take, async || prune(&bench, &scene).await.unwrap()).await
        else {
            break;
        };
        let left = there(&bench, &scene).await;
        match taken {
            Ok(_) => {
                assert!(left.is_superset(&kept(&[2], &[2, 3])), "at {at}: {left:?}");
                whole += 1;
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::NotFound, "{e}");
                assert_eq!(bench.remote.snapshot(&scene.id, &wanted.record.name).await.unwrap(), None);
                refused += 1;
            }
        }
    }
    assert!(whole > 0 && refused > 0, "{whole} {refused}");
}

/// A prune that is killed before its request of number `at`; gives the deletes that it had sent by then, which may
/// arrive at any time, and the next process. None if it makes no so many requests.
async fn killed_prune(bench: &Bench, scene: &Scene, at: usize) -> Option<(Vec<Condemned>, Scene)> {
    bench.store.arm(at, Fault::KilledBefore);
    let ended = bench.until_killed(prune(bench, scene)).await;
    let seen = bench.store.seen();
    bench.store.calm();
    if ended.is_some() {
        return None;
    }
    let all = kept(&[1, 2, 3], &[1, 2, 3, 4, 5]).into_iter();
    let sent =
        |name: &Condemned| seen.contains(&format!("DELETE {}", bench.remote.keys.of(&scene.id, part(name))));
    Some((all.filter(sent).collect(), after_a_kill(bench, scene.clone()).await))
}

async fn arrive(bench: &Bench, scene: &Scene, deletes: &[Condemned]) {
    for name in deletes {
        bench.remote.remove(&bench.remote.keys.of(&scene.id, part(name))).await.unwrap();
    }
}

/// Found by the model: the second prune used to spare what the deletes of the first one were under way for.
#[tokio::test(start_paused = true)]
async fn what_a_killed_prune_has_sent_deletes_for_is_never_acknowledged_as_a_snapshot() {
    let (mut whole, mut refused) = (0, 0);
    for stopped in 0.. {
        for at in 0.. {
            let bench = Bench::new();
            let scene = scene(&bench).await;
            let Some((deletes, next)) = killed_prune(&bench, &scene, stopped).await else {
                assert!(stopped > 8 && whole > 3 && refused > 3, "{stopped} {whole} {refused}");
                return;
            };
            let wanted = snapshot(&scene, "s", 2);
            let take = bench.remote.take_snapshot(&wanted);
            let prune = async || prune(&bench, &next).await.unwrap();
            let Some((taken, _)) = interleaved(&bench, at, take, prune).await else { break };
            arrive(&bench, &scene, &deletes).await;
            let left = there(&bench, &scene).await;
            if taken.is_ok() {
                assert!(left.is_superset(&kept(&[2], &[2, 3])), "killed at {stopped}, at {at}: {left:?}");
                whole += 1;
            } else {
                refused += 1;
            }
        }
    }
}

/// The same of a salvage, which is uploaded again.
#[tokio::test(start_paused = true)]
async fn what_a_killed_prune_has_sent_deletes_for_is_uploaded_again_by_a_salvage() {
    let mut again = 0;
    for stopped in 0.. {
        for at in 0.. {
            let bench = Bench::new();
            let scene = scene(&bench).await;
            let Some((deletes, next)) = killed_prune(&bench, &scene, stopped).await else {
                assert!(stopped > 8 && again > 3, "{stopped} {again}");
                return;
            };
            let name = bench.remote.salvage_name(Epoch::new(1), crate::head::record::SessionId(7));
            let uploads = Uploads(&bench, &scene.id);
            let keep = bench.remote.keep_salvage(name, salvage(&scene), &uploads);
            let prune = async || prune(&bench, &next).await.unwrap();
            let Some((done, _)) = interleaved(&bench, at, keep, prune).await else { break };
            arrive(&bench, &scene, &deletes).await;
            let done = done.unwrap();
            again += usize::from(done.needs != salvage(&scene).needs);
            salvage_is_whole(&bench, &scene, &done, at).await;
        }
    }
}

/// Uploads again by planting the same content under a new name.
struct Uploads<'a>(&'a Bench, &'a VolumeId);

#[async_trait::async_trait]
impl UploadAgain for Uploads<'_> {
    async fn upload_again(&self, salvage: &Salvage, lost: &BTreeSet<Condemned>) -> Result<Salvage> {
        let mut salvage = salvage.clone();
        for name in lost {
            salvage.needs.remove(name);
            let Condemned::Pack(old) = name else { continue };
            let new = Condemned::Pack(PackName { seq: old.seq + 100, ..old.clone() });
            plant(self.0, self.1, &new).await;
            salvage.needs.insert(new);
        }
        Ok(salvage)
    }
}

fn salvage(scene: &Scene) -> Salvage {
    let record = snapshot(scene, "salvage", 2).record;
    Salvage::new(record, Some(commit(2, 1)), commit(2, 1), BTreeSet::from([pack(2), pack(4), pack(3)]))
}

async fn salvage_is_whole(bench: &Bench, scene: &Scene, kept: &Salvage, at: usize) {
    let left = there(bench, scene).await;
    assert!(kept.needs.is_subset(&left) && kept.needs.len() == 3, "at {at}: {:?}, {left:?}", kept.needs);
    let all: Vec<_> =
        bench.remote.salvages(&scene.id).map_ok(|(_, salvage)| salvage).try_collect().await.unwrap();
    assert_eq!(all, std::slice::from_ref(kept), "at {at}");
}

#[tokio::test(start_paused = true)]
async fn a_salvage_and_a_prune_between_any_two_requests_of_each_other_lose_nothing() {
    let mut again = 0;
    for at in 0.. {
        let bench = Bench::new();
        let scene = scene(&bench).await;
        let name = bench.remote.salvage_name(Epoch::new(1), crate::head::record::SessionId(7));
        let uploads = Uploads(&bench, &scene.id);
        let keep = bench.remote.keep_salvage(name, salvage(&scene), &uploads);
        let prune = async || prune(&bench, &scene).await.unwrap();
        let Some((done, _)) = interleaved(&bench, at, keep, prune).await else { break };
        let done = done.unwrap();
        again += usize::from(done.needs != salvage(&scene).needs);
        salvage_is_whole(&bench, &scene, &done, at).await;
    }
    for at in 0.. {
        let bench = Bench::new();
        let scene = scene(&bench).await;
        let name = bench.remote.salvage_name(Epoch::new(1), crate::head::record::SessionId(7));
        let uploads = Uploads(&bench, &scene.id);
        let keep = async || bench.remote.keep_salvage(name, salvage(&scene), &uploads).await.unwrap();
        let Some((pruned, done)) = interleaved(&bench, at, prune(&bench, &scene), keep).await else { break };
        pruned.unwrap();
        again += usize::from(done.needs != salvage(&scene).needs);
        salvage_is_whole(&bench, &scene, &done, at).await;
    }
    assert!(again > 3, "{again}");
}

fn reader(bench: &Bench) -> PinnedBy {
    let holder = bench.ask("a", "reader", Takeover::Never).lease.holder;
    PinnedBy::Reader { holder, ttl: Duration::from_secs(60) }
}

#[tokio::test(start_paused = true)]
async fn a_readers_pin_keeps_its_commit_until_it_is_left_behind_and_a_forks_for_ever() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let pinned = bench.remote.pin(&scene.id, &commit(1, 1), reader(&bench)).await.unwrap();
    let fork = PinnedBy::Fork(bench.record("b").id);
    bench.remote.pin(&scene.id, &commit(2, 1), fork).await.unwrap();
    let pruner = Pruner::new(&bench.remote, &scene.actor, scene.ledger.as_ref(), ONE);
    let mut pins = PinWatches::default();
    pruner.run(&mut pins).await.unwrap();
    assert_eq!(there(&bench, &scene).await, kept(&[1, 2, 3], &[1, 2, 3]));
    tokio::time::sleep(Duration::from_secs(76)).await;
    let pinned = bench.remote.renew_pin(&pinned).await.unwrap();
    pruner.run(&mut pins).await.unwrap();
    tokio::time::sleep(Duration::from_secs(76)).await;
    pruner.run(&mut pins).await.unwrap();
    assert_eq!(there(&bench, &scene).await, kept(&[1, 2, 3], &[1, 2, 3]));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = bench.store.objects().await;
    let looker = Planner::new(&bench.remote, scene.ledger.as_ref(), ONE);
    assert!(!looker.plan(&scene.actor.head(), &mut pins).await.unwrap().objects.is_empty());
    assert_eq!(bench.store.objects().await, before, "a look ends nobody's pin");
    pruner.run(&mut pins).await.unwrap();
    assert_eq!(there(&bench, &scene).await, kept(&[2, 3], &[2, 3]));
    assert_eq!(bench.remote.renew_pin(&pinned).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_deleted_volume_is_removed_but_for_what_a_fork_needs() {
    let bench = Bench::new();
    let scene = scene(&bench).await;
    let fork = PinnedBy::Fork(bench.record("b").id);
    let pinned = bench.remote.pin(&scene.id, &commit(2, 1), fork).await.unwrap();
    scene.actor.change(Change::Release).await.unwrap();
    let name = persist_core::VolumeName::new("a").unwrap();
    bench.remote.delete(&name, None, async |_| Ok(())).await.unwrap();
    let mut pins = PinWatches::default();
    let bytes = bench.remote.deleted_bytes(&scene.id, scene.ledger.as_ref(), &mut pins).await.unwrap();
    assert_eq!(
        bytes,
        bench.remote.remove_deleted(&scene.id, scene.ledger.as_ref(), &mut pins).await.unwrap()
    );
    assert_eq!(there(&bench, &scene).await, kept(&[2], &[2, 3]));
    bench.remote.unpin(&pinned).await.unwrap();
    bench.remote.remove_deleted(&scene.id, scene.ledger.as_ref(), &mut pins).await.unwrap();
    let left: Vec<_> = bench.store.objects().await.into_keys().filter(|path| path.contains("/v/")).collect();
    assert_eq!(left, [format!("s/v/{}/head", scene.id)]);
    let refused = bench.remote.pin(&scene.id, &commit(3, 1), reader(&bench)).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_pruner_removes_nothing_more() {
    for at in 0.. {
        let bench = Bench::new();
        let scene = scene(&bench).await;
        let between = async || {
            let next = after_a_kill(&bench, scene.clone()).await;
            let taken = bench.remote.take_snapshot(&snapshot(&scene, "s", 1)).await;
            (next, taken)
        };
        let Some((_, (next, taken))) = interleaved(&bench, at, prune(&bench, &scene), between).await else {
            break;
        };
        if taken.is_ok() {
            assert!(there(&bench, &scene).await.is_superset(&kept(&[1, 3], &[1, 2, 3])), "at {at}");
        }
        prune(&bench, &next).await.unwrap();
        assert!(there(&bench, &scene).await.is_superset(&kept(&[3], &[3])), "at {at}");
    }
}

#[test]
fn what_is_condemned_at_once_has_an_end_and_a_commit_goes_no_later_than_a_pack() {
    let packs = (1..=7).map(pack);
    let commits = (1..=4).map(|seq| Condemned::Commit(commit(seq, 1)));
    let all: BTreeMap<_, _> = packs.chain(commits).map(|name| (name, 1)).collect();
    let rounds = rounds(all.clone(), 3);
    assert!(rounds.iter().all(|round| (1..=3).contains(&round.len())), "{rounds:?}");
    let ordered: Vec<_> = rounds.into_iter().flatten().collect();
    assert_eq!(ordered, all.into_iter().collect::<Vec<_>>());
    let is_pack = |name: &Condemned| matches!(name, Condemned::Pack(_));
    assert!(ordered.is_sorted_by_key(|(name, _)| is_pack(name)));
}
