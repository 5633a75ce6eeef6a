//! The flush of a workspace's tree, whose failures are counted: the kernel tells of each one once.

use super::Workspace;
use persist_core::{Error, ErrorKind, Result, Retry, directory::HeldTree, progress::CallOptions};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many flushes of a tree have failed.
#[derive(Debug, Default)]
pub(super) struct Failures(AtomicU64);

impl Workspace {
    /// How many times this node could not write down what was written into the tree, since the workspace is served.
    /// Perhaps it lost some of it: the kernel forgets what it could not write, and the next flush knows nothing of it
    /// (syncfs(2)). Whoever sees the number grow on behalf of nobody tells whoever asks next.
    pub fn failed_flushes(&self) -> u64 {
        self.served().failures.0.load(Relaxed)
    }

    /// Makes everything durable that was written into the tree before the call.
    pub(super) async fn flush(&self, live: &HeldTree, call: &CallOptions) -> Result<()> {
        let flushed = self.served().spaces.near().flush(live, call).await;
        flushed.inspect_err(|error| self.count_failure(error))
    }

    /// Counts `error` if it says that what was written may be lost.
    pub(super) fn count_failure(&self, error: &Error) {
        if (error.kind(), error.retry()) == (ErrorKind::Unavailable, Retry::Verify) {
            self.served().failures.0.fetch_add(1, Relaxed);
        }
    }
}
