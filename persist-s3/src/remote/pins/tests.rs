use super::{held::*, snapshots::*, *};
use crate::{
    head::{change::Change, names::PackName},
    remote::{
        actor::HeadActor,
        testing::{Bench, Fault, Parents, each_fault, interleaved, volume_name},
    },
};
use futures::TryStreamExt as _;
use persist_core::{Epoch, Outcome, SnapshotName, Takeover, clock::Timestamp, snapshot::SnapshotRecord};
use std::sync::Arc;

fn commit(seq: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(1), hash: Digest([seq as u8; 16]) }
}

fn snapshot(id: &VolumeId, name: &str, seq: u64) -> Snapshot {
    let name = SnapshotName::new(name).unwrap();
    let record = SnapshotRecord::new(name, id.clone(), volume_name("a"), Timestamp::from_millisecond(0));
    Snapshot { record, commit: commit(seq) }
}

/// A free volume at commit 2, of which commit 1 is stored as well.
async fn volume(bench: &Bench) -> VolumeId {
    let id = bench.volume("a").await;
    let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default()));
    for seq in 1..=2 {
        bench.store.plant(&bench.remote.keys.of(&id, Part::Commit(commit(seq))), b"commit").await;
        actor.change(Change::Commit(commit(seq))).await.unwrap();
    }
    actor.change(Change::Release).await.unwrap();
    id
}

fn reader(bench: &Bench) -> PinnedBy {
    let holder = bench.ask("a", "reader", Takeover::Never).lease.holder;
    PinnedBy::Reader { holder, ttl: Duration::from_secs(60) }
}

