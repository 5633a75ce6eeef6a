//! A bucket in memory that fails where a test wants it to, and everything a remote is opened with.

use super::{Limits, Remote, commits::Commits, head::History, record::Record, take::Ask, time::BootClock};
use crate::{
    head::{
        names::{CommitName, Condemned},
        record::{Beats, Lease, SessionId},
    },
    keys::Keys,
};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
    client::{HttpError, HttpErrorKind},
    memory::InMemory,
    path::Path,
};
use persist_core::{
    Access, AttachmentId, Error, Holder, Liveness, Node, NodeId, Result, Takeover, VolumeId, VolumeName,
    VolumeSpec, Workload,
    clock::{Entropy, Environment, ManualClock, Timestamp},
    holder::BootId,
    volume::Origin,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// How long a request takes, in the test's own time.
const LATENCY: Duration = Duration::from_millis(5);

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is lost before it arrives, or a 5xx refuses it.
    Before,
    /// It is applied, and its answer is lost.
    After,
    /// A 409: somebody else is at it.
    Conflict,
    /// It is applied, and a repetition inside the client library is told 412.
    OwnPrecondition,
    /// A 404.
    Missing,
    /// An error now; it arrives after the next request.
    Late,
    /// The process is killed before it is sent.
    KilledBefore,
    /// The process is killed after it was applied.
    KilledAfter,
    /// It stands still until the test says go on.
    Held,
}

impl Fault {
    /// What a process lives through.
    pub(crate) const ANSWERS: [Self; 6] =
        [Self::Before, Self::After, Self::Conflict, Self::OwnPrecondition, Self::Missing, Self::Late];

    /// What it does not.
    pub(crate) const KILLS: [Self; 2] = [Self::KilledBefore, Self::KilledAfter];
}

/// A store in memory, with one fault at one request.
#[derive(Debug, Default)]
pub(crate) struct FaultyStore {
    inner: InMemory,
    script: Mutex<Script>,
    killed: Notify,
    resumed: Notify,
}

#[derive(Debug, Default)]
struct Script {
    seen: Vec<String>,
    fault: Option<(usize, Fault)>,
    fired: bool,
    down: bool,
    late: Option<(usize, Path, PutPayload, PutOptions)>,
}

impl FaultyStore {
    /// Lets the request of this number, counted from now, meet `fault`.
    pub(crate) fn arm(&self, request: usize, fault: Fault) {
        *self.script.lock().unwrap() = Script { fault: Some((request, fault)), ..Script::default() };
    }

    /// Forgets what it has seen, and fails no more.
    pub(crate) fn calm(&self) {
        *self.script.lock().unwrap() = Script::default();
    }

    /// Answers nothing but errors, or answers again.
    pub(crate) fn set_down(&self, down: bool) {
        self.script.lock().unwrap().down = down;
    }

