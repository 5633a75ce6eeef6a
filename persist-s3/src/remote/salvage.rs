//! Salvages: the work of fenced writers, and of workspaces that were left behind, kept and listed.
//!
//! A salvage is written, *then* the head is read: what that condemns, or what is gone, is uploaded again under
//! names that were never used, and the salvage is written anew; until nothing is missing.

use super::{
    Remote,
    object::{Base, Settled},
    pins::{check_format, decode, encode},
};
use crate::{
    head::{
        names::{CommitName, Condemned},
        prune::to_upload_again,
        record::SessionId,
        writer::Found,
    },
    keys::{Key, Part, SalvageName},
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use persist_core::{Epoch, Error, ErrorKind, Result, VolumeId, snapshot::SnapshotRecord};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format of a salvage.
const FORMAT: u16 = 1;

/// How often a salvage is written anew at most: each time, a prune has come between.
const ROUNDS_MAX: usize = 16;

/// The work of a writer that lost its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Salvage {
    format: u16,
    /// What callers see: a snapshot of kind `Salvage`.
    pub(crate) record: SnapshotRecord,
    /// The commit that the work was done on.
    pub(crate) base: Option<CommitName>,
    /// The work, as a commit that no head has.
    pub(crate) commit: CommitName,
    /// Every object of the volume that it needs, the commit's own included.
    pub(crate) needs: BTreeSet<Condemned>,
    nonce: u128,
}

/// Uploads again what a salvage needs and the store will not keep.
#[async_trait::async_trait]
pub(crate) trait UploadAgain: Send + Sync {
    /// The same work, without any of `lost` among its needs.
    async fn upload_again(&self, salvage: &Salvage, lost: &BTreeSet<Condemned>) -> Result<Salvage>;
}

impl Salvage {
    /// A salvage of `commit`, which needs `needs`.
    pub(crate) fn new(
        record: SnapshotRecord,
        base: Option<CommitName>,
        commit: CommitName,
        needs: BTreeSet<Condemned>,
    ) -> Self {
        Self { format: FORMAT, record, base, commit, needs, nonce: 0 }
    }
}

impl Remote {
    /// The name of a new salvage.
    pub(crate) fn salvage_name(&self, epoch: Epoch, session: SessionId) -> SalvageName {
        SalvageName { epoch, session, nonce: self.nonce() }
    }

    /// Keeps a salvage whose objects were uploaded: returns once nothing that it needs can be removed.
    ///
    /// # Errors
    /// `NotFound` if the volume was removed for good; `Unavailable` with `Verify`: a repeat under the same name
    /// goes on; what `again` gives.
    pub(crate) async fn keep_salvage(
        &self,
        name: SalvageName,
        mut salvage: Salvage,
        again: &dyn UploadAgain,
    ) -> Result<Salvage> {
        let volume = salvage.record.volume.clone();
        for _ in 0..ROUNDS_MAX {
            self.write_salvage(&volume, name, &mut salvage).await?;
            let lost = self.lost(&volume, &salvage.needs).await?;
            if lost.is_empty() {
                return Ok(salvage);
            }
            salvage = again.upload_again(&salvage, &lost).await?;
        }
        Err(Error::new(ErrorKind::Unavailable, "a salvage loses its objects faster than they are uploaded")
            .context("id", volume)
            .advise("stop the prune of this volume, and repeat"))
    }

    /// A salvage, if it is there.
    ///
    /// # Errors
    /// `Corrupt`; `Unavailable`.
    pub(crate) async fn salvage(&self, volume: &VolumeId, name: SalvageName) -> Result<Option<Salvage>> {
        let Some(object) = self.read(&self.keys.of(volume, Part::Salvage(name))).await? else {
            return Ok(None);
        };
        let salvage: Salvage = decode(&object.body, volume)?;
        check_format(salvage.format, volume)?;
        if salvage.record.volume != *volume {
            return Err(
                Error::new(ErrorKind::Corrupt, "the salvage is another volume's").context("id", volume)
            );
        }
        Ok(Some(salvage))
    }

    /// The salvages of a volume: one LIST for a thousand, and one GET for each.
    pub(crate) fn salvages<'a>(
        &'a self,
        volume: &'a VolumeId,
    ) -> BoxStream<'a, Result<(SalvageName, Salvage)>> {
        let listed = self.list(&self.keys.all_of(volume, Some("salvage")), None);
        let there = listed.try_filter_map(move |meta| async move {
            match self.keys.parse(&meta.location) {
                Some(Key::Volume(_, Part::Salvage(name))) => {
                    Ok(self.salvage(volume, name).await?.map(|salvage| (name, salvage)))
                }
                _ => Ok(None),
            }
        });
        there.boxed()
    }

    /// Discards a salvage: after it was promoted, or because nobody wants it. What only it needed is removed by
    /// the next prune.
    ///
    /// # Errors
    /// As the object store gives them; a repeat goes on.
    pub(crate) async fn discard_salvage(&self, volume: &VolumeId, name: SalvageName) -> Result<()> {
        self.remove(&self.keys.of(volume, Part::Salvage(name))).await
    }

    /// The commits and packs of a volume that are stored, with their sizes in bytes.
    pub(crate) async fn stored(&self, volume: &VolumeId) -> Result<BTreeMap<Condemned, u64>> {
        let mut stored = BTreeMap::new();
        for kind in ["c", "p"] {
            let mut listed = self.list(&self.keys.all_of(volume, Some(kind)), None);
            while let Some(meta) = listed.try_next().await? {
                let name = match self.keys.parse(&meta.location) {
                    Some(Key::Volume(_, Part::Commit(name))) => Condemned::Commit(name),
                    Some(Key::Volume(_, Part::Pack(name))) => Condemned::Pack(name),
                    _ => continue,
                };
                stored.insert(name, meta.size);
            }
        }
        Ok(stored)
    }

    async fn write_salvage(&self, volume: &VolumeId, name: SalvageName, salvage: &mut Salvage) -> Result<()> {
        let path = self.keys.of(volume, Part::Salvage(name));
        salvage.nonce = self.nonce();
        let base = Base::of(self.read(&path).await?.as_ref());
        match self.settle(&path, encode(salvage)?, &base).await? {
            Settled::Applied(_) => Ok(()),
            Settled::Other(_) => {
                Err(Error::internal("two write one salvage at once").context("object", path))
            }
        }
    }

    async fn lost(&self, volume: &VolumeId, needs: &BTreeSet<Condemned>) -> Result<BTreeSet<Condemned>> {
        let Found::Head(head, _) = self.find(volume).await? else { return Err(super::head::gone(volume)) };
        if head.stage == crate::head::record::Stage::Deleted {
            return head.check_there().map(|()| BTreeSet::new());
        }
        let tombstones = self.tombstones(&head).await?;
        let stored = self.stored(volume).await?;
        Ok(to_upload_again(needs, &tombstones, |name| stored.contains_key(name)))
    }
}
