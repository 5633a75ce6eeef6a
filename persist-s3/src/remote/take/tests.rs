use super::*;
use crate::{
    head::record::Beats,
    remote::{
        actor::HeadActor,
        testing::{Bench, Fault, Parents, each_fault},
    },
};
use persist_core::{Epoch, ErrorKind, Vouch};
use std::sync::Arc;

async fn volume(bench: &Bench) -> VolumeId {
    bench.volume("a").await
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_take_takes_the_head_once() {
    let take = async |bench: &Bench, id| {
        let ask = bench.ask("a", "w", Takeover::Never);
        bench.remote.take(&id, &ask).await
    };
    each_fault(&Fault::ANSWERS, volume, take, async |bench, id, done, at| {
        let taken = done.unwrap().unwrap();
        let (head, _) = bench.remote.find_there(&id).await.unwrap();
        assert_eq!(&head, taken.writer.head(), "{at}");
        assert_eq!((head.epoch, head.lease), (Epoch::new(1), Some(taken.lease)), "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_take_that_was_killed_is_waited_out_or_vouched_for_and_the_epoch_grows() {
    let take = async |bench: &Bench, id| {
        let ask = bench.ask("a", "w", Takeover::Never);
        bench.remote.take(&id, &ask).await
    };
    each_fault(&Fault::KILLS, volume, take, async |bench, id, _, at| {
        let (before, _) = bench.remote.find_there(&id).await.unwrap();
        let taken = bench.remote.take(&id, &bench.ask("a", "x", Takeover::WhenExpired)).await.unwrap();
        assert_eq!(taken.writer.head().epoch, before.epoch.next(), "{at}");
        assert_eq!(taken.from, before.lease, "{at}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_free_head_and_a_vouched_one_cost_one_get_and_one_put() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let head = format!("s/v/{id}/head");
    bench.store.calm();
    let first = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    assert_eq!(bench.store.seen(), [format!("GET {head}"), format!("PUT {head}")]);
    let vouch = Vouch::new(first.lease.attachment, Epoch::new(1), "seen dead");
    bench.store.calm();
    let second = bench.ask("a", "x", Takeover::Vouched(vouch));
    bench.remote.take(&id, &second).await.unwrap();
    assert_eq!(bench.store.seen(), [format!("GET {head}"), format!("PUT {head}")]);
    let stale = bench.remote.take(&id, &bench.ask("a", "y", second.takeover)).await.unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_never_take_over_is_told_the_holder_at_once() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let first = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    bench.store.calm();
    let error = bench.remote.take(&id, &bench.ask("a", "x", Takeover::Never)).await.unwrap_err();
    assert_eq!((error.kind(), bench.store.seen().len()), (ErrorKind::InUse, 1));
    assert_eq!(error.holders()[0].attachment, first.lease.attachment);
    assert_eq!(error.holders()[0].epoch, Epoch::new(1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_waited_out_and_no_sooner() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let (seen, ask) = (bench.remote.boot.now(), bench.ask("a", "x", Takeover::WhenExpired));
    let taken = bench.remote.take(&id, &ask).await.unwrap();
    assert!(taken.began >= seen + Duration::from_secs(77), "{:?}", taken.began - seen);
    assert_eq!(taken.writer.head().epoch, Epoch::new(2));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_renews_is_never_taken_over_and_its_challenger_is_told() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default()));
    for wait in [None, Some(Duration::from_secs(600))] {
        let mut ask = bench.ask("a", "x", Takeover::WhenExpired);
        ask.wait = wait;
        let error = bench.remote.take(&id, &ask).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
    }
    assert_eq!(actor.head().epoch, Epoch::new(1));
    actor.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_head_when_its_holder_leaves() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let taken = bench.remote.take(&id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(bench.remote.clone(), taken, Arc::new(Parents::default()));
    let mut ask = bench.ask("a", "x", Takeover::Never);
    ask.wait = Some(Duration::from_secs(600));
    let leaves = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        actor.change(crate::head::change::Change::Release).await.unwrap();
    };
    let (taken, ()) = tokio::join!(bench.remote.take(&id, &ask), leaves);
    assert_eq!(taken.unwrap().writer.head().epoch, Epoch::new(2));
}

#[tokio::test(start_paused = true)]
async fn a_lease_without_beats_is_never_waited_out() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let mut ask = bench.ask("a", "w", Takeover::Never);
    ask.lease.beats = Beats::Never;
    let first = bench.remote.take(&id, &ask).await.unwrap();
    let mut other = bench.ask("a", "x", Takeover::WhenExpired);
    other.wait = Some(Duration::from_secs(10_000));
    assert_eq!(bench.remote.take(&id, &other).await.unwrap_err().kind(), ErrorKind::InUse);
    other.takeover = Takeover::Vouched(Vouch::new(first.lease.attachment, Epoch::new(1), "cut off"));
    bench.remote.take(&id, &other).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_many_that_ask_for_a_free_head_one_gets_it() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let asks: Vec<_> = (0..8).map(|i| bench.ask("a", &format!("w{i}"), Takeover::Never)).collect();
    let takes = asks.iter().map(|ask| bench.remote.take(&id, ask));
    let done = futures::future::join_all(takes).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1);
    assert!(done.iter().filter_map(|done| done.as_ref().err()).all(|e| e.kind() == ErrorKind::InUse));
}
