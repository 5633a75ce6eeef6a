//! A few threads that share jobs, newest first, until none is left.

use crate::{
    error::{Error, Result},
    progress::Meter,
};
use std::{
    num::NonZeroUsize,
    ops::Range,
    panic::resume_unwind,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

/// How many threads work on a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Threads {
    /// As many as this process may run at once, at least two (one waits for the device while the other
    /// works), at most sixteen (beyond, the filesystem's own locks decide).
    #[default]
    Auto,
    /// This many, as far as the limit of open files allows.
    Exactly(NonZeroUsize),
}

/// What this process may use: how many workers, and how many descriptors they keep open between jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Means {
    pub(crate) threads: usize,
    pub(crate) kept_descriptors: usize,
}

/// Descriptors that the rest of the process keeps, as far as we can leave them room.
const OTHERS_DESCRIPTORS: u64 = 24;

/// Descriptors that one worker holds at most at once: a listing, two directories, two files, and one
/// while a path is resolved.
const WORKER_DESCRIPTORS: u64 = 6;

/// Names that are worth giving to a worker that waits: a job costs about as much as one of them.
const PART_MIN: usize = 16;

impl Threads {
    /// The means under this process's limit of open files (getrlimit(2)).
    pub(crate) fn means(self) -> Means {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        self.means_under(limit.unwrap_or(1 << 20))
    }

    fn means_under(self, limit: u64) -> Means {
        let asked = match self {
            Self::Exactly(threads) => threads.get(),
            Self::Auto => thread::available_parallelism().map_or(2, NonZeroUsize::get).clamp(2, 16),
        };
        let room = limit.saturating_sub(OTHERS_DESCRIPTORS);
        let threads = usize::try_from(room / 2 / WORKER_DESCRIPTORS).unwrap_or(asked).clamp(1, asked);
        let left = room.saturating_sub(threads as u64 * WORKER_DESCRIPTORS);
        Means { threads, kept_descriptors: usize::try_from(left / 4).unwrap_or(0).clamp(2, 256) }
    }
}

/// The jobs that are left, and who works.
#[derive(Debug)]
pub(crate) struct Crew<'a, J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    idle: AtomicUsize,
    meter: &'a Meter,
}

#[derive(Debug)]
struct State<J> {
    jobs: Vec<J>,
    busy: usize,
    error: Option<Error>,
}

impl<'a, J: Send> Crew<'a, J> {
    /// Runs `jobs`, and the jobs that they push, on `threads` threads (this one is the first), each with a
    /// state of its own, and returns those states.
    ///
    /// # Errors
    /// The first error of a job, or that `meter` was stopped; jobs that had not begun are dropped.
    pub(crate) fn run<S: Send>(
        threads: usize,
        jobs: Vec<J>,
        meter: &'a Meter,
        begin: impl Fn() -> S + Sync,
        work: impl Fn(J, &mut S, &Self) -> Result<()> + Sync,
    ) -> Result<Vec<S>> {
        let crew = Self {
            state: Mutex::new(State { jobs, busy: 0, error: None }),
            wake: Condvar::new(),
            idle: AtomicUsize::new(0),
            meter,
        };
        let worker = || {
            let mut state = begin();
            crew.work(&mut state, &work);
            state
        };
        let states = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
            let mut states = vec![worker()];
            states.extend(others.into_iter().map(|t| t.join().unwrap_or_else(|panic| resume_unwind(panic))));
            states
        });
        match crew.state.into_inner().unwrap_or_else(PoisonError::into_inner).error {
            Some(error) => Err(error),
            None => Ok(states),
        }
    }

    /// Adds jobs; the last one is taken first.
    pub(crate) fn push(&self, jobs: impl IntoIterator<Item = J>) {
        let mut state = self.lock();
        let before = state.jobs.len();
        if state.error.is_none() {
            state.jobs.extend(jobs);
        }
        match state.jobs.len() - before {
            0 => {}
            1 => self.wake.notify_one(),
            _ => self.wake.notify_all(),
        }
    }

    /// Cuts off the second half of `range` if a worker waits for something to do and it is worth a job.
    pub(crate) fn share(&self, range: &mut Range<usize>) -> Option<Range<usize>> {
        if self.idle.load(Relaxed) == 0 || range.len() < 2 * PART_MIN {
            return None;
        }
        let middle = range.start + range.len() / 2;
        let part = middle..range.end;
        range.end = middle;
        Some(part)
    }

    fn work<S>(&self, own: &mut S, work: &impl Fn(J, &mut S, &Self) -> Result<()>) {
        while let Some(job) = self.next() {
            let done = Done(self);
            if let Err(error) = self.meter.check().and_then(|()| work(job, own, self)) {
                self.fail(error);
            }
            drop(done);
        }
    }

    fn next(&self) -> Option<J> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            self.idle.fetch_add(1, Relaxed);
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            self.idle.fetch_sub(1, Relaxed);
        }
    }

    fn fail(&self, error: Error) {
        let mut state = self.lock();
        state.error.get_or_insert(error);
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that ends, by return or by panic: the others must not wait for it.
struct Done<'c, 'a, J: Send>(&'c Crew<'a, J>);

impl<J: Send> Drop for Done<'_, '_, J> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        if state.busy == 0 && state.jobs.is_empty() {
            self.0.wake.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn halve(n: u64, sum: &mut u64, crew: &Crew<'_, u64>) -> Result<()> {
        match n {
            1 => *sum += 1,
            n => crew.push([n / 2, n - n / 2]),
        }
        Ok(())
    }

    #[test]
    fn every_job_is_done_once() {
        for threads in [1, 2, 7] {
            let sums = Crew::run(threads, vec![10_000], &Meter::default(), || 0, halve).unwrap();
            assert_eq!((sums.len(), sums.iter().sum::<u64>()), (threads, 10_000));
        }
    }

    #[test]
    fn the_first_error_ends_all_workers() {
        let failing = |n: u64, sum: &mut u64, crew: &Crew<'_, u64>| match n {
            1 => Err(Error::invalid("n", "one")),
            n => halve(n, sum, crew),
        };
        let error = Crew::run(3, vec![1 << 40], &Meter::default(), || 0, failing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_stopped_meter_ends_the_work() {
        let meter = Meter::default();
        let endless = |n: u64, _: &mut (), crew: &Crew<'_, u64>| {
            meter.stop();
            crew.push([n]);
            Ok(())
        };
        assert_eq!(Crew::run(2, vec![1], &meter, || (), endless).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_low_limit_of_open_files_leaves_room_for_the_process() {
        for limit in [40, 64, 256, 1024, 1 << 20] {
            let means = Threads::Exactly(NonZeroUsize::new(16).unwrap()).means_under(limit);
            // Two descriptors a kept directory, and listings that wait.
            let most = means.threads as u64 * WORKER_DESCRIPTORS + 3 * means.kept_descriptors as u64;
            assert!(most + OTHERS_DESCRIPTORS <= limit, "{limit}: {means:?}");
        }
    }
}
