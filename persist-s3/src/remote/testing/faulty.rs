//! A bucket in memory that fails where a test wants it to.

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
    client::{HttpError, HttpErrorKind},
    memory::InMemory,
    path::Path,
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
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
    pub(crate) killed: Notify,
    pub(crate) resumed: Notify,
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
pub(crate) struct Handle(pub(crate) Arc<FaultyStore>);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
