use super::*;
use crate::remote::testing::{Bench, Fault, each_fault, interleaved, volume_name};
use persist_core::{Takeover, clock::Timestamp};

async fn nothing(_: &Bench) {}

fn trash() -> Option<Trashed> {
    let (since, until) = (Timestamp::from_millisecond(0), Timestamp::from_millisecond(9));
    Some(Trashed { since, until })
}

async fn create(bench: &Bench, name: &str) -> Result<Published> {
    let record = bench.record(name);
    bench.remote.begin(&record).await?;
    bench.remote.publish(&record.name, &record.id).await
}

async fn delete(bench: &Bench, name: &str) -> Result<Option<Head>> {
    bench.remote.delete(&volume_name(name), None, async |_| Ok(())).await
}

/// What the store holds after everything interrupted was settled: every live volume has its name, and every
/// other one is deleted or in the trash.
async fn settled(bench: &Bench, at: &str) -> Vec<VolumeId> {
    let mut live = Vec::new();
    for id in bench.remote.volumes().await.unwrap() {
        bench.remote.settle_leftover(&id).await.unwrap();
        let Found::Head(head, _) = bench.remote.find(&id).await.unwrap() else { panic!("no head, {at}") };
        match head.stage {
            Stage::Live => {
                assert_eq!(bench.remote.locate(&head.name).await.unwrap().0.volume, id, "{at}");
                assert_eq!(bench.remote.record(&head).await.unwrap().id, id, "{at}");
                live.push(id);
            }
            stage => assert!(matches!(stage, Stage::Deleted | Stage::Trashed(_)), "{stage:?}, {at}"),
        }
    }
    live
}

