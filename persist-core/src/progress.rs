//! What a long call is doing, how far it is, and how it is told to stop.
//!
//! Workers count into a [`Meter`]; the asynchronous side reads it on a timer and calls the listener, so
//! that a stall is visible although the worker itself hangs.

use crate::error::{Error, ErrorKind, Result};
use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The stage that a long call is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Phase {
    /// Waiting for another call or holder to leave.
    Wait,
    /// Counting what there is to do.
    Scan,
    /// Copying, cloning, uploading or downloading.
    Transfer,
    /// Comparing or checking.
    Verify,
    /// Making it durable.
    Flush,
    /// Making it visible.
    Publish,
    /// Removing what is no longer needed.
    Remove,
}

const PHASES: [Phase; 7] =
    [Phase::Wait, Phase::Scan, Phase::Transfer, Phase::Verify, Phase::Flush, Phase::Publish, Phase::Remove];

/// How far a long call is. Numbers never go back within one phase.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// The stage.
    pub phase: Phase,
    /// Bytes of file content done in this phase.
    pub bytes: u64,
    /// Entries (files, directories, links, ...) done in this phase.
    pub files: u64,
    /// Bytes there are to do, where known.
    pub total_bytes: Option<u64>,
    /// Entries there are to do, where known.
    pub total_files: Option<u64>,
    /// Bytes per second since the last report.
    pub bytes_per_second: u64,
    /// For how long nothing has moved; `None` while something moves.
    pub stalled: Option<Duration>,
}

/// Who listens to the progress of a call; `ProgressListener::default()` listens to nothing.
///
/// The listener is called on an asynchronous thread, at most every [`REPORT_EVERY`]: it must not block.
#[derive(Clone, Default)]
pub struct ProgressListener(Option<Arc<Listener>>);

type Listener = dyn Fn(&Progress) + Send + Sync;

/// How often a listener is called: often enough for a display, seldom enough to cost nothing.
pub const REPORT_EVERY: Duration = Duration::from_millis(200);

/// After how long without movement a call is reported as stalled: longer than a disk's longest retry
/// that users regard as normal.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

impl ProgressListener {
    /// Calls `listener` while the call runs, and once at its end.
    pub fn new(listener: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Reports `progress`.
    pub fn report(&self, progress: &Progress) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}

impl fmt::Debug for ProgressListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ProgressListener(set)" } else { "ProgressListener(none)" })
    }
}

/// What every long call takes: who listens, and until when it may run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// Who listens to the progress.
    pub progress: ProgressListener,
    /// How long the call may take; at the deadline it ends with [`ErrorKind::Unavailable`] at its next
    /// safe point. `None` means as long as it needs.
    pub deadline: Option<Duration>,
}

/// The shared counters of one long call; cheap to clone, counted without locks.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    phase: AtomicU8,
    bytes: AtomicU64,
    files: AtomicU64,
    /// Stored plus one; zero means unknown.
    total_bytes: AtomicU64,
    total_files: AtomicU64,
    stop: AtomicBool,
    stopped: Notify,
    /// Safe points that are left until the meter stops itself.
    #[cfg(test)]
    left: Option<std::sync::Mutex<u64>>,
}

impl Meter {
    /// A meter that stops itself at its safe point `number`, counted from zero.
    #[cfg(test)]
    pub(crate) fn stopping_at(number: u64) -> Self {
        Self(Arc::new(Counters { left: Some(number.into()), ..Counters::default() }))
    }

    #[cfg(test)]
    fn count_down(&self) {
        let Some(left) = &self.0.left else { return };
        let mut left = left.lock().unwrap();
        match left.checked_sub(1) {
            Some(fewer) => *left = fewer,
            None => self.stop(),
        }
    }

    /// Enters `phase` and counts from zero again.
    pub fn enter(&self, phase: Phase) {
        let counters = &self.0;
        counters.bytes.store(0, Relaxed);
        counters.files.store(0, Relaxed);
        counters.total_bytes.store(0, Relaxed);
        counters.total_files.store(0, Relaxed);
        counters.phase.store(phase as u8, Relaxed);
    }

    /// Says how much there is to do in this phase.
    pub fn expect(&self, files: u64, bytes: u64) {
        self.0.total_files.store(files.saturating_add(1), Relaxed);
        self.0.total_bytes.store(bytes.saturating_add(1), Relaxed);
    }

    /// Counts entries and bytes as done.
    pub fn add(&self, files: u64, bytes: u64) {
        self.0.files.fetch_add(files, Relaxed);
        self.0.bytes.fetch_add(bytes, Relaxed);
    }

