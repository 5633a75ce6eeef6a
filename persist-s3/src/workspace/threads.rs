//! File work off the asynchronous threads.

use persist_core::{Error, Result, progress::Meter};

/// Runs `work` on a thread that may block. Dropping the future tells it to stop at its next safe point.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Meter) -> Result<T> + Send + 'static,
) -> Result<T> {
    let meter = Meter::default();
    let _stop = StopOnDrop(meter.clone());
    metered(meter, work).await
}

/// As [`blocking`], counting into the caller's meter and stopped by it alone.
pub(super) async fn metered<T: Send + 'static>(
    meter: Meter,
    work: impl FnOnce(&Meter) -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(move || work(&meter)).await;
    done.unwrap_or_else(|e| Err(Error::internal("blocking work did not end well").with_source(e)))
}

/// Stops its meter when it is dropped.
#[derive(Debug)]
pub(super) struct StopOnDrop(pub(super) Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
