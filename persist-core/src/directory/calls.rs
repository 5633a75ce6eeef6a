//! Running blocking work for asynchronous callers: with progress, a deadline, and an owner that joins it.

use crate::{
    error::{Error, ErrorKind, Result},
    progress::{CallOptions, Meter, REPORT_EVERY, Reporter},
};
use futures::{FutureExt, Stream, StreamExt, stream};
use std::{future::Future, time::Instant};
use tokio::{sync::mpsc, task::JoinHandle, time};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Everything that runs for one opened store.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    tracker: TaskTracker,
    closing: CancellationToken,
    /// At which of its safe points each step of a call stops itself.
    #[cfg(test)]
    pub(crate) stop_at: std::sync::Mutex<Option<u64>>,
}

impl Calls {
    /// Runs `work` on a thread that may block.
    ///
    /// If the caller drops the future, or its deadline passes, the work is asked to stop at its next safe
    /// point; it is joined by [`close`](Self::close) either way.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: &CallOptions,
        work: impl FnOnce(&Meter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.begin(call)?.run(work).await
    }

    /// Begins a call of several steps, which [`close`](Self::close) lets come to its end.
    ///
    /// # Errors
    /// `Unavailable` once the store is closed.
    pub(crate) fn begin(&self, call: &CallOptions) -> Result<Call> {
        self.check_open()?;
        let (tracker, under_way) = (self.tracker.clone(), self.tracker.token());
        Ok(Call {
            tracker,
            _under_way: under_way,
            options: call.clone(),
            begun: Instant::now(),
            #[cfg(test)]
            stop_at: *self.stop_at.lock().unwrap(),
        })
    }

    /// Runs a task that outlives the call that began it; it ends by itself, or when `closing` says so.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        self.check_open()?;
        self.tracker.spawn(task);
        Ok(())
    }

    /// Resolves when the store is being closed.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// A stream of what `work` gives, at most `AHEAD` items ahead of its reader. `work` runs on a thread
    /// that may block, from the first poll on, and ends early when its reader is gone.
    pub(crate) fn stream<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Output<T>) + Send + 'static,
    ) -> impl Stream<Item = Result<T>> + Send + 'static {
        let (tracker, open) = (self.tracker.clone(), self.check_open());
        async move {
            let (sender, receiver) = mpsc::channel(AHEAD);
            match open {
                Ok(()) => drop(tracker.spawn_blocking(move || work(&mut Output(sender)))),
                Err(error) => drop(sender.try_send(Err(error))),
            }
            stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
        }
        .into_stream()
        .flatten()
    }

    /// Refuses new work and joins what is under way.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn check_open(&self) -> Result<()> {
        if !self.closing.is_cancelled() {
            return Ok(());
        }
        Err(closed())
    }
}

/// The refusal of a call whose deadline has passed before a step of it began.
fn out_of_time() -> Error {
    Error::new(ErrorKind::Unavailable, "past its deadline")
        .advise("repeat the call; give it a longer deadline if it ran out of time")
}

/// The refusal of a store that was closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "the store was closed").advise("open it again")
}

/// How far a stream's producer runs ahead: a few pages of a directory.
const AHEAD: usize = 64;

/// Where the producer of a stream puts its items.
#[derive(Debug)]
pub(crate) struct Output<T>(mpsc::Sender<Result<T>>);

impl<T> Output<T> {
    /// Gives one item; `Err` once nobody reads any more.
    pub(crate) fn give(&mut self, item: Result<T>) -> std::result::Result<(), ReaderGone> {
        self.0.blocking_send(item).map_err(|_| ReaderGone)
    }
}

/// Nobody reads the stream any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReaderGone;

/// A call of several steps, under one deadline.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    tracker: TaskTracker,
    _under_way: TaskTrackerToken,
    options: CallOptions,
    begun: Instant,
    #[cfg(test)]
    stop_at: Option<u64>,
}

impl Call {
    /// Runs one step on a thread that may block, as [`Calls::run`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Meter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut left = self.options.clone();
        left.deadline = left.deadline.map(|deadline| deadline.saturating_sub(self.begun.elapsed()));
        // A step that is quicker than the timer would not see that its time is over.
        if left.deadline.is_some_and(|left| left.is_zero()) {
            return Err(out_of_time());
        }
        let stop = StopOnDrop(self.meter());
        let meter = stop.0.clone();
        let mut task = self.tracker.spawn_blocking(move || work(&meter));
        let result = watch(&mut task, &left, &stop.0).await;
        result.unwrap_or_else(|e| Err(Error::internal("a thread of the store panicked").with_source(e)))
    }

    #[cfg(not(test))]
    fn meter(&self) -> Meter {
        Meter::default()
    }

    #[cfg(test)]
    fn meter(&self) -> Meter {
        self.stop_at.map_or_else(Meter::default, Meter::stopping_at)
    }

    /// Runs a task that outlives the caller's future; joined by `close`.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }
}

struct StopOnDrop(Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn watch<T>(
    task: &mut JoinHandle<Result<T>>,
    call: &CallOptions,
    meter: &Meter,
) -> std::result::Result<Result<T>, tokio::task::JoinError> {
    let mut reporter = Reporter::new(call.progress.clone(), meter, Instant::now());
    let mut ticks = time::interval(REPORT_EVERY);
    let deadline = async {
        match call.deadline {
            Some(after) => time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(deadline);
    let result = loop {
        tokio::select! {
            result = &mut *task => break result,
            () = &mut deadline, if !meter.is_stopped() => meter.stop(),
            _ = ticks.tick() => reporter.tick(meter, Instant::now()),
        }
    };
    reporter.tick(meter, Instant::now());
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::mpsc::channel, time::Duration};

    #[tokio::test]
    async fn a_dropped_call_stops_at_its_safe_point_and_close_joins_it() {
        let calls = Calls::default();
        let (started, on_start) = channel();
        let (ended, on_end) = channel();
        let work = move |meter: &Meter| {
            started.send(()).unwrap();
            while meter.check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        };
        let options = CallOptions::default();
        let mut call = Box::pin(calls.run(&options, work));
        assert!((&mut call).now_or_never().is_none());
        on_start.recv().unwrap();
        drop(call);
        calls.close().await;
        on_end.try_recv().expect("close returned before the work had ended");
        assert_eq!(calls.run(&options, |_| Ok(())).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_call_that_has_begun_comes_to_its_end_before_close_does() {
        let calls = Calls::default();
        let call = calls.begin(&CallOptions::default()).unwrap();
        let mut close = Box::pin(calls.close());
        assert!((&mut close).now_or_never().is_none());
        assert_eq!(call.run(|_| Ok(7)).await.unwrap(), 7);
        assert!((&mut close).now_or_never().is_none());
        drop(call);
        close.await;
    }

    #[tokio::test]
    async fn a_deadline_ends_the_call_with_unavailable() {
        let options = CallOptions::default().with_deadline(Duration::from_millis(1));
        let spin = |meter: &Meter| loop {
            meter.check()?;
            std::thread::yield_now();
        };
        let error = Calls::default().run::<()>(&options, spin).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_stream_ends_its_producer_when_its_reader_goes() {
        let calls = Calls::default();
        let mut numbers = Box::pin(calls.stream(|out| {
            let mut number = 0_u64;
            while out.give(Ok(number)).is_ok() {
                number += 1;
            }
        }));
        assert_eq!(numbers.next().await.unwrap().unwrap(), 0);
        drop(numbers);
        calls.close().await;
    }
}