fn id_of(published: &Published) -> VolumeId {
    match published {
        Published::Named(head, _) | Published::Taken(head, _) => head.volume.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_create_makes_one_volume_and_no_other() {
    each_fault(
        &Fault::ANSWERS,
        nothing,
        async |bench, ()| create(bench, "a").await,
        async |bench, (), done, at| {
            let made = id_of(&done.unwrap().unwrap());
            assert_eq!(settled(bench, at).await, [made], "{at}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_create_killed_at_any_request_leaves_nothing_that_is_not_settled_and_a_repeat_succeeds() {
    each_fault(
        &Fault::KILLS,
        nothing,
        async |bench, ()| create(bench, "a").await,
        async |bench, (), _, at| {
            let before = settled(bench, at).await;
            assert!(before.len() <= 1, "{at}");
            let again = id_of(&create(bench, "a").await.unwrap());
            assert_eq!(settled(bench, at).await, std::slice::from_ref(&again), "{at}");
            assert!(before.is_empty() || before == [again], "{at}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_beside_a_killed_create_needs_no_prune() {
    each_fault(
        &Fault::KILLS,
        nothing,
        async |bench, ()| create(bench, "a").await,
        async |bench, (), _, at| {
            let again = id_of(&create(bench, "a").await.unwrap());
            assert_eq!(settled(bench, at).await, [again], "{at}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_creates_of_one_name_make_one_volume_whoever_is_faster() {
    // The second create runs to its end before each request of the first.
    for request in 0..16 {
        let bench = Bench::new();
        bench.store.arm(request, Fault::KilledBefore);
        let first = bench.record("a");
        let (id, name) = (first.id.clone(), first.name.clone());
        let begun = bench.until_killed(bench.remote.begin(&first)).await;
        let published = match begun {
            Some(_) => bench.until_killed(bench.remote.publish(&name, &id)).await,
            None => None,
        };
        bench.store.calm();
        let second = id_of(&create(&bench, "a").await.unwrap());
        // The first goes on where it was: its process only stood still.
        if begun_head(&bench, &id).await {
            match bench.remote.publish(&name, &id).await {
                Ok(published) => {
                    assert_eq!(id_of(&published), second, "{request}");
                    let own = bench.remote.find_there(&id).await.unwrap().0.stage;
                    assert_eq!(own, if id == second { Stage::Live } else { Stage::Deleted }, "{request}");
                }
                Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{request}: {e}"),
            }
        }
        let live = settled(&bench, &format!("request {request}")).await;
        assert_eq!(live, std::slice::from_ref(&second), "{request}");
        assert!(published.is_none_or(|p| id_of(&p.unwrap()) == second));
    }
}

async fn begun_head(bench: &Bench, id: &VolumeId) -> bool {
    matches!(bench.remote.find(id).await.unwrap(), Found::Head(..))
}

#[tokio::test(start_paused = true)]
async fn a_prune_between_any_two_requests_of_a_create_undoes_it_or_leaves_it_never_both() {
    for request in 0..16 {
        let bench = Bench::new();
        bench.store.arm(request, Fault::KilledBefore);
        let record = bench.record("a");
        let begun = bench.until_killed(bench.remote.begin(&record)).await.is_some();
        let publish = || bench.remote.publish(&record.name, &record.id);
        let done = if begun { bench.until_killed(publish()).await } else { None };
        bench.store.calm();
        settled(&bench, "the prune").await;
        let done =
            if done.is_none() && begun_head(&bench, &record.id).await { Some(publish().await) } else { done };
        let live = settled(&bench, "the end").await;
        match done {
            Some(Ok(published)) => assert_eq!(live, [id_of(&published)], "{request}"),
            Some(Err(e)) => assert_eq!((e.retry(), live.len()), (Retry::Backoff, 0), "{request}: {e}"),
            None => assert!(live.is_empty(), "{request}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_at_any_request_of_delete_deletes_once_and_the_name_is_free() {
    for trashed in [None, trash()] {
        each_fault(
            &Fault::ANSWERS,
            async |bench: &Bench| bench.volume("a").await,
            async |bench, _| bench.remote.delete(&volume_name("a"), trashed, async |_| Ok(())).await,
            async |bench, id, done, at| {
                assert!(matches!(done.unwrap().unwrap(), Some(head) if head.volume == id), "{at}");
                assert!(settled(bench, at).await.is_empty(), "{at}");
                assert!(delete(bench, "a").await.unwrap().is_none(), "{at}");
                let next = id_of(&create(bench, "a").await.unwrap());
                assert!(next != id && settled(bench, at).await == [next], "{at}");
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_killed_at_any_request_is_finished_by_its_repeat_and_a_new_volume_never_by_it() {
    each_fault(
        &Fault::KILLS,
        async |bench: &Bench| bench.volume("a").await,
        async |bench, _| delete(bench, "a").await,
        async |bench, id, _, at| {
            delete(bench, "a").await.unwrap();
            assert!(settled(bench, at).await.is_empty(), "{at}");
            let next = id_of(&create(bench, "a").await.unwrap());
            assert!(next != id && settled(bench, at).await == [next], "{at}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_is_refused_or_killed_leaves_a_volume_that_can_be_attached() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let refused = bench.remote.delete(&volume_name("a"), None, async |_| Err(Error::invalid("a", "b"))).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(bench.remote.locate(&volume_name("a")).await.unwrap().0.stage, Stage::Live);
    bench.store.arm(3, Fault::KilledBefore);
    assert!(bench.until_killed(delete(&bench, "a")).await.is_none());
    assert_eq!(bench.remote.locate(&volume_name("a")).await.unwrap().0.stage, Stage::Deleting);
    let ask = bench.ask("a", "w", Takeover::Never);
    let taken = bench.remote.take(&id, &ask).await.unwrap();
    assert_eq!(taken.writer.head().stage, Stage::Live);
    assert_eq!(delete(&bench, "a").await.unwrap_err().kind(), ErrorKind::InUse);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_attached_between_announcement_and_deletion_is_kept() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    let attached = async |head: &Head| {
        let taken = bench.remote.take(&head.volume, &bench.ask("a", "w", Takeover::Never)).await?;
        assert_eq!(taken.writer.head().epoch.get(), 1);
        Ok(())
    };
    let error = bench.remote.delete(&volume_name("a"), None, attached).await.unwrap_err();
    assert_eq!((error.kind(), error.holders().len()), (ErrorKind::InUse, 1));
    assert_eq!(bench.remote.locate(&volume_name("a")).await.unwrap().0.volume, id);
}

#[tokio::test(start_paused = true)]
async fn a_fault_or_a_kill_at_any_request_of_taking_back_gives_one_name_or_leaves_it_in_the_trash() {
    let faults: Vec<_> = Fault::ANSWERS.into_iter().chain(Fault::KILLS).collect();
    each_fault(
        &faults,
        async |bench: &Bench| {
            let record = bench.record("a");
            bench.remote.begin(&record).await.unwrap();
            bench.remote.publish(&record.name, &record.id).await.unwrap();
            bench.remote.delete(&record.name, trash(), async |_| Ok(())).await.unwrap();
            let mut back = record.clone();
            back.name = volume_name("b");
            back
        },
        async |bench, back| bench.remote.take_back(&back).await,
        async |bench, back, done, at| {
            let live = settled(bench, at).await;
            if let Some(done) = done {
                assert_eq!(id_of(&done.unwrap()), back.id, "{at}");
                assert_eq!(live, std::slice::from_ref(&back.id), "{at}");
            }
            if live.is_empty() {
                bench.remote.take_back(&back).await.unwrap();
            }
            assert_eq!(bench.remote.locate(&volume_name("b")).await.unwrap().0.volume, back.id, "{at}");
            assert_eq!(bench.remote.locate(&volume_name("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_two_take_back_under_two_names_has_one_of_them() {
    let mut both_asked = 0;
    for at in 0.. {
        let bench = Bench::new();
        let record = bench.record("a");
        bench.remote.begin(&record).await.unwrap();
        bench.remote.publish(&record.name, &record.id).await.unwrap();
        bench.remote.delete(&record.name, trash(), async |_| Ok(())).await.unwrap();
        let back = |name: &str| {
            let mut back = record.clone();
            back.name = volume_name(name);
            back
        };
        let (first, second) = (back("b"), back("c"));
        let other = async || bench.remote.take_back(&second).await;
        let Some((one, two)) = interleaved(&bench, at, bench.remote.take_back(&first), other).await else {
            break;
        };
        both_asked += 1;
        assert!(one.is_ok() != two.is_ok(), "at {at}: {one:?} {two:?}");
        let (name, wrong) = if one.is_ok() { ("b", "c") } else { ("c", "b") };
        assert_eq!(bench.remote.locate(&volume_name(name)).await.unwrap().0.volume, record.id, "at {at}");
        let absent = bench.remote.locate(&volume_name(wrong)).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound, "at {at}");
        assert_ne!(id_of(&create(&bench, wrong).await.unwrap()), record.id, "at {at}");
    }
    assert!(both_asked > 6, "{both_asked}");
}
