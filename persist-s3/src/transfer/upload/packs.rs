//! Packs on their way to the bucket: at most so many at once.

use crate::{
    client::{self, Effect},
    format::{
        fmt::Keyring,
        frame::{Compression, Compressor},
        pack::{Pack, PackBuilder, PackSlot},
        table::{PackEntry, PackTable},
    },
    keys::{Keys, Part},
};
use object_store::{ObjectStore, PutOptions, PutPayload};
use persist_core::{Epoch, Error, Result, clock::Entropy};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

/// Where the packs of an upload go, and under which names.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// The bucket; this client repeats by itself what failed for the moment.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The names of the store's objects.
    pub(crate) keys: Keys,
    /// The volume and its keys.
    pub(crate) keyring: Keyring,
    /// The writer's epoch.
    pub(crate) epoch: Epoch,
    /// The number of the session's next pack: one counter for all uploads under this epoch, so that no
    /// number is used twice.
    pub(crate) numbers: Arc<AtomicU64>,
    /// Makes the names of packs unlike every other one.
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The packs of one upload.
#[derive(Debug)]
pub(super) struct Packs {
    to: Destination,
    compression: Compression,
    runtime: Handle,
    room: Arc<Semaphore>,
    idle: Mutex<Vec<Compressor>>,
    table: Arc<Mutex<PackTable>>,
    /// Owned here: dropped with the upload, they stop at their next await.
    puts: Mutex<JoinSet<Result<u64>>>,
    sent: AtomicU64,
}

impl Packs {
    pub(super) fn new(
        to: Destination,
        table: PackTable,
        compression: Compression,
        in_flight: usize,
    ) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|e| {
            Error::invalid("runtime", "no tokio runtime here")
                .with_source(e)
                .advise("call this within a runtime")
        })?;
        Ok(Self {
            to,
            compression,
            runtime,
            room: Arc::new(Semaphore::new(in_flight)),
            idle: Mutex::new(Vec::new()),
            table: Arc::new(Mutex::new(table)),
            puts: Mutex::new(JoinSet::new()),
            sent: AtomicU64::new(0),
        })
    }

    /// An empty pack with the next index and the next number.
    pub(super) fn open(&self) -> Result<PackBuilder> {
        let slot = PackSlot {
            volume: self.to.keyring.volume().clone(),
            epoch: self.to.epoch,
            number: self.to.numbers.fetch_add(1, Relaxed),
            index: locked(&self.table).reserve()?,
        };
        Ok(PackBuilder::new(slot, self.to.keyring.writing()))
    }

    /// Waits until another pack may be under way.
    ///
    /// # Errors
    /// That of a pack that could not be sent.
    pub(super) async fn room(&self) -> Result<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        while let Some(put) = locked(&self.puts).try_join_next() {
            self.sent.fetch_add(outcome(put)?, Relaxed);
        }
        room.map_err(|e| Error::internal("an upload's limit is gone").with_source(e))
    }

    /// Finishes a pack; it is part of the commit, or is sent by the caller.
    pub(super) fn finish(&self, pack: PackBuilder) -> Result<Pack> {
        let mut nonce = [0; 16];
        self.to.entropy.fill(&mut nonce);
        self.with_compressor(|compressor| pack.finish(compressor, nonce))
    }

    /// Sends a pack; without room, as soon as there is some.
    pub(super) fn send(self: &Arc<Self>, pack: PackBuilder, room: Option<OwnedSemaphorePermit>) {
        let packs = Arc::downgrade(self);
        let (semaphore, to, table) = (Arc::clone(&self.room), self.to.clone(), Arc::clone(&self.table));
        let runtime = self.runtime.clone();
        let sending = async move {
            let _room = match room {
                Some(room) => Some(room),
                None => semaphore.acquire_owned().await.ok(),
            };
            let stopped = || Error::internal("an upload sends a pack after its end");
            let finishing = packs.upgrade().ok_or_else(stopped)?;
            let pack = runtime
                .spawn_blocking(move || finishing.finish(pack))
                .await
                .map_err(|e| Error::internal("a pack was not finished").with_source(e))??;
            put(&to, &pack).await?;
            locked(&table).put(pack.slot.index, PackEntry::of(&pack));
            Ok(u64::from(pack.bytes))
        };
        locked(&self.puts).spawn_on(sending, &self.runtime);
    }

    /// Waits for all packs; how many bytes were sent.
    pub(super) async fn settle(&self) -> Result<u64> {
        let mut puts = std::mem::take(&mut *locked(&self.puts));
        while let Some(put) = puts.join_next().await {
            self.sent.fetch_add(outcome(put)?, Relaxed);
        }
        Ok(self.sent.load(Relaxed))
    }

    /// The table, with every pack that was sent.
    pub(super) fn table(&self) -> PackTable {
        locked(&self.table).clone()
    }

    /// Lends a compressor to `work`, which blocks.
    pub(super) fn with_compressor<R>(&self, work: impl FnOnce(&mut Compressor) -> Result<R>) -> Result<R> {
        let idle = locked(&self.idle).pop();
        let mut compressor = match idle {
            Some(compressor) => compressor,
            None => Compressor::new(self.compression)?,
        };
        let done = work(&mut compressor);
        locked(&self.idle).push(compressor);
        done
    }
}

/// Its name is used once and names its content: sent twice, it is the same object.
async fn put(to: &Destination, pack: &Pack) -> Result<()> {
    let payload: PutPayload = pack.parts.iter().cloned().collect();
    let path = to.keys.of(to.keyring.volume(), Part::Pack(pack.name.clone()));
    to.store
        .put_opts(&path, payload, PutOptions::default())
        .await
        .map(drop)
        .map_err(|e| client::error(&e, Effect::Write).during("upload", path))
}

fn outcome(put: Result<Result<u64>, tokio::task::JoinError>) -> Result<u64> {
    put.map_err(|e| Error::internal("a pack's upload did not end well").with_source(e))?
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
