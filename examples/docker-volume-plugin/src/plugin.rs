//! The calls of the protocol, each within a deadline.

mod claims;
mod volumes;

use crate::{
    known::Known,
    stores::{Opener, Stores},
    turns::Turns,
};
use persist::{Error, ErrorKind, Node, OpenMode, Result, Retry, StoreUrl, VolumeName};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// What the plugin is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store of volumes that are created without `-o store`.
    pub default_store: Option<StoreUrl>,
    /// Whether the first volume of a store may make the store.
    pub open_mode: OpenMode,
    /// The host that attaches.
    pub node: Node,
    /// How long a call may take that changes something. Docker gives up after two minutes.
    pub change_limit: Duration,
    /// How long a call may take that only looks. Docker gives up after one minute.
    pub look_limit: Duration,
}

/// The plugin, without its socket.
#[derive(Debug)]
pub struct Plugin {
    settings: Settings,
    known: Known,
    stores: Stores,
    turns: Turns<VolumeName>,
    tasks: TaskTracker,
}

/// By how much a call may outlast the deadline that the store was given, to say what happened.
const GRACE: Duration = Duration::from_secs(1);

/// How long a store may take to close before the process ends without it.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

impl Plugin {
    /// A plugin that knows the volumes in `known` and opens their stores by `opener`.
    pub fn new(settings: Settings, known: Known, opener: Opener) -> Arc<Self> {
        let tasks = TaskTracker::new();
        let stores = Stores::new(opener, tasks.clone());
        Arc::new(Self { settings, known, stores, turns: Turns::default(), tasks })
    }

    /// Waits for the calls that are under way, as long as they may take, and closes the stores. Nothing is
    /// detached: containers go on.
    pub async fn close(&self) {
        self.tasks.close();
        if tokio::time::timeout(self.patience(), self.tasks.wait()).await.is_err() {
            tracing::warn!("calls into a store do not end: left to the end of this process");
        }
        self.stores.close(CLOSE_LIMIT).await;
    }

    /// How long a call may take, with what it needs to say how it ended.
    pub fn patience(&self) -> Duration {
        self.settings.change_limit + GRACE
    }

    /// Runs `work` to its end, whether the caller waits for it or not, and tells the caller within `limit`.
    /// What came too late for the caller is given to `too_late`.
    async fn finish<T, U>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
        too_late: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        U: Future<Output = ()> + Send,
    {
        let (tell, mut told) = oneshot::channel();
        self.tasks.spawn(async move {
            if let Err(Ok(made)) = tell.send(work.await) {
                too_late(made).await;
            }
        });
        match tokio::time::timeout(limit + GRACE, &mut told).await {
            Ok(told) => told.unwrap_or_else(|_| Err(Error::internal("a task of the plugin panicked"))),
            Err(_) => {
                told.close();
                told.try_recv().unwrap_or_else(|_| Err(past(limit)))
            }
        }
    }

    /// As `finish`, for a change that is kept however late it comes: a repeat finds it done.
    async fn change<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.finish(self.settings.change_limit, work, |_| async {}).await
    }

    /// As `finish`, for a look.
    async fn look<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.finish(self.settings.look_limit, work, |_| async {}).await
    }

    fn missing(name: &VolumeName) -> Error {
        Error::not_found("no such volume of this plugin")
            .context("volume", name)
            .advise("create it by `docker volume create`")
    }
}

fn past(limit: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, "the store did not answer in time")
        .with_retry(Retry::Verify)
        .context("seconds", limit.as_secs())
        .advise("the call may still come to its end: look at the volume, then repeat it")
}
