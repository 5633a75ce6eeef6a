//! Reading content and pages out of packs: few large requests, each frame opened once, every chunk checked.

mod load;
mod runs;
mod shelf;

pub(crate) use load::KnownBytes;

use crate::{
    format::{
        crypt::IdKey,
        fmt::Keyring,
        frame::chunk_of,
        location::{ChunkRef, Location},
        table::PackTable,
        tree::Pages,
    },
    keys::Keys,
    transfer::processors::Processors,
};
use async_trait::async_trait;
use bytes::Bytes;
use load::{Loader, UNIT_BYTES};
use object_store::ObjectStore;
use persist_core::{Error, ErrorKind, Result};
use runs::{FrameSpan, RUN_BYTES, Run};
use shelf::{Fetch, Lane, Shelf};
use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// How a [`Fetcher`] reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchOptions {
    /// Memory for what is fetched and kept, in bytes. Half of it holds what is under way, half what was fetched;
    /// the least is 32 MiB.
    pub(crate) memory_bytes: u64,
    /// Requests under way at a time.
    pub(crate) requests: usize,
    /// Whether something keeps the commit's objects from being pruned.
    pub(crate) held: Held,
}

/// What the absence of an object means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// A lease or a pin holds it: its absence is damage.
    Pinned,
    /// Nothing does: it may have been pruned meanwhile.
    Unpinned,
}

/// Room for a few requests of 8 MiB on both sides.
const MEMORY_MIN_BYTES: u64 = 32 << 20;

/// As many requests as the client has connections by default.
const REQUESTS: usize = 16;

impl Default for FetchOptions {
    /// 128 MiB, 16 requests, held.
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, requests: REQUESTS, held: Held::Pinned }
    }
}

/// Where a commit's content comes from.
pub(crate) struct Origin {
    /// The data client: it tries again inside.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The names of the store's objects.
    pub(crate) keys: Keys,
    /// The packs of the commit.
    pub(crate) table: Arc<PackTable>,
    /// The keys of the volume.
    pub(crate) keyring: Keyring,
    /// What of the objects is at hand already.
    pub(crate) known: Vec<KnownBytes>,
}

/// Reads chunks and pages by their locations.
///
/// # Concurrency
/// Readers of one frame share one request. Runs that are planned are fetched ahead by tasks of the fetcher, which
/// end when it is dropped.
pub(crate) struct Fetcher {
    core: Arc<Core>,
    ids: IdKey,
    tasks: Mutex<JoinSet<()>>,
}

/// What the tasks share with the readers.
struct Core {
    loader: Loader,
    shelf: Mutex<Shelf>,
}

impl Fetcher {
    /// Reads from `origin`.
    pub(crate) fn new(origin: Origin, options: FetchOptions) -> Self {
        let Origin { store, keys, table, keyring, known } = origin;
        let half = options.memory_bytes.max(MEMORY_MIN_BYTES) / 2;
        let memory_units = u32::try_from(half / UNIT_BYTES).unwrap_or(u32::MAX);
        let permits = usize::try_from(memory_units).unwrap_or(Semaphore::MAX_PERMITS);
        let ids = keyring.secret().ids();
        let loader = Loader {
            store,
            keys,
            table,
            keyring,
            held: options.held,
            known,
            requests: Semaphore::new(options.requests.max(1)),
            memory: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            memory_units,
            processors: Processors::all(),
        };
        // Half of what is kept may be ahead of the reader.
        let ahead = half / RUN_BYTES / 2;
        let core = Arc::new(Core { loader, shelf: Mutex::new(Shelf::new(half, ahead)) });
        Self { core, ids, tasks: Mutex::default() }
    }

    /// The bytes of a chunk. What is not what was written is asked for once more: it may have changed on its way.
    ///
    /// # Errors
    /// `Corrupt` naming the object if it is not what was written or is gone, `NotFound` if it is gone and nothing
    /// held it; as the store reports them, after the client has tried again.
    ///
    /// # Cancellation
    /// Drop the future; another reader of the same frame goes on.
    pub(crate) async fn chunk(&self, chunk: &ChunkRef) -> Result<Bytes> {
        let frame = self.frame(&chunk.at).await?;
        match chunk_of(&frame, chunk, &self.ids) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let (opened, _) = self.core.loader.load(&Run::single(FrameSpan::of(&chunk.at))).await?;
                // What is stored so is no better the second time: the first error says where it is.
                opened
                    .get(&chunk.at.frame_offset)
                    .map_or(Err(error), |frame| chunk_of(frame, chunk, &self.ids))
            }
            read => read,
        }
    }

    /// These chunks will be read, in this order: what lies together is fetched together, once the first is read.
    pub(crate) fn plan<'a>(&self, chunks: impl IntoIterator<Item = &'a ChunkRef>) {
        let spans = chunks.into_iter().map(|chunk| FrameSpan::of(&chunk.at)).collect();
        self.core.shelf().plan(Lane::Content, spans);
    }

    /// Names chunks and pages.
    pub(crate) fn ids(&self) -> &IdKey {
        &self.ids
    }

    async fn frame(&self, at: &Location) -> Result<Bytes> {
        let wanted = self.core.shelf().want(FrameSpan::of(at));
        self.fetch_ahead(wanted.ahead);
        let opened = self.core.opened(&wanted.fetch).await?;
        let frame = opened.get(&at.frame_offset).cloned();
        frame.ok_or_else(|| Error::internal("a frame was not fetched with its run").context("at", at))
    }

    fn fetch_ahead(&self, ahead: Vec<Arc<Fetch>>) {
        if ahead.is_empty() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        for fetch in ahead {
            let core = Arc::clone(&self.core);
            // Whoever needs it tries again and is told what is wrong.
            tasks.spawn(async move { drop(core.opened(&fetch).await) });
        }
    }
}

impl Core {
    async fn opened<'a>(&self, fetch: &'a Arc<Fetch>) -> Result<&'a shelf::Opened> {
        fetch
            .opened
            .get_or_try_init(|| async {
                let (opened, bytes) = self.loaded(fetch).await?;
                self.shelf().fetched(fetch, bytes);
                Ok(opened)
            })
            .await
    }

    async fn loaded(&self, fetch: &Fetch) -> Result<(shelf::Opened, u64)> {
        match self.loader.load(&fetch.run).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => self.loader.load(&fetch.run).await,
            loaded => loaded,
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pages for Fetcher {
    async fn page(&self, at: &Location) -> Result<Bytes> {
        let frame = self.frame(at).await?;
        let place = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (begin, end) = (place(at.offset), place(at.offset).saturating_add(place(at.bytes)));
        if end > frame.len() {
            return Err(Error::new(ErrorKind::Corrupt, "a tree page lies beyond its frame").context("at", at));
        }
        Ok(frame.slice(begin..end))
    }

    fn plan(&self, pages: &[Location]) {
        self.core.shelf().plan(Lane::Pages, pages.iter().map(FrameSpan::of).collect());
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("ids", &self.ids).finish_non_exhaustive()
    }
}
