//! Everything a remote is opened with in a test: clocks, randomness, commits, a bucket.

mod faulty;

pub(crate) use faulty::{Fault, FaultyStore};

use super::{
    Limits, Remote,
    commits::{Commits, Facts},
    head::History,
    record::Record,
    take::Ask,
    time::BootClock,
};
use crate::{
    head::{
        names::{CommitName, Condemned},
        record::{Beats, Head, Lease, SessionId, Trashed},
    },
    keys::Keys,
};
use async_trait::async_trait;
use faulty::Handle;
use object_store::{ObjectStore, path::Path};
use persist_core::{
    Access, AttachmentId, Error, Holder, Liveness, Node, NodeId, Result, Takeover, VolumeId, VolumeName,
    VolumeSpec, Workload,
    clock::{Entropy, Environment, ManualClock, Timestamp},
    holder::BootId,
    volume::Origin,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// Tokio's clock, which a test pauses, and suspends of the machine on top of it.
#[derive(Debug)]
pub(crate) struct TestBootClock {
    start: tokio::time::Instant,
    suspended: AtomicU64,
}

impl TestBootClock {
    /// The machine slept for so long; timers did not notice.
    pub(crate) fn suspend(&self, seconds: u64) {
        self.suspended.fetch_add(seconds, SeqCst);
    }
}

impl BootClock for TestBootClock {
    fn now(&self) -> Duration {
        self.start.elapsed() + Duration::from_secs(1000 + self.suspended.load(SeqCst))
    }
}

/// Randomness that never repeats and is the same in every run.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, SeqCst);
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(bytes);
    }
}

/// No commit has a parent, but for those that a test says.
#[derive(Debug, Default)]
pub(crate) struct Parents(pub(crate) Mutex<BTreeMap<CommitName, CommitName>>);

#[async_trait]
impl History for Parents {
    async fn parent(&self, _: &VolumeId, commit: &CommitName) -> Result<Option<CommitName>> {
        Ok(self.0.lock().unwrap().get(commit).cloned())
    }
}

/// Commits that a test has made up: what each reaches, and its parent.
#[derive(Debug, Default)]
pub(crate) struct Ledger(pub(crate) Mutex<BTreeMap<CommitName, MadeUp>>);

/// What a commit reaches, and its parent.
type MadeUp = (BTreeSet<Condemned>, Option<CommitName>);

#[async_trait]
impl History for Ledger {
    async fn parent(&self, _: &VolumeId, commit: &CommitName) -> Result<Option<CommitName>> {
        let found = self.0.lock().unwrap().get(commit).cloned();
        found.map(|(_, parent)| parent).ok_or_else(|| Error::not_found("no such commit"))
    }
}

#[async_trait]
impl Commits for Ledger {
    /// The first commit was made in the first second, and so on.
    async fn facts(&self, _: &VolumeId, commit: &CommitName) -> Result<Facts> {
        let found = self.0.lock().unwrap().get(commit).cloned();
        let (reach, parent) = found.ok_or_else(|| Error::not_found("no such commit"))?;
        let made = Timestamp::from_millisecond(i64::try_from(commit.seq).unwrap() * 1000);
        Ok(Facts { reach, last_within: None, made, parent })
    }
}

