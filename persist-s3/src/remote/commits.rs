//! What the small objects have to know of commits, which the format reads.

use super::head::History;
use crate::head::names::{CommitName, Condemned, PackName};
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

    /// The last pack that the volume wrote into the object of a commit and that this commit lists: it is no object, but
    /// what its epoch numbered before it was for a commit that was made by then.
    ///
    /// # Errors
    /// `NotFound` for a commit that is not there.
    async fn last_within(&self, volume: &VolumeId, commit: &CommitName) -> Result<Option<PackName>>;

    /// When a commit was made, by the clock of its writer.
    ///
    /// # Errors
    /// `NotFound` for a commit that is not there.
    async fn made(&self, volume: &VolumeId, commit: &CommitName) -> Result<Timestamp>;
}
