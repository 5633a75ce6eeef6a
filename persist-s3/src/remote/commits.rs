//! What the small objects have to know of commits, which the format reads.

use super::head::History;
use crate::head::names::{CommitName, Condemned, PackName};
use async_trait::async_trait;
use persist_core::{Result, VolumeId, clock::Timestamp};
use std::collections::BTreeSet;

/// What a prune has to know of a commit.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Every object of the volume that a reader of the commit may fetch, the commit's own included. Not those of
    /// the volumes that it was forked from: a pin there keeps them.
    pub(crate) reach: BTreeSet<Condemned>,
    /// The last pack that the volume wrote into the object of a commit and that this commit lists: it is no object, but
    /// what its epoch numbered before it was for a commit that was made by then.
    pub(crate) last_within: Option<PackName>,
    /// When it was made, by the clock of its writer.
    pub(crate) made: Timestamp,
    /// The commit of the volume that it was made on.
    pub(crate) parent: Option<CommitName>,
}

/// Reads commit objects.
#[async_trait]
pub(crate) trait Commits: History {
    /// What one read of a commit tells.
    ///
    /// # Errors
    /// `NotFound` for a commit that is not there.
    async fn facts(&self, volume: &VolumeId, commit: &CommitName) -> Result<Facts>;

    /// What it [reaches](Facts::reach).
    ///
    /// # Errors
    /// As [`facts`](Self::facts).
    async fn reach(&self, volume: &VolumeId, commit: &CommitName) -> Result<BTreeSet<Condemned>> {
        Ok(self.facts(volume, commit).await?.reach)
    }
}
