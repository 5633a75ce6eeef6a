//! What the small objects have to know of commits, which the format reads.

use super::head::History;
use crate::head::names::{CommitName, Condemned};
use async_trait::async_trait;
use persist_core::{Result, VolumeId, clock::Timestamp};
use std::collections::BTreeSet;

/// Reads commit objects.
#[async_trait]
pub(crate) trait Commits: History {
    /// Every object of `volume` that a reader of `commit` may fetch, the commit's own included. Not those of
    /// the volumes that it was forked from: a pin there keeps them.
    ///
    /// # Errors
    /// `NotFound` for a commit that is not there.
    async fn reach(&self, volume: &VolumeId, commit: &CommitName) -> Result<BTreeSet<Condemned>>;

    /// When a commit was made, by the clock of its writer.
    ///
    /// # Errors
    /// `NotFound` for a commit that is not there.
    async fn made(&self, volume: &VolumeId, commit: &CommitName) -> Result<Timestamp>;
}