async fn names(bench: &Bench, id: &VolumeId) -> Vec<String> {
    let all = bench.remote.snapshots(id, None).map_ok(|snapshot| snapshot.record.name.to_string());
    all.try_collect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fault_or_a_kill_at_any_request_of_a_snapshot_takes_it_once() {
    let faults: Vec<_> = Fault::ANSWERS.into_iter().chain(Fault::KILLS).collect();
    for seq in [1, 2] {
        let take = async |bench: &Bench, id| bench.remote.take_snapshot(&snapshot(&id, "s", seq)).await;
        each_fault(&faults, volume, take, async |bench, id, done, at| {
            if let Some(done) = done {
                assert_eq!(done.unwrap().outcome, Outcome::Done, "{at}");
                assert_eq!(names(bench, &id).await, ["s"], "{at}");
            }
            bench.remote.take_snapshot(&snapshot(&id, "s", seq)).await.unwrap();
            let again = bench.remote.take_snapshot(&snapshot(&id, "s", 2)).await.unwrap();
            assert_eq!((again.outcome, again.snapshot.commit), (Outcome::Already, commit(seq)), "{at}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_or_a_kill_at_any_request_of_a_release_releases_and_the_name_is_free() {
    let faults: Vec<_> = Fault::ANSWERS.into_iter().chain(Fault::KILLS).collect();
    let prepare = async |bench: &Bench| {
        let id = volume(bench).await;
        bench.remote.take_snapshot(&snapshot(&id, "s", 1)).await.unwrap();
        id
    };
    let name = SnapshotName::new("s").unwrap();
    let release = async |bench: &Bench, id| bench.remote.release_snapshot(&id, &name).await;
    each_fault(&faults, prepare, release, async |bench, id, done, at| {
        if let Some(done) = done {
            assert_eq!(done.unwrap(), Outcome::Done, "{at}");
        }
        bench.remote.release_snapshot(&id, &name).await.unwrap();
        assert!(names(bench, &id).await.is_empty(), "{at}");
        let again = bench.remote.take_snapshot(&snapshot(&id, "s", 2)).await.unwrap();
        assert_eq!((again.outcome, again.snapshot.commit), (Outcome::Done, commit(2)), "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_gone_is_not_pinned_and_nothing_is_left_of_the_try() {
    let bench = Bench::new();
    let id = volume(&bench).await;
    let gone = bench.remote.take_snapshot(&snapshot(&id, "s", 7)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    let gone = bench.remote.pin(&id, &commit(7), reader(&bench)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
    assert!(names(&bench, &id).await.is_empty());
    assert!(
        !bench.store.objects().await.into_keys().any(|path| path.contains("pin/") && !path.ends_with("s-s"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_condemned_commit_is_not_acknowledged_and_its_snapshot_is_left_to_the_prune() {
    let bench = Bench::new();
    let id = volume(&bench).await;
    let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default()));
    actor.change(Change::Condemn(vec![Condemned::Commit(commit(1))])).await.unwrap();
    let wanted = snapshot(&id, "s", 1);
    for _ in 0..2 {
        let error = bench.remote.take_snapshot(&wanted).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
    }
    actor.change(Change::Absolve).await.unwrap();
    assert_eq!(bench.remote.take_snapshot(&wanted).await.unwrap().outcome, Outcome::Already);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_a_deletion_between_any_two_requests_of_each_other_never_both_succeed() {
    let (mut taken_first, mut deleted_first) = (0, 0);
    for at in 0.. {
        let bench = Bench::new();
        let id = volume(&bench).await;
        let wanted = snapshot(&id, "s", 2);
        let delete = async || delete_unless_snapshots(&bench, &id).await;
        let take = bench.remote.take_snapshot(&wanted);
        let Some((taken, deleted)) = interleaved(&bench, at, take, delete).await else { break };
        assert!(taken.is_err() || deleted.is_err(), "at {at}");
        taken_first += usize::from(taken.is_ok());
        deleted_first += usize::from(deleted.is_ok());
    }
    for at in 0.. {
        let bench = Bench::new();
        let id = volume(&bench).await;
        let wanted = snapshot(&id, "s", 2);
        let take = async || bench.remote.take_snapshot(&wanted).await;
        let delete = delete_unless_snapshots(&bench, &id);
        let Some((deleted, taken)) = interleaved(&bench, at, delete, take).await else { break };
        assert!(taken.is_err() || deleted.is_err(), "at {at}");
        taken_first += usize::from(taken.is_ok());
        deleted_first += usize::from(deleted.is_ok());
    }
    assert!(taken_first > 2 && deleted_first > 2, "{taken_first} {deleted_first}");
}

async fn delete_unless_snapshots(bench: &Bench, id: &VolumeId) -> Result<()> {
    let refuse = async |_: &Head| match bench.remote.snapshots(id, None).try_next().await? {
        Some(_) => Err(Error::new(ErrorKind::InUse, "it has snapshots")),
        None => Ok(()),
    };
    bench.remote.delete(&volume_name("a"), None, refuse).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_listed_in_order_after_one_and_released_ones_are_not_read() {
    let bench = Bench::new();
    let id = volume(&bench).await;
    for name in ["b", "a", "c"] {
        bench.remote.take_snapshot(&snapshot(&id, name, 2)).await.unwrap();
    }
    bench.remote.release_snapshot(&id, &SnapshotName::new("b").unwrap()).await.unwrap();
    bench.remote.pin(&id, &commit(2), reader(&bench)).await.unwrap();
    bench.store.calm();
    assert_eq!(names(&bench, &id).await, ["a", "c"]);
    assert_eq!(bench.store.seen().len(), 3, "{:?}", bench.store.seen());
    let after = SnapshotName::new("a").unwrap();
    let rest: Vec<_> = bench.remote.snapshots(&id, Some(&after)).try_collect().await.unwrap();
    assert_eq!(rest, [snapshot(&id, "c", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_held_pin_is_renewed_until_it_is_closed_also_through_an_outage() {
    let bench = Bench::new();
    let id = volume(&bench).await;
    let pinned = bench.remote.pin(&id, &commit(1), reader(&bench)).await.unwrap();
    let path = bench.remote.keys.of(&id, Part::Pin(pinned.id));
    let held = HeldPin::start(bench.remote.clone(), pinned.clone());
    bench.store.set_down(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    bench.store.set_down(false);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (now, _) = bench.remote.read_pin(&id, pinned.id).await.unwrap().unwrap();
    assert_ne!(now, pinned.pin);
    assert_eq!(*held.state().borrow(), PinState::Kept);
    held.close().await.unwrap();
    assert_eq!(bench.remote.read(&path).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_a_renewal_renews_and_an_ended_pin_says_so() {
    let prepare = async |bench: &Bench| {
        let id = volume(bench).await;
        bench.remote.pin(&id, &commit(1), reader(bench)).await.unwrap()
    };
    let renew = async |bench: &Bench, pinned: Pinned| bench.remote.renew_pin(&pinned).await;
    each_fault(&Fault::ANSWERS, prepare, renew, async |bench, pinned, done, at| {
        let newer = done.unwrap().unwrap();
        assert_ne!(newer.etag, pinned.etag, "{at}");
        bench.remote.renew_pin(&newer).await.unwrap();
        // One that has lost its own latest version finds it again.
        let (pin, etag) = bench.remote.read_pin(&pinned.volume, pinned.id).await.unwrap().unwrap();
        bench.remote.renew_pin(&pinned).await.unwrap();
        let held = HeldPin::start(bench.remote.clone(), newer);
        assert_eq!(
            bench.remote.end_pin(&pinned.volume, pinned.id, &pin, &etag).await.unwrap(),
            Ended::Yes,
            "{at}"
        );
        let mut state = held.state();
        state.changed().await.unwrap();
        assert_eq!(*state.borrow(), PinState::Ended, "{at}");
        held.close().await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_tombstones_that_was_changed_is_corrupt() {
    let bench = Bench::new();
    let id = volume(&bench).await;
    let (mut head, _) = bench.remote.find_there(&id).await.unwrap();
    let pack = Condemned::Pack(PackName { epoch: Epoch::new(1), seq: 1, hash: Digest([0; 16]) });
    let all = BTreeSet::from([pack]);
    let list = bench.remote.write_tombstones(&head, &all).await.unwrap();
    head.more_tombstones = Some(list);
    assert_eq!(bench.remote.tombstones(&head).await.unwrap(), all);
    bench.store.plant(&bench.remote.keys.of(&id, Part::Tombstones(list)), b"[]").await;
    assert_eq!(bench.remote.tombstones(&head).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