/// A bucket and what a test needs around it.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) remote: Remote,
    pub(crate) clock: Arc<TestBootClock>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let store = Arc::new(FaultyStore::default());
        let handle = Arc::new(Handle(Arc::clone(&store)));
        let clock =
            Arc::new(TestBootClock { start: tokio::time::Instant::now(), suspended: AtomicU64::new(0) });
        let wall = ManualClock::at(Timestamp::from_millisecond(0));
        let environment = Environment { clock: Arc::new(wall), entropy: Arc::new(Counter::default()) };
        let remote = Remote {
            head: Arc::clone(&handle) as Arc<dyn ObjectStore>,
            data: handle,
            keys: Keys::new(Path::from("s")),
            environment,
            boot: Arc::clone(&clock) as Arc<dyn BootClock>,
            limits: Limits::default(),
        };
        Self { store, remote, clock }
    }

    pub(crate) fn record(&self, name: &str) -> Record {
        let environment = &self.remote.environment;
        let id = VolumeId::mint(environment.clock.as_ref(), environment.entropy.as_ref());
        Record::new(id, volume_name(name), VolumeSpec::default(), Origin::Empty, environment.clock.now())
    }

    /// A volume with its name, which nobody holds.
    pub(crate) async fn volume(&self, name: &str) -> VolumeId {
        let record = self.record(name);
        self.remote.begin(&record).await.unwrap();
        self.remote.publish(&record.name, &record.id).await.unwrap();
        record.id
    }

    /// An ask by another attachment and session than all before.
    pub(crate) fn ask(&self, name: &str, workload: &str, takeover: Takeover) -> Ask {
        let environment = &self.remote.environment;
        let node = Node::new(NodeId::new("n").unwrap(), BootId::new("b").unwrap());
        let lease = Lease {
            attachment: AttachmentId::mint(environment.clock.as_ref(), environment.entropy.as_ref()),
            session: SessionId(self.remote.nonce()),
            holder: Holder::new(node, Workload::new(workload).unwrap(), Liveness::External),
            access: Access::ReadWrite,
            since: environment.clock.now(),
            ttl: Duration::from_secs(60),
            beats: Beats::Renewed,
        };
        Ask {
            name: volume_name(name),
            by: crate::head::change::FoundBy::Name,
            lease,
            takeover,
            wait: None,
            seen: None,
        }
    }

    /// Runs `call` until it ends, or its process is killed.
    pub(crate) async fn until_killed<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = call => Some(done),
            () = self.store.killed.notified() => None,
        }
    }
}

/// Runs `call` up to its request of number `at`, then `between`, then the rest of `call`. None if it makes no
/// so many requests.
pub(crate) async fn interleaved<T, U>(
    bench: &Bench,
    at: usize,
    call: impl Future<Output = T>,
    between: impl AsyncFnOnce() -> U,
) -> Option<(T, U)> {
    bench.store.arm(at, Fault::Held);
    tokio::pin!(call);
    let stopped = tokio::select! {
        biased;
        _ = &mut call => false,
        () = bench.store.killed.notified() => true,
    };
    if !stopped {
        return None;
    }
    let other = between().await;
    bench.store.resumed.notify_one();
    Some((call.await, other))
}

pub(crate) fn volume_name(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

/// How many requests `call` makes on a bench where `prepare` ran before.
pub(crate) async fn count<P, T>(
    prepare: impl AsyncFn(&Bench) -> P,
    call: impl AsyncFn(&Bench, P) -> T,
) -> usize {
    let bench = Bench::new();
    let prepared = prepare(&bench).await;
    bench.store.calm();
    call(&bench, prepared).await;
    bench.store.seen().len()
}

/// Runs `call` with every fault of `faults` at each of its requests, and `check` after it. The result is none
/// where the process was killed.
pub(crate) async fn each_fault<P: Clone, T>(
    faults: &[Fault],
    prepare: impl AsyncFn(&Bench) -> P,
    call: impl AsyncFn(&Bench, P) -> T,
    check: impl AsyncFn(&Bench, P, Option<T>, &str),
) {
    let requests = count(&prepare, &call).await;
    assert!(requests > 0, "nothing was asked for");
    for &fault in faults {
        for request in 0..requests {
            let bench = Bench::new();
            let prepared = prepare(&bench).await;
            bench.store.arm(request, fault);
            let done = bench.until_killed(call(&bench, prepared.clone())).await;
            assert!(bench.store.fired(), "{fault:?} at {request} was not met");
            let at = format!("{fault:?} at request {request}: {:?}", bench.store.seen());
            bench.store.calm();
            check(&bench, prepared, done, &at).await;
        }
    }
}

impl Remote {
    /// A whole deletion, which `refuse` may refuse once it is announced.
    pub(crate) async fn delete(
        &self,
        name: &VolumeName,
        trash: Option<Trashed>,
        refuse: impl AsyncFn(&Head) -> Result<()>,
    ) -> Result<Option<Head>> {
        let Some(announced) = self.begin_deletion(name).await? else { return Ok(None) };
        if let Err(refused) = refuse(&announced.head).await {
            self.undo_deletion(&announced).await?;
            return Err(refused);
        }
        self.end_deletion(&announced, trash).await.map(Some)
    }
}