    /// The requests since it was armed or calmed.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.script.lock().unwrap().seen.clone()
    }

    /// Whether the fault was met.
    pub(crate) fn fired(&self) -> bool {
        self.script.lock().unwrap().fired
    }

    /// Puts an object there, unseen.
    pub(crate) async fn plant(&self, path: &Path, bytes: &'static [u8]) {
        self.inner.put(path, PutPayload::from_static(bytes)).await.unwrap();
    }

    /// The paths of all objects with their sizes.
    pub(crate) async fn objects(&self) -> BTreeMap<String, u64> {
        let list: Vec<_> = self.inner.list(None).collect().await;
        list.into_iter()
            .map(|meta| meta.unwrap())
            .map(|meta| (meta.location.to_string(), meta.size))
            .collect()
    }

    async fn arrive(&self, what: &'static str, path: &Path) -> StoreResult<Option<Fault>> {
        let (fault, down, late) = {
            let mut script = self.script.lock().unwrap();
            let number = script.seen.len();
            script.seen.push(format!("{what} {path}"));
            let fault = script.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
            script.fired |= fault.is_some();
            let due = script.late.as_ref().is_some_and(|late| number > late.0 + 1);
            let late = if due { script.late.take() } else { None };
            (fault, script.down, late)
        };
        if let Some((_, path, payload, options)) = late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        // A request takes a while, and others run meanwhile.
        tokio::time::sleep(LATENCY).await;
        if down {
            return Err(lost());
        }
        match fault {
            Some(Fault::KilledBefore) => self.die().await,
            Some(Fault::Held) => {
                self.killed.notify_one();
                self.resumed.notified().await;
                Ok(None)
            }
            fault => Ok(fault),
        }
    }

    async fn die<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }

    /// For requests that only read: they fail, or they do not.
    async fn arrive_reading(&self, what: &'static str, path: &Path) -> StoreResult<()> {
        match self.arrive(what, path).await? {
            None | Some(Fault::Missing) => Ok(()),
            Some(Fault::KilledAfter) => self.die().await,
            Some(_) => Err(lost()),
        }
    }

    async fn faulty_put(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        let put = || self.inner.put_opts(path, payload.clone(), options.clone());
        let error = |text: &str| -> Box<dyn std::error::Error + Send + Sync> { text.into() };
        let path_text = path.to_string();
        match self.arrive("PUT", path).await? {
            None | Some(Fault::KilledBefore | Fault::Held) => put().await,
            Some(Fault::Before) => Err(lost()),
            Some(Fault::After) => {
                put().await?;
                Err(lost())
            }
            Some(Fault::KilledAfter) => {
                put().await?;
                self.die().await
            }
            Some(Fault::Conflict) => {
                Err(object_store::Error::AlreadyExists { path: path_text, source: error("409") })
            }
            Some(Fault::OwnPrecondition) => {
                put().await?;
                Err(object_store::Error::Precondition { path: path_text, source: error("412") })
            }
            Some(Fault::Missing) => {
                Err(object_store::Error::NotFound { path: path_text, source: error("404") })
            }
            Some(Fault::Late) => {
                let mut script = self.script.lock().unwrap();
                let number = script.seen.len() - 1;
                script.late = Some((number, path.clone(), payload, options));
                Err(lost())
            }
        }
    }

    async fn faulty_delete(&self, path: Path) -> StoreResult<Path> {
        let gone = || async {
            let one = futures::stream::iter([Ok(path.clone())]).boxed();
            self.inner.delete_stream(one).collect::<Vec<_>>().await
        };
        match self.arrive("DELETE", &path).await? {
            None | Some(Fault::KilledBefore | Fault::Held) => gone().await,
            Some(Fault::KilledAfter) => {
                gone().await;
                return self.die().await;
            }
            Some(Fault::After | Fault::OwnPrecondition) => {
                gone().await;
                return Err(lost());
            }
            Some(_) => return Err(lost()),
        };
        Ok(path)
    }
}

fn lost() -> object_store::Error {
    let source = HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other("lost"));
    object_store::Error::Generic { store: "faulty", source: Box::new(source) }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.0.faulty_put(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.0.arrive_reading(if options.head { "HEAD" } else { "GET" }, path).await?;
        self.0.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        let store = Arc::clone(&self.0);
        paths
            .then(move |path| {
                let store = Arc::clone(&store);
                async move { store.faulty_delete(path?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let (store, prefix) = (Arc::clone(&self.0), prefix.cloned().unwrap_or_default());
        async move {
            match store.arrive_reading("LIST", &prefix).await {
                Ok(()) => store.inner.list(Some(&prefix)),
                Err(e) => futures::stream::iter([Err(e)]).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.0.arrive_reading("LIST", &prefix.cloned().unwrap_or_default()).await?;
        self.0.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.0.inner.copy_opts(from, to, options).await
    }
}

/// A client of the store: streams outlive a borrow, so it shares the store.
#[derive(Debug, Clone)]
struct Handle(Arc<FaultyStore>);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
    async fn reach(&self, _: &VolumeId, commit: &CommitName) -> Result<BTreeSet<Condemned>> {
        let found = self.0.lock().unwrap().get(commit).cloned();
        found.map(|(reach, _)| reach).ok_or_else(|| Error::not_found("no such commit"))
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
        Ask { name: volume_name(name), lease, takeover, wait: None }
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
