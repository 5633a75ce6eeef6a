//! How much of what only computes is done at the same time: as much as there are processors. More threads than that
//! gain nothing, and an allocator keeps memory for each of them.

use persist_core::{Error, Result};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// More than one transfer can feed.
const MOST: usize = 16;

/// The processors that a transfer may use. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Processors {
    count: usize,
    free: Arc<Semaphore>,
}

impl Processors {
    /// Those that this process may run on, two at the least: one may wait for the other's memory.
    pub(super) fn all() -> Self {
        let count = std::thread::available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, MOST);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Does `work` on a blocking thread, once a processor is free.
    ///
    /// # Errors
    /// That of the work; `Internal` if it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let free = Arc::clone(&self.free).acquire_owned().await;
        let free = free.map_err(|e| Error::internal("a transfer's processors are gone").with_source(e))?;
        let working = spawn_blocking(move || {
            // Also where nobody waits for the work any more.
            let _free = free;
            work()
        });
        working
            .await
            .map_err(|e| Error::internal("a thread of a transfer did not end well").with_source(e))?
    }
}
