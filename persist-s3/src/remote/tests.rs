//! A volume's life through the real clients and the test server, whose ETags are checksums of the content:
//! with faults at every request.

use super::{
    actor::{Done, HeadActor},
    pins::snapshots::Snapshot,
    prune::{PinWatches, Pruner, Retention},
    testing::{Bench, Ledger, volume_name},
    volumes::Published,
    *,
};
use crate::{
    S3Config, S3Options,
    client::Credentials,
    config::Transport,
    head::{
        change::Change,
        names::{CommitName, Condemned, Digest},
    },
    keys::Part,
};
use bytes::Bytes;
use persist_core::{
    Epoch, ErrorKind, OpenMode, Outcome, SnapshotName, Takeover, clock::Timestamp, snapshot::SnapshotRecord,
};
use persist_s3_server::{Broken, Fault, KeyPair, Rule, Server, ServerOptions, Verb};
use std::{collections::BTreeSet, num::NonZeroU64};

const BUCKET: &str = "bucket";

/// A bench whose remote talks to a server.
fn bench() -> (Bench, Server) {
    let server = Server::in_memory(ServerOptions::new(BUCKET, KeyPair::new("AK", "SK")));
    let mut config = S3Config::new(BUCKET);
    config.prefix = "some/store".into();
    config.endpoint = Some("http://in.process".into());
    config.transport = Transport::PlainAllowed;
    let options = S3Options::default().with_credentials(Credentials::keys("AK", "SK"));
    let clients = Clients::connect(&config, &options.with_connector(server.connector())).unwrap();
    let mut bench = Bench::new();
    let (environment, boot) = (bench.remote.environment.clone(), Arc::clone(&bench.remote.boot));
    bench.remote = Remote::new(&clients, environment, boot);
    (bench, server)
}

fn commit(seq: u64, epoch: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(epoch), hash: Digest([seq as u8; 16]) }
}

/// Created, attached, committed, snapshotted, detached, attached again, pruned, detached, deleted.
async fn life(bench: &Bench, server: &Server) {
    let (remote, ledger) = (&bench.remote, Arc::new(Ledger::default()));
    remote.open_marker(OpenMode::CreateIfMissing).await.unwrap();
    let record = bench.record("a");
    remote.begin(&record).await.unwrap();
    let published = remote.publish(&record.name, &record.id).await.unwrap();
    assert!(matches!(published, Published::Named(head, _) if head.volume == record.id));
    let taken = remote.take(&record.id, &bench.ask("a", "w", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(remote.clone(), taken, ledger.clone());
    for seq in 1..=3 {
        let name = commit(seq, 1);
        let reach = BTreeSet::from([Condemned::Commit(name.clone())]);
        let parent = (seq > 1).then(|| commit(seq - 1, 1));
        ledger.0.lock().unwrap().insert(name.clone(), (reach, parent));
        let key = format!("some/store/{}", remote.keys.of(&record.id, Part::Commit(name.clone())));
        server.plant(BUCKET, &key, Bytes::from_static(b"commit")).unwrap();
        let Done::Made(head) = actor.change(Change::Commit(name.clone())).await.unwrap() else { panic!() };
        assert_eq!(head.commit, Some(name));
    }
    let name = SnapshotName::new("s").unwrap();
    let snapshot = SnapshotRecord::new(
        name.clone(),
        record.id.clone(),
        record.name.clone(),
        Timestamp::from_millisecond(0),
    );
    let snapshot = Snapshot { record: snapshot, commit: commit(1, 1) };
    assert_eq!(remote.take_snapshot(&snapshot).await.unwrap().outcome, Outcome::Done);
    actor.change(Change::Release).await.unwrap();
    actor.close().await.unwrap();
    let taken = remote.take(&record.id, &bench.ask("a", "x", Takeover::Never)).await.unwrap();
    let actor = HeadActor::start(remote.clone(), taken, ledger.clone());
    let retention = Retention { commits: NonZeroU64::MIN, since: None };
    let pruner = Pruner::new(remote, &actor, ledger.as_ref(), retention);
    assert_eq!(pruner.run(&mut PinWatches::default()).await.unwrap().objects, 1);
    assert!(remote.is_stored(&remote.keys.of(&record.id, Part::Commit(commit(1, 1)))).await.unwrap());
    actor.change(Change::Release).await.unwrap();
    actor.close().await.unwrap();
    assert_eq!(remote.release_snapshot(&record.id, &name).await.unwrap(), Outcome::Done);
    let deleted = remote.delete(&record.name, None, async |_| Ok(())).await.unwrap();
    assert!(deleted.is_some());
    let absent = remote.locate(&volume_name("a")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_volumes_life_is_the_same_with_any_fault_at_any_request() {
    let (calm, server) = bench();
    life(&calm, &server).await;
    let entries = server.log().entries();
    assert!(entries.len() < 60, "{}", entries.len());
    let all: fn(Verb) -> bool = |_| true;
    let puts: fn(Verb) -> bool = |verb| verb == Verb::Put;
    // Every request meets a third of the faults here; each of the calls meets all of them in its own tests.
    let faults = [
        (Fault::LostRequest(Broken::Reset), all),
        (Fault::LostReply(Broken::Reset), all),
        (Fault::LostReply(Broken::TimedOut), all),
        (Fault::SLOW_DOWN, all),
        (Fault::ERROR_AFTER, all),
        (Fault::Late(Duration::from_secs(1)), puts),
        (Fault::Duplicate, all),
        (Fault::CONFLICT, puts),
        (Fault::NOT_FOUND, puts),
        (Fault::OWN_PRECONDITION, puts),
    ];
    for (number, (fault, befalls)) in faults.into_iter().enumerate() {
        let requests = entries.iter().filter(|entry| befalls(entry.seen.verb)).count();
        for at in (number % 3..requests).step_by(3) {
            let (bench, server) = bench();
            let rule = Rule::once("the fault", fault, move |seen| befalls(seen.verb));
            server.faults().add(rule.skip(u32::try_from(at).unwrap()));
            life(&bench, &server).await;
            assert_eq!(server.faults().unfired(), [""; 0], "{fault:?} at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_gone_from_sight_is_no_volume_that_was_removed() {
    let (bench, server) = bench();
    let record = bench.record("a");
    bench.remote.begin(&record).await.unwrap();
    bench.remote.publish(&record.name, &record.id).await.unwrap();
    let gone = Fault::Instead(persist_s3_server::Answer { status: 404, code: "NoSuchBucket" });
    server.faults().add(Rule::once("gone", gone, |_| true).times(u32::MAX));
    for error in [
        bench.remote.resolve(&record.name).await.unwrap_err(),
        bench.remote.find_there(&record.id).await.unwrap_err(),
        bench.remote.open_marker(OpenMode::CreateIfMissing).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}
