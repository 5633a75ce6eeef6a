//! Deleting a volume: refused, put into the trash, or given up for good.
//!
//! The head's stage is the step that deletes it. Objects go by `prune`, which sees what still needs them: a
//! clone, a reader, a salvage.

use crate::{
    head::record::{Head, Stage, Trashed},
    store::engine::Engine,
};
use persist_core::{
    Error, ErrorKind, Lifetime, Result, VolumeId, VolumeName,
    error::Difference,
    snapshot::Outcome,
    volume::{DeleteOptions, DeleteReport, Protection, SnapshotsAlong, Trash},
};

impl Engine {
    pub(in crate::store) async fn delete(
        &self,
        name: &VolumeName,
        options: DeleteOptions,
    ) -> Result<DeleteReport> {
        self.check_writable()?;
        let id = match self.remote.locate(name).await {
            Ok((head, _)) => head.volume,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(DeleteReport::new(Outcome::Already, None));
            }
            Err(error) => return Err(error),
        };
        let _turn = self.turns.take(&id).await;
        self.remove(name, &id, &options).await
    }

    /// Deletes a volume that ends with its last attachment, unless somebody has attached it since.
    pub(in crate::store) async fn end(&self, name: &VolumeName, id: &VolumeId) -> Result<Lifetime> {
        let options =
            DeleteOptions::default().with_trash(Trash::Bypass).with_snapshots(SnapshotsAlong::Refuse);
        self.remove(name, id, &options).await.map(|_| Lifetime::Attachment)
    }

    async fn remove(
        &self,
        name: &VolumeName,
        id: &VolumeId,
        options: &DeleteOptions,
    ) -> Result<DeleteReport> {
        self.release_dead(name, id).await?;
        let since = self.now();
        let trash = match options.trash {
            Trash::KeepFor(window) => Some(Trashed { since, until: since.saturating_add(window) }),
            _ => None,
        };
        let Some(announced) = self.remote.begin_deletion(name).await? else {
            return Ok(DeleteReport::new(Outcome::Already, None));
        };
        if let Err(refused) = self.check_deletable(&announced.head, id, options.snapshots).await {
            self.remote.undo_deletion(&announced).await?;
            return Err(refused);
        }
        let head = self.remote.end_deletion(&announced, trash).await?;
        let trashed = match head.stage {
            Stage::Trashed(_) => Some(self.shown(&head).await?),
            _ => None,
        };
        Ok(DeleteReport::new(Outcome::Done, trashed))
    }

    /// Refuses to delete what is protected, another volume, read, or has snapshots that were not asked along.
    async fn check_deletable(&self, head: &Head, id: &VolumeId, snapshots: SnapshotsAlong) -> Result<()> {
        if head.volume != *id {
            return Err(Error::not_found("the volume was deleted meanwhile").context("id", id));
        }
        if self.remote.record(head).await?.spec.protection == Protection::Protected {
            return Err(Error::new(ErrorKind::Denied, "the volume is protected")
                .advise("lift its protection by update, if it shall really go"));
        }
        self.refuse_readers(head).await?;
        if snapshots == SnapshotsAlong::Delete {
            return Ok(());
        }
        let kept = self.snapshot_names(id).await?;
        if kept.is_empty() {
            return Ok(());
        }
        let kept = kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let difference = Difference::new("snapshots", "none", kept);
        Err(Error::conflict("the volume has snapshots", vec![difference])
            .advise("delete them first, or ask for them to go along"))
    }
}
