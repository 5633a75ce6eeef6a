//! File work off the asynchronous threads.

use crate::error::{Error, Result};
use tokio::{runtime::Handle, task::JoinHandle};

/// Runs `work` on a blocking thread and waits for it. Dropping the future lets `work` run to its end,
/// which the callers keep near: a batch of entries, a chunk of a file.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(start(work)?).await
}

/// Starts `work`; [`joined`] waits for it.
pub(crate) fn start<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    start_with(|runtime| runtime.spawn_blocking(work))
}

/// Starts something on the runtime that this is called in.
pub(crate) fn start_with<T>(spawn: impl FnOnce(&Handle) -> JoinHandle<T>) -> Result<JoinHandle<T>> {
    let runtime = Handle::try_current().map_err(|e| {
        Error::invalid("runtime", "no tokio runtime here").with_source(e).advise("call this within a runtime")
    })?;
    Ok(spawn(&runtime))
}

/// Waits for what was started.
pub(crate) async fn joined<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    task.await.map_err(|e| Error::internal("blocking work did not end well").with_source(e))?
}