    /// Asks the workers to stop at their next safe point.
    pub fn stop(&self) {
        self.0.stop.store(true, SeqCst);
        self.0.stopped.notify_waiters();
    }

    /// Waits until the workers are asked to stop: for work that waits for somebody who may never answer.
    ///
    /// # Cancellation
    /// Safe at any point.
    pub async fn stopped(&self) {
        let mut stopped = pin!(self.0.stopped.notified());
        // From here on a stop is not missed.
        stopped.as_mut().enable();
        if !self.is_stopped() {
            stopped.await;
        }
    }

    /// Whether the workers were asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(SeqCst)
    }

    /// The safe point of a worker.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] once the call was cancelled or its deadline has passed.
    pub fn check(&self) -> Result<()> {
        #[cfg(test)]
        self.count_down();
        if !self.is_stopped() {
            return Ok(());
        }
        Err(Self::refusal())
    }

    /// What [`check`](Self::check) says once it was stopped.
    pub(crate) fn refusal() -> Error {
        Error::new(ErrorKind::Unavailable, "stopped: cancelled, or past its deadline")
            .advise("repeat the call; give it a longer deadline if it ran out of time")
    }

    /// The state now, without rate and stall, which need two readings.
    pub fn read(&self) -> Progress {
        let counters = &self.0;
        Progress {
            phase: PHASES[usize::from(counters.phase.load(Relaxed)) % PHASES.len()],
            bytes: counters.bytes.load(Relaxed),
            files: counters.files.load(Relaxed),
            total_bytes: counters.total_bytes.load(Relaxed).checked_sub(1),
            total_files: counters.total_files.load(Relaxed).checked_sub(1),
            bytes_per_second: 0,
            stalled: None,
        }
    }
}

/// Turns successive readings of a [`Meter`] into reports with rate and stall.
#[derive(Debug)]
pub struct Reporter {
    listener: ProgressListener,
    last: Progress,
    read_at: Instant,
    moved_at: Instant,
}

impl Reporter {
    /// Starts reporting to `listener` at `now`.
    pub fn new(listener: ProgressListener, meter: &Meter, now: Instant) -> Self {
        Self { listener, last: meter.read(), read_at: now, moved_at: now }
    }

    /// Reads `meter` at `now` and calls the listener.
    pub fn tick(&mut self, meter: &Meter, now: Instant) {
        let mut progress = meter.read();
        let place = |p: &Progress| (p.phase, p.bytes, p.files);
        if place(&progress) != place(&self.last) {
            self.moved_at = now;
        }
        let idle = now.saturating_duration_since(self.moved_at);
        progress.stalled = (idle >= STALLED_AFTER).then_some(idle);
        progress.bytes_per_second = rate(&self.last, &progress, now.saturating_duration_since(self.read_at));
        self.read_at = now;
        self.last = progress;
        self.listener.report(&progress);
    }
}

fn rate(before: &Progress, after: &Progress, elapsed: Duration) -> u64 {
    let from = if before.phase == after.phase { before.bytes } else { 0 };
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
    after.bytes.saturating_sub(from).saturating_mul(1_000_000) / micros
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn a_stall_is_reported_and_ends_with_the_next_byte() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let listener = ProgressListener::new(move |p| sink.lock().unwrap().push(*p));
        let (meter, start) = (Meter::default(), Instant::now());
        let mut reporter = Reporter::new(listener, &meter, start);
        reporter.tick(&meter, start + STALLED_AFTER);
        meter.add(1, 10_000_000);
        reporter.tick(&meter, start + STALLED_AFTER + Duration::from_secs(1));
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0].stalled, Some(STALLED_AFTER));
        assert_eq!((seen[1].stalled, seen[1].bytes_per_second), (None, 10_000_000));
    }

    #[test]
    fn totals_are_unknown_until_they_are_told_and_a_phase_starts_at_zero() {
        let meter = Meter::default();
        meter.enter(Phase::Transfer);
        assert_eq!((meter.read().total_files, meter.read().total_bytes), (None, None));
        meter.expect(0, 7);
        meter.add(1, 7);
        assert_eq!((meter.read().total_files, meter.read().total_bytes), (Some(0), Some(7)));
        meter.enter(Phase::Flush);
        assert_eq!((meter.read().files, meter.read().total_files), (0, None));
    }

    #[test]
    fn a_stopped_meter_ends_its_workers() {
        let meter = Meter::default();
        assert!(meter.check().is_ok());
        meter.clone().stop();
        assert_eq!(meter.check().unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
