//! The opened stores. Each is opened when it is first asked for, by a task of its own, and has a bounded
//! number of calls under way: one that is slow or dead keeps no other waiting.

use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, Shared},
};
use persist::{
    Attachment, AttachmentId, AttachmentRecord, Capabilities, Error, ErrorKind, Fencing, Node, OpenMode,
    OpenOptions, Result, StoreInfo, StoreUrl, VolumeName, VolumeStore, attachment::AdoptOptions,
    attachment::AttachmentFilter, clock::Timestamp,
};
use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// How a store is opened; tests give their own.
pub type Opener =
    Arc<dyn Fn(StoreUrl, OpenMode) -> BoxFuture<'static, Result<Arc<dyn VolumeStore>>> + Send + Sync>;

/// Calls under way in one store. A call into a dead file server holds a thread of the runtime, which has
/// 512 of them (tokio's default): thirty dead stores leave some for the others.
const CALLS_MAX: usize = 16;

/// Stores that are being opened at once, dead ones included, for the same reason.
const OPENING_MAX: usize = 32;

/// The stores that were asked for.
pub struct Stores {
    opener: Opener,
    tasks: TaskTracker,
    opening: Arc<Semaphore>,
    slots: Mutex<HashMap<StoreUrl, Opening>>,
}

/// A store that is being opened, is open, or could not be opened.
type Opening = Shared<BoxFuture<'static, Result<Arc<Opened>, Arc<Error>>>>;

/// An opened store, with the live attachments of this process.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Arc<dyn VolumeStore>,
    /// Where it is.
    pub url: StoreUrl,
    seen: AtomicBool,
    calls: Semaphore,
    handles: Mutex<HashMap<AttachmentId, Attachment>>,
    /// Claims of this host that cannot be taken up any more, and why: another host has had the volume since.
    lost: Mutex<HashMap<AttachmentId, Arc<Error>>>,
    /// The cut of the last sync that ended an attachment, by volume.
    synced: Mutex<HashMap<VolumeName, Timestamp>>,
}

/// What reads a variable of the environment: an object store has its credentials there, never in its URL.
pub type Variables = fn(&'static str) -> Option<OsString>;

/// Opens stores through the facade, for `node`; those that need a directory of this node get one below
/// `state`. An object store takes region, endpoint and credentials from `variables`, as Amazon's tools do.
pub fn facade(node: Node, state: PathBuf, variables: Variables) -> Opener {
    Arc::new(move |url, mode| {
        let options = OpenOptions::default().with_mode(mode).with_node(node.clone());
        let stores = state.join("stores");
        match url.scheme() {
            "local" => async move { persist::open_with(&url.to_string(), options).await }.boxed(),
            // It makes a directory of its own in there for each bucket and prefix.
            persist::s3::SCHEME => {
                let options = options.with_state_directory(stores);
                async move { persist::s3::open_by_variables(&url, options, variables).await }.boxed()
            }
            _ => {
                let options = options.with_state_directory(stores.join(directory_of(&url)));
                async move { persist::open_with(&url.to_string(), options).await }.boxed()
            }
        }
    })
}

/// A store's directory below the state directory: its URL, with what is not a letter or a digit as hex.
fn directory_of(url: &StoreUrl) -> String {
    url.to_string().bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b if b.is_ascii_alphanumeric() => name.push(char::from(b)),
            b => name.push_str(&format!("-{b:02x}")),
        }
        name
    })
}

impl Stores {
    /// No store is open. What runs for one is among `tasks`.
    pub fn new(opener: Opener, tasks: TaskTracker) -> Self {
        let opening = Arc::new(Semaphore::new(OPENING_MAX));
        Self { opener, tasks, opening, slots: Mutex::default() }
    }

    /// The store at `url`, opened in `mode` if it is not open.
    ///
    /// # Errors
    /// As it is opened; one that failed is tried again by the next call.
    /// # Cancellation
    /// The opening goes on, and the next call finds it.
    pub async fn opened(&self, url: &StoreUrl, mode: OpenMode) -> Result<Arc<Opened>> {
        self.opening(url, mode).await.map_err(|error| again(&error))
    }

    /// Closes every store that is open. Attachments stay.
    pub async fn close(&self, limit: Duration) {
        let slots: Vec<_> = self.lock().drain().collect();
        let close = |(url, opening): (StoreUrl, Opening)| async move {
            let Some(Ok(opened)) = opening.peek() else { return };
            match tokio::time::timeout(limit, opened.store.close()).await {
                Ok(Ok(())) => tracing::info!(store = %url, "closed"),
                Ok(Err(error)) => tracing::warn!(store = %url, %error, "closed with an error"),
                Err(_) => tracing::warn!(store = %url, "does not close: left to the end of this process"),
            }
        };
        futures::stream::iter(slots).for_each_concurrent(None, close).await;
    }

