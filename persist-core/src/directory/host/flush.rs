//! The flush of a whole filesystem, with errors that reach everybody whose writes they may have lost.

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    linux::cause::cause,
    progress::Meter,
};
use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Flushes a filesystem through one descriptor that was opened before the first write.
///
/// The kernel reports a failed write-back once a descriptor (syncfs(2)), to whoever asks next; but it may
/// have lost the writes of any volume. So a failure is remembered, and each tree that existed then is told
/// once, at its next flush.
#[derive(Debug)]
pub(super) struct Flusher {
    root: File,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many flushes failed.
    failures: u64,
    /// Up to which failure a tree has been told, or was begun after it. Empty while nothing ever failed.
    told: HashMap<PathBuf, u64>,
}

impl Flusher {
    /// Opens the descriptor.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let root = File::open(root).map_err(|error| cause(error, "open", root.display()))?;
        Ok(Self { root, state: Mutex::default() })
    }

    /// Makes everything durable that was written to the filesystem before the call. What fails once `meter` is stopped
    /// counts as told to nobody.
    pub(super) fn flush(&self, at: &Path, meter: &Meter) -> Result<()> {
        self.flush_by(at, meter, || rustix::fs::syncfs(&self.root))
    }

    /// How many flushes have failed until now.
    pub(super) fn failures(&self) -> u64 {
        self.state().failures
    }

    /// Says that the tree `at` was begun after the first `failures` failures: none of them was about it, nor about its
    /// volume if it is the volume's first. One that came while it was copied may have been.
    pub(super) fn born(&self, at: &Path, failures: u64) {
        if failures == 0 {
            return;
        }
        let mut state = self.state();
        state.told.insert(at.to_owned(), failures);
        let trees = at.parent();
        let is_first = trees.and_then(|trees| trees.read_dir().ok()).is_some_and(|found| found.count() <= 1);
        if let Some(volume) = trees.and_then(Path::parent).filter(|_| is_first) {
            state.told.insert(volume.to_owned(), failures);
        }
    }

    /// Says that the tree `at` is gone.
    pub(super) fn gone(&self, at: &Path) {
        self.state().told.remove(at);
    }

    /// The lock is held meanwhile: of two flushes at once the kernel would tell one of a failure, and the
    /// other must not have returned by then.
    fn flush_by(
        &self,
        at: &Path,
        meter: &Meter,
        syncfs: impl FnOnce() -> rustix::io::Result<()>,
    ) -> Result<()> {
        let mut state = self.state();
        let result = syncfs();
        if result.is_err() {
            state.failures += 1;
        }
        let failures = state.failures;
        let known = state.told.get(at).copied().unwrap_or(0);
        // Whoever waited may have gone, and repeats the call: it must not hear that all is well.
        if known < failures && !meter.is_stopped() {
            state.told.insert(at.to_owned(), failures);
        }
        drop(state);
        result.map_err(|error| cause(error, "flush", at.display()).with_retry(Retry::Verify))?;
        if known == failures {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "an earlier flush of this filesystem failed")
            .with_retry(Retry::Verify)
            .during("flush", at.display())
            .advise("read the kernel log, check what was written last, then flush again"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// Of a call that somebody waits for.
    fn heard() -> Meter {
        Meter::default()
    }

    #[test]
    fn a_failure_reaches_each_tree_that_may_have_lost_something_once() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(dir.path()).unwrap();
        let [a, b, new] = ["a", "b", "new"].map(|name| dir.path().join(name));
        flusher.flush(&a, &heard()).unwrap();
        let failed = flusher.flush_by(&a, &heard(), || Err(Errno::IO)).unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (ErrorKind::Unavailable, Retry::Verify));
        flusher.born(&new, flusher.failures());
        flusher.flush(&new, &heard()).unwrap();
        flusher.flush(&a, &heard()).unwrap();
        let told = flusher.flush(&b, &heard()).unwrap_err();
        assert_eq!((told.kind(), told.retry()), (ErrorKind::Unavailable, Retry::Verify), "{told}");
        flusher.flush(&b, &heard()).unwrap();
    }

    #[test]
    fn a_failure_while_a_tree_is_copied_reaches_the_copy_though_another_was_told_first() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(dir.path()).unwrap();
        let [other, copy] = ["other", "copy"].map(|name| dir.path().join(name));
        for _ in 0..2 {
            let begun = flusher.failures();
            flusher.flush_by(&other, &heard(), || Err(Errno::IO)).unwrap_err();
            flusher.born(&copy, begun);
            let told = flusher.flush(&copy, &heard()).unwrap_err();
            assert_eq!((told.kind(), told.retry()), (ErrorKind::Unavailable, Retry::Verify), "{told}");
            flusher.flush(&copy, &heard()).unwrap();
            flusher.gone(&copy);
        }
    }

    #[test]
    fn a_failure_that_nobody_waited_for_is_told_to_whoever_repeats_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(dir.path()).unwrap();
        let (at, dropped) = (dir.path().join("a"), heard());
        // Its caller goes while the kernel writes.
        let failing = || {
            dropped.stop();
            Err(Errno::IO)
        };
        flusher.flush_by(&at, &dropped, failing).unwrap_err();
        let repeated = flusher.flush(&at, &heard()).unwrap_err();
        assert_eq!((repeated.kind(), repeated.retry()), (ErrorKind::Unavailable, Retry::Verify));
        flusher.flush(&at, &heard()).unwrap();
    }

    #[test]
    fn a_volume_that_is_made_after_a_failure_is_not_told_and_an_older_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(dir.path()).unwrap();
        let [old, new] = ["old", "new"].map(|volume| dir.path().join(volume));
        let make = |volume: &Path, tree: &str| {
            let at = volume.join("data").join(tree);
            std::fs::create_dir_all(&at).unwrap();
            flusher.born(&at, flusher.failures());
        };
        make(&old, "1");
        flusher.flush_by(dir.path(), &heard(), || Err(Errno::IO)).unwrap_err();
        make(&new, "1");
        make(&old, "2");
        flusher.flush(&new, &heard()).unwrap();
        assert!(flusher.flush(&old, &heard()).is_err());
    }

    #[test]
    fn nothing_is_remembered_while_nothing_fails() {
        let dir = tempfile::tempdir().unwrap();
        let flusher = Flusher::new(dir.path()).unwrap();
        for at in ["a", "b"].map(|name| dir.path().join(name)) {
            flusher.born(&at, flusher.failures());
            flusher.flush(&at, &heard()).unwrap();
        }
        assert!(flusher.state().told.is_empty());
    }
}
