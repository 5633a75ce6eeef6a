//! The directories that are still to be compared, shared by the threads that compare.

use crate::tree::entry::TreePath;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A directory to look into, on the sides that have it.
pub(super) struct Job {
    pub(super) path: TreePath,
    pub(super) before: bool,
    pub(super) after: bool,
}

/// Directories that wait, last in first out so that few wait at a time.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    /// Taken and not done: they may still push.
    busy: usize,
    failed: bool,
}

impl Queue {
    pub(super) fn push(&self, job: Job) {
        self.lock().jobs.push(job);
        self.changed.notify_one();
    }

    /// The next job; waits for one while another worker may still push, `None` at the end.
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.failed {
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn done(&self, failed: bool) {
        let mut state = self.lock();
        state.busy -= 1;
        state.failed |= failed;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