    fn opening(&self, url: &StoreUrl, mode: OpenMode) -> Opening {
        let mut slots = self.lock();
        slots.retain(|_, opening| !matches!(opening.peek(), Some(Err(_))));
        if let Some(opening) = slots.get(url) {
            return opening.clone();
        }
        let (open, permits, url) = ((self.opener)(url.clone(), mode), Arc::clone(&self.opening), url.clone());
        let of = url.clone();
        let opening = async move {
            let _permit = permits.try_acquire().map_err(|_| Arc::new(too_many(&of)))?;
            let store = open.await.map_err(Arc::new)?;
            tracing::info!(store = %of, capabilities = %store.info().capabilities, "opened");
            Ok(Arc::new(Opened::new(store, of)))
        };
        let opening: Opening = opening.boxed().shared();
        // Driven by a task: who asked may go away, and who asks next finds how it ended.
        self.tasks.spawn(opening.clone().map(drop));
        slots.insert(url, opening.clone());
        opening
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StoreUrl, Opening>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

impl Opened {
    fn new(store: Arc<dyn VolumeStore>, url: StoreUrl) -> Self {
        let calls = Semaphore::new(CALLS_MAX);
        let (seen, handles, lost, synced) = Default::default();
        Self { store, url, seen, calls, handles, lost, synced }
    }

    /// What the store promises.
    pub fn info(&self) -> Arc<StoreInfo> {
        self.store.info()
    }

    /// Whether other hosts can reach the store.
    pub fn is_portable(&self) -> bool {
        self.info().capabilities.contains(Capabilities::PORTABLE)
    }

    /// Whether an attachment is a lease of a copy: one that can run out, because the store refuses the
    /// commits of whoever lost it.
    pub fn has_leases(&self) -> bool {
        self.info().characteristics.fencing == Fencing::CommitGate
    }

    /// Whether this is the first time that somebody asks.
    pub fn is_new(&self) -> bool {
        !self.seen.swap(true, Relaxed)
    }

    /// The right to one call; held for as long as the call really runs.
    ///
    /// # Errors
    /// `Unavailable` if none is given back within `limit`.
    pub async fn call(&self, limit: Duration) -> Result<SemaphorePermit<'_>> {
        match tokio::time::timeout(limit, self.calls.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                Err(Error::new(ErrorKind::Unavailable, "the store does not answer the calls before this one")
                    .context("store", &self.url)
                    .context("calls under way", CALLS_MAX))
            }
        }
    }

    /// The claims and other attachments of a volume, on record.
    ///
    /// # Errors
    /// As the store's `attachments`.
    pub async fn attachments(&self, filter: AttachmentFilter) -> Result<Vec<AttachmentRecord>> {
        self.store.attachments(filter).try_collect().await
    }

    /// The live attachment of `record`, which is of this node: taken up if this process has not got it.
    ///
    /// # Errors
    /// As the store's `adopt`; `Fenced` without asking again.
    pub async fn handle(&self, record: &AttachmentRecord) -> Result<Attachment> {
        if let Some(handle) = self.held(&record.id) {
            return Ok(handle);
        }
        if let Some(error) = self.lost(&record.id) {
            return Err(again(&error));
        }
        match self.store.adopt(record, AdoptOptions::default()).await {
            Ok(adopted) => {
                self.keep(adopted.clone());
                Ok(adopted)
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                // Of two that ask at once, the first is told where the work is kept.
                let mut lost = lock(&self.lost);
                Err(again(lost.entry(record.id.clone()).or_insert_with(|| Arc::new(error))))
            }
            Err(error) => Err(error),
        }
    }

    /// Why an attachment of this node is lost, if it was found so.
    pub fn lost(&self, id: &AttachmentId) -> Option<Arc<Error>> {
        lock(&self.lost).get(id).cloned()
    }

    /// The live attachment of that id, if this process has it.
    pub fn held(&self, id: &AttachmentId) -> Option<Attachment> {
        lock(&self.handles).get(id).cloned()
    }

    /// Keeps a live attachment.
    pub fn keep(&self, attachment: Attachment) {
        lock(&self.handles).insert(attachment.id.clone(), attachment);
    }

    /// Lets go of an attachment that has ended, with its last sync.
    pub fn let_go(&self, record: &AttachmentRecord, synced: Option<Timestamp>) {
        let held = lock(&self.handles).remove(&record.id);
        lock(&self.lost).remove(&record.id);
        let last = synced.into_iter().chain(held.and_then(|held| held.watch().last_sync())).max();
        if let Some(last) = last {
            let mut all = lock(&self.synced);
            let of = all.entry(record.volume_name.clone()).or_insert(last);
            *of = last.max(*of);
        }
    }

    /// When a volume was last synced, as far as this process saw it.
    pub fn last_sync(&self, volume: &VolumeName) -> Option<Timestamp> {
        let ended = lock(&self.synced).get(volume).copied();
        let live = lock(&self.handles);
        let live = live.values().filter(|held| held.volume_name == *volume);
        live.filter_map(|held| held.watch().last_sync()).chain(ended).max()
    }

    /// Forgets what is remembered of a volume that is gone.
    pub fn forget(&self, volume: &VolumeName) {
        lock(&self.synced).remove(volume);
    }
}

/// An error that several callers get.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string()).with_retry(error.retry()).with_detail(error.detail().clone())
}

fn too_many(url: &StoreUrl) -> Error {
    Error::new(ErrorKind::Unavailable, "too many stores are being opened, or do not answer")
        .during("open", url)
        .context("at most", OPENING_MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
