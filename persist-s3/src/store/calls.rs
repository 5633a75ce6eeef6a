//! Running calls: with progress, a deadline, and an owner that waits for them at close.

use persist_core::{
    Error, ErrorKind, Result,
    progress::{CallOptions, Meter, REPORT_EVERY, Reporter},
};
use std::{future::Future, time::Instant};
use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Everything that runs for one opened store.
#[derive(Debug, Default)]
pub(super) struct Calls {
    tracker: TaskTracker,
    closing: CancellationToken,
}

impl Calls {
    /// Runs `work` in the caller's task. A deadline that passes drops it, as a caller does who drops the
    /// future: what it had sent by then is a crash in small, which the next call resolves.
    ///
    /// # Errors
    /// Those of `work`; `Unavailable` past the deadline, or once the store is closed.
    pub(super) async fn run<T, F>(&self, call: &CallOptions, work: impl FnOnce(Meter) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.check_open()?;
        let _under_way = self.tracker.token();
        let stop = StopOnDrop(Meter::default());
        let meter = &stop.0;
        if call.deadline.is_some_and(|deadline| deadline.is_zero()) {
            return Err(out_of_time());
        }
        let mut reporter = Reporter::new(call.progress.clone(), meter, Instant::now());
        let mut ticks = time::interval(REPORT_EVERY);
        let deadline = async {
            match call.deadline {
                Some(after) => time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        let work = work(meter.clone());
        tokio::pin!(deadline, work);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut work => break result,
                () = &mut deadline => break Err(out_of_time()),
                _ = ticks.tick() => reporter.tick(meter, Instant::now()),
            }
        };
        reporter.tick(meter, Instant::now());
        result
    }

    /// Runs a task that outlives the call that began it; it ends by itself, or when `closing` says so.
    ///
    /// # Errors
    /// `Unavailable` once the store is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.check_open()?;
        self.tracker.spawn(task);
        Ok(())
    }

    /// Resolves when the store is being closed.
    pub(super) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Refuses new calls and waits for those under way.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// # Errors
    /// `Unavailable` once the store is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if !self.closing.is_cancelled() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "the store was closed").advise("open it again"))
    }
}

/// Threads that work for a call stop at their next safe point when it is over.
struct StopOnDrop(Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn out_of_time() -> Error {
    Error::new(ErrorKind::Unavailable, "past its deadline")
        .advise("repeat the call; give it a longer deadline if it ran out of time")
}
