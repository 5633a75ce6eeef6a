//! The blocking work of one call: told to stop with the call, and over when the call returns.

use crate::{
    error::{Error, ErrorKind, Result},
    progress::Meter,
    tree::blocking::{joined, start_with},
};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio_util::task::TaskTracker;

/// Who works for one call.
#[derive(Debug)]
pub(super) struct Workers {
    meter: Meter,
    tasks: TaskTracker,
    over: AtomicBool,
}

impl Workers {
    pub(super) fn new(meter: Meter) -> Self {
        Self { meter, tasks: TaskTracker::new(), over: AtomicBool::new(false) }
    }

    /// The safe point of a worker.
    pub(super) fn check(&self) -> Result<()> {
        self.meter.check()?;
        if self.over.load(Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "the call that this belongs to is over"));
        }
        Ok(())
    }

    pub(super) fn count(&self, entries: usize, bytes: usize) {
        let wide = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.meter.add(wide(entries), wide(bytes));
    }

    /// Runs `work` on a blocking thread, unless the call is over.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check()?;
        joined(start_with(|runtime| self.tasks.spawn_blocking_on(work, runtime))?).await
    }

    /// Ends the work at its next safe point.
    pub(super) fn stop(&self) {
        self.over.store(true, Relaxed);
    }

    /// Waits until nobody works any more.
    pub(super) async fn leave(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
