//! The suite that every store runs: one named test per promise of the contract.
//!
//! A store is shown to the suite as a [`Subject`]. [`conformance!`](crate::conformance!) makes one
//! `#[test]` of each promise; a runner of one's own (for filesystems that only root can make) takes
//! [`promises`] instead. The numbers are those of `docs/semantics.md`.
//!
//! ```ignore
//! fn fresh() -> std::sync::Arc<dyn persist_core::conformance::Subject> { /* a new, empty store */ }
//! persist_core::conformance!(fresh);
//! ```
//!
//! What a store does not claim is tested as well: it has to be refused, and the store has to be the same
//! before and after. No promise is skipped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: a panic is the verdict of a promise"
)]
#![allow(clippy::cloned_ref_to_slice_refs, reason = "a list of one record reads as what it is")]

mod adopt;
mod attach;
mod bench;
mod cancellation;
mod capabilities;
mod care;
mod claims;
mod deadlines;
mod deletion;
mod detach;
mod hooks;
mod list;
mod listing;
mod names;
mod prune;
mod races;
mod repetition;
mod restore;
mod serving;
mod snapshots;
mod sources;
mod sync;
mod targets;
mod tree;
mod verbs;
mod volumes;
mod vouch;

pub use list::promises;

use crate::{clock::ManualClock, error::Result, holder::Node, store::VolumeStore};
use async_trait::async_trait;
use bench::Bench;
use futures::future::LocalBoxFuture;
use std::{path::Path, sync::Arc};

/// A fresh store, which the suite opens as often as it needs.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// Opens the store as `node`, independently of every opening before it: with its own locks and its
    /// own tasks, as another process would. Makes the store if it is not there.
    ///
    /// # Errors
    /// As the store's open.
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>>;

    /// A directory of this test alone, empty at first, where the suite puts sources and targets; where
    /// the store is a directory, on its filesystem.
    fn scratch(&self) -> &Path;

    /// The clock that every opening is given.
    fn clock(&self) -> &ManualClock;
}

/// One promise of the contract, with the test that a store keeps it.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Its number in `docs/semantics.md`.
    pub number: u16,
    /// What it is about: the module of the suite.
    pub group: &'static str,
    /// What is promised, as the name of the test.
    pub name: &'static str,
    run: fn(Bench) -> LocalBoxFuture<'static, ()>,
}

impl Promise {
    /// Runs the test on a runtime of its own.
    ///
    /// # Panics
    /// If `subject` does not keep the promise: that is the verdict.
    pub fn check(&self, subject: Arc<dyn Subject>) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2) // two, so that tasks of one test really meet; more only cost start-up
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on((self.run)(Bench::new(subject)));
    }
}

/// Runs the promise of this number; what [`conformance!`](crate::conformance!) expands to.
///
/// # Panics
/// If `subject` does not keep the promise, or there is no such number.
pub fn check(number: u16, subject: Arc<dyn Subject>) {
    let promise = promises().iter().find(|promise| promise.number == number).unwrap();
    promise.check(subject);
}

/// Makes one `#[test]` of each promise of the contract.
///
/// Takes the path of a function without arguments that returns an `Arc<dyn Subject>`: a fresh, empty
/// store each time.
#[macro_export]
macro_rules! conformance {
    ($fresh:path) => {
        $crate::__every_promise! { [tests $fresh] }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SEMANTICS: &str = include_str!("../docs/semantics.md");

    /// The promises of the document: `- **101** A sentence. [`group::name`]`.
    fn written() -> BTreeMap<u16, String> {
        let mut found = BTreeMap::new();
        for line in SEMANTICS.lines().filter_map(|line| line.strip_prefix("- **")) {
            let (number, rest) = line.split_once("** ").unwrap();
            let test = rest.rsplit('`').nth(1).unwrap();
            let before = found.insert(number.parse().unwrap(), test.to_owned());
            assert_eq!(before, None, "promise {number} is written twice");
        }
        found
    }

    #[test]
    fn every_promise_is_written_down_and_every_written_promise_has_its_test() {
        let tested: BTreeMap<_, _> =
            promises().iter().map(|p| (p.number, format!("{}::{}", p.group, p.name))).collect();
        assert_eq!(tested, written());
    }

    #[test]
    fn no_two_promises_share_a_number_or_a_name() {
        let numbers: BTreeSet<_> = promises().iter().map(|p| p.number).collect();
        let names: BTreeSet<_> = promises().iter().map(|p| p.name).collect();
        assert_eq!((numbers.len(), names.len()), (promises().len(), promises().len()));
    }
}
