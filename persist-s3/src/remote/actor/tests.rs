use super::*;
use crate::{
    head::{
        names::{CommitName, Digest},
        record::Beats,
    },
    remote::testing::{Bench, Fault, Parents, each_fault},
};
use futures::StreamExt as _;
use persist_core::{Takeover, VolumeId, Vouch};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn commit(seq: u64, epoch: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(epoch), hash: Digest([seq as u8; 16]) }
}

async fn held(bench: &Bench, takeover: Takeover) -> (VolumeId, HeadActor) {
    let id = match bench.remote.names(None).next().await {
        Some(name) => bench.remote.locate(&name.unwrap()).await.unwrap().0.volume,
        None => bench.volume("a").await,
    };
    let taken = bench.remote.take(&id, &bench.ask("a", "w", takeover)).await.unwrap();
    (id, HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default())))
}

/// Another session, which is told that the first is dead.
async fn take_over(bench: &Bench, id: &VolumeId, actor: &HeadActor) -> Taken {
    let lease = actor.head().lease.clone().unwrap();
    let vouch = Vouch::new(lease.attachment, actor.head().epoch, "a test says so");
    bench.remote.take(id, &bench.ask("a", "x", Takeover::Vouched(vouch))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_any_change_makes_it_once() {
    for change in [
        Change::Renew,
        Change::Commit(commit(1, 1)),
        Change::Release,
        Change::Delete(None),
        Change::Condemn(vec![crate::head::names::Condemned::Commit(commit(7, 0))]),
        Change::Absolve,
    ] {
        let prepare = async |bench: &Bench| {
            let (id, actor) = held(bench, Takeover::Never).await;
            (id, Arc::new(actor))
        };
        let call =
            async |_: &Bench, (_, actor): (VolumeId, Arc<HeadActor>)| actor.change(change.clone()).await;
        each_fault(&Fault::ANSWERS, prepare, call, async |bench, (id, actor), done, at| {
            let Done::Made(head) = done.unwrap().unwrap() else { panic!("{at}") };
            let (stored, _) = bench.remote.find_there(&id).await.unwrap();
            assert_eq!((&stored, &actor.head()), (&*head, &head), "{change:?}, {at}");
            let before = stored.seq == 1 && stored.commit == Some(commit(1, 1));
            assert_eq!(before, matches!(change, Change::Commit(_)), "{at}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_caller_has_gone_is_made() {
    for fault in Fault::ANSWERS {
        let bench = Bench::new();
        let (id, actor) = held(&bench, Takeover::Never).await;
        bench.store.arm(0, fault);
        {
            let call = actor.change(Change::Commit(commit(1, 1)));
            tokio::pin!(call);
            // Polled once, so that it is asked for, and dropped.
            assert!(futures::poll!(&mut call).is_pending());
        }
        let Done::Made(head) = actor.change(Change::Renew).await.unwrap() else { panic!("{fault:?}") };
        assert_eq!(head.commit, Some(commit(1, 1)), "{fault:?}");
        assert_eq!(bench.remote.find_there(&id).await.unwrap().0, *head, "{fault:?}");
        actor.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_held_lease_is_renewed_by_one_put_each_third_of_its_ttl_and_a_commit_counts() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    bench.store.calm();
    tokio::time::sleep(19 * SECOND).await;
    actor.change(Change::Commit(commit(1, 1))).await.unwrap();
    tokio::time::sleep(19 * SECOND).await;
    assert_eq!(bench.store.seen(), [format!("PUT s/v/{id}/head")]);
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!(bench.store.seen().len(), 3, "{:?}", bench.store.seen());
    assert_eq!(actor.lease().state(), LeaseState::Held);
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_beats_asks_for_nothing() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let mut ask = bench.ask("a", "w", Takeover::Never);
    ask.lease.beats = Beats::Never;
    let taken = bench.remote.take(&id, &ask).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default()));
    bench.store.calm();
    tokio::time::sleep(1_000_000 * SECOND).await;
    assert_eq!((bench.store.seen().len(), actor.lease().state()), (0, LeaseState::Held));
    actor.change(Change::Commit(commit(1, 1))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_in_doubt_until_it_is() {
    let bench = Bench::new();
    let (_, actor) = held(&bench, Takeover::Never).await;
    bench.store.set_down(true);
    tokio::time::sleep(47 * SECOND).await;
    assert_eq!(actor.lease().state(), LeaseState::Held);
    tokio::time::sleep(2 * SECOND).await;
    assert!(matches!(actor.lease().state(), LeaseState::Unconfirmed { .. }));
    let error = actor.change(Change::Commit(commit(1, 1))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
    bench.store.set_down(false);
    // The commit that nobody waits for any more is concluded first.
    let Done::Made(head) = actor.change(Change::Renew).await.unwrap() else { panic!("fenced") };
    assert_eq!((head.commit.clone(), actor.lease().state()), (Some(commit(1, 1)), LeaseState::Held));
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_doubts_before_it_renews() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    let mut lease = actor.lease();
    bench.clock.suspend(3600);
    assert!(matches!(lease.changed().await, LeaseState::Unconfirmed { .. }));
    assert_eq!(lease.changed().await, LeaseState::Held);
    let other = take_over(&bench, &id, &actor).await;
    bench.clock.suspend(3600);
    assert!(matches!(lease.changed().await, LeaseState::Unconfirmed { .. }));
    assert_eq!(lease.changed().await, LeaseState::Fenced { by: other.writer.head().epoch, salvage: None });
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_over_is_fenced_for_good() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    let other = take_over(&bench, &id, &actor).await;
    for change in [Change::Commit(commit(1, 1)), Change::Renew, Change::Release] {
        let error = actor.change(change).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        assert!(error.to_string().contains("my epoch 1, now 2"), "{error}");
    }
    assert_eq!(bench.remote.find_there(&id).await.unwrap().0, *other.writer.head());
    actor.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_applied_before_its_session_was_fenced_is_acknowledged() {
    for more in 0..3 {
        let bench = Bench::new();
        let id = bench.volume("a").await;
        let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
        let parents = Arc::new(Parents::default());
        let actor = HeadActor::start(bench.remote.clone(), taken, parents.clone());
        // The answer never comes: the request runs into its limit.
        bench.store.arm(0, Fault::KilledAfter);
        let commits = async { actor.change(Change::Commit(commit(1, 1))).await };
        let takes_over = async {
            tokio::time::sleep(SECOND).await;
            let other = take_over(&bench, &id, &actor).await;
            let other = HeadActor::start(bench.remote.clone(), other, Arc::new(Parents::default()));
            for seq in 2..2 + more {
                let parent = if seq == 2 { commit(1, 1) } else { commit(seq - 1, 2) };
                parents.0.lock().unwrap().insert(commit(seq, 2), parent);
                other.change(Change::Commit(commit(seq, 2))).await.unwrap();
            }
            other.close().await.unwrap();
        };
        let (done, ()) = tokio::join!(commits, takes_over);
        assert_eq!(done.unwrap(), Done::MadeThenFenced(Epoch::new(2)), "{more}");
        assert!(matches!(actor.lease().state(), LeaseState::Fenced { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_head_was_removed_is_never_created_again() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    let path = bench.remote.keys.of(&id, crate::keys::Part::Head);
    bench.remote.remove(&path).await.unwrap();
    assert_eq!(actor.change(Change::Renew).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(matches!(actor.lease().state(), LeaseState::Fenced { .. }));
    actor.close().await.unwrap();
    assert_eq!(bench.remote.read(&path).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn close_joins_also_while_nothing_answers_and_leaves_the_lease() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    bench.store.set_down(true);
    tokio::time::sleep(25 * SECOND).await;
    actor.close().await.unwrap();
    bench.store.set_down(false);
    assert!(bench.remote.find_there(&id).await.unwrap().0.lease.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_over_and_its_head_is_free() {
    let bench = Bench::new();
    let (id, actor) = held(&bench, Takeover::Never).await;
    actor.change(Change::Release).await.unwrap();
    assert_eq!(actor.lease().state(), LeaseState::Released);
    assert_eq!(actor.change(Change::Renew).await.unwrap_err().kind(), ErrorKind::NotFound);
    let (head, _) = bench.remote.find_there(&id).await.unwrap();
    assert_eq!((head.lease, head.epoch), (None, Epoch::new(1)));
}
