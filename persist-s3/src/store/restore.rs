//! Restoring: the head moves forward to an older tree, and what it replaces is kept first.

use super::{commits::Read, engine::Engine, snapshots::replaced};
use crate::remote::HeadActor;
use persist_core::{
    Error, Outcome, Result, SnapshotName, VolumeId, VolumeName,
    error::Difference,
    progress::{Meter, Phase},
    snapshot::{Replaced, RestoreOptions, RestoreReport},
};
use std::sync::Arc;

impl Engine {
    pub(super) async fn restore(
        self: &Arc<Self>,
        volume: &VolumeName,
        name: &SnapshotName,
        options: RestoreOptions,
        meter: Meter,
    ) -> Result<RestoreReport> {
        self.check_writable()?;
        let (head, _) = self.remote.locate(volume).await?;
        let id = head.volume.clone();
        let _turn = self.turns.take(&id).await;
        let (commit, _) = self.snapshot_there(&id, name).await?;
        let source = self.commits.read(&id, &commit).await?;
        let (head, _) = self.remote.find_there(&id).await?;
        let now = self.now_at(&id, head.commit.as_ref()).await?;
        let record = self.remote.record(&head).await?;
        // No epoch since that of the restore: nobody has attached it for writing.
        let untouched = now.commit.epoch == head.epoch && now.commit.tree.id == source.commit.tree.id;
        if head.lease.is_none() && untouched && record.restored_from.as_ref() == Some(name) {
            return Ok(RestoreReport::new(record.shown(&head), None, Outcome::Already));
        }
        self.release_dead(volume, &id).await?;
        let keep = self.name_for_replaced(&id, name, &options.replaced, &now).await?;
        meter.enter(Phase::Publish);
        let actor = self.hold(volume, &id, "restore").await?;
        let moved = self.move_head(volume, (name, &source), keep.as_ref(), &actor).await;
        let released = self.let_go(actor).await;
        moved?;
        released?;
        let (head, _) = self.remote.find_there(&id).await?;
        let shown = self.shown(&head).await?;
        Ok(RestoreReport::new(shown, keep, Outcome::Done))
    }

    /// Moves the head that `actor` holds to the tree of a snapshot.
    ///
    /// # Errors
    /// `NotFound` for a snapshot that went, or names another commit, since it was looked at.
    pub(super) async fn move_head(
        &self,
        volume: &VolumeName,
        (name, source): (&SnapshotName, &Read),
        keep: Option<&SnapshotName>,
        actor: &HeadActor,
    ) -> Result<()> {
        let head = actor.head();
        let id = &head.volume;
        // Nobody prunes from here on; until now, what the snapshot names may have been removed.
        let (commit, _) = self.snapshot_there(id, name).await?;
        if commit != source.name {
            return Err(Error::not_found("the snapshot was replaced meanwhile").advise("repeat the call"));
        }
        self.remote.check_kept(id, &commit).await?;
        let now = self.now_at(id, head.commit.as_ref()).await?;
        if let Some(keep) = keep {
            let taken = self.remote.take_snapshot(&replaced(&now, volume, keep.clone(), self.now())).await?;
            if taken.snapshot.commit != now.name {
                return Err(taken_name(keep));
            }
        }
        let table = (*source.table).clone();
        let object = self.point_at(id, actor, (id, &now.name), source, table).await?;
        self.publish_commit(actor, id, &object).await?;
        let mut record = self.remote.record(&actor.head()).await?;
        record.restored_from = Some(name.clone());
        self.remote.describe_held(actor, &record).await
    }

    async fn now_at(&self, id: &VolumeId, commit: Option<&crate::head::names::CommitName>) -> Result<Read> {
        let commit = commit.ok_or_else(|| super::snapshots::no_commit(id))?;
        self.commits.read(id, commit).await
    }

    /// The name under which what is replaced is kept.
    async fn name_for_replaced(
        &self,
        id: &VolumeId,
        restored: &SnapshotName,
        replaced: &Replaced,
        now: &Read,
    ) -> Result<Option<SnapshotName>> {
        let name = match replaced {
            Replaced::Discard => return Ok(None),
            Replaced::KeepAs(name) => name.clone(),
            // A repeat after a kill finds the same name, and the same commit under it.
            _ => SnapshotName::new(format!("replaced-{}-{}", now.name.epoch, now.name.seq))
                .map_err(|e| Error::internal("what is replaced has no name").with_source(e))?,
        };
        let there = self.remote.snapshot(id, &name).await?;
        if name == *restored || there.is_some_and(|there| there.commit != now.name) {
            return Err(taken_name(&name));
        }
        Ok(Some(name))
    }
}

fn taken_name(name: &SnapshotName) -> Error {
    Error::conflict(
        "the name for what is replaced is another snapshot's",
        vec![Difference::new("replaced", name, "taken")],
    )
    .advise("choose another name")
}
