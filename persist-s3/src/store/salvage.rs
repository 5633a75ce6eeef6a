//! The work of a writer that lost its place: uploaded under its own epoch, and listed as a snapshot.

use super::{
    commit::{Ground, Since},
    commits::Read,
    engine::Engine,
    rewrite::Rewrite,
    serving::Session,
    snapshots::name_of,
};
use crate::{
    head::{
        names::Condemned,
        record::{Head, SessionId},
        recovery::{Recovery, Tree},
    },
    keys::SalvageName,
    remote::{
        Commits as _,
        salvage::{Salvage, UploadAgain},
    },
    workspace::{Workspace, record::Finished},
};
use async_trait::async_trait;
use persist_core::{
    Error, ErrorKind, LeaseState, Result, SnapshotName, VolumeId,
    progress::Meter,
    snapshot::{SnapshotKind, SnapshotRecord},
    tree::TreeTotals,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

/// A tree that was uploaded as a commit that no head has.
struct Uploaded {
    name: SalvageName,
    salvage: Salvage,
    /// The tree as what the next look at the workspace is compared with.
    base: Read,
    rows: Finished,
    totals: TreeTotals,
}

impl Engine {
    /// Keeps what a fenced session wrote since it was last kept, and says under which name; `None` if all of it was
    /// committed. Whoever is still shown the tree may write on: it counts as unsaved until [`Engine::bury`].
    pub(super) async fn salvage_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
    ) -> Result<Option<SnapshotName>> {
        let turn = session.committing.acquire().await;
        let _turn = turn.map_err(|e| Error::internal("a session's turn is gone").with_source(e))?;
        if session.workspace.state().tree == Tree::Clean {
            return Ok(session.salvaged());
        }
        let base = self.base_of(&session.volume, &session.workspace, session.base()).await?;
        let ground = Ground { base, ..self.ground(session) };
        if let Some((name, base)) = self.salvage_tree(&session.workspace, ground, Meter::default()).await? {
            base.into_iter().for_each(|base| session.rebase(base));
            session.note_salvage(name);
        }
        let salvage = session.salvaged();
        if let LeaseState::Fenced { by, .. } = session.lease().state() {
            session.tell(&LeaseState::Fenced { by, salvage: salvage.clone() });
        }
        Ok(salvage)
    }

    /// Keeps the last of what a fenced session wrote, once nobody is shown its tree: that may be replaced then.
    pub(super) async fn bury(self: &Arc<Self>, session: &Arc<Session>) -> Result<Option<SnapshotName>> {
        let salvage = self.salvage_session(session).await?;
        session.workspace.salvaged().await?;
        Ok(salvage)
    }

    /// Keeps what is in a workspace whose volume another has had since, and says under which name; `None` if nothing
    /// was written since it was last kept. Whoever is still shown the tree may write on: it counts as unsaved.
    pub(super) async fn salvage_lost(
        self: &Arc<Self>,
        head: &Head,
        workspace: &Workspace,
        meter: Meter,
    ) -> Result<Option<SnapshotName>> {
        if workspace.settle(head).await? == Recovery::Foreign || workspace.state().tree == Tree::Clean {
            return Ok(None);
        }
        self.salvage_left(head, workspace, meter).await
    }

    /// Keeps what a crash has left in a workspace whose volume has moved on.
    pub(super) async fn salvage_left(
        self: &Arc<Self>,
        head: &Head,
        workspace: &Workspace,
        meter: Meter,
    ) -> Result<Option<SnapshotName>> {
        let base = self.base_of(&head.volume, workspace, None).await?;
        let ground = Ground {
            volume: head.volume.clone(),
            epoch: workspace.state().epoch,
            seq: base.as_ref().map_or(0, |base| base.name.seq),
            base,
            // Names of packs have a random part: no other process of that epoch is met.
            numbers: Arc::new(AtomicU64::new(1)),
            drafts: workspace.drafts().to_owned(),
        };
        Ok(self.salvage_tree(workspace, ground, meter).await?.map(|(name, _)| name))
    }

    /// The commit that the stat record of a workspace is of, which may be `known`: another one's places in packs say
    /// nothing about this tree. One that was pruned is no base: all of the tree is uploaded.
    async fn base_of(
        &self,
        volume: &VolumeId,
        workspace: &Workspace,
        known: Option<Read>,
    ) -> Result<Option<Read>> {
        match workspace.state().base {
            None => Ok(None),
            Some(name) if known.as_ref().is_some_and(|known| known.name == name) => Ok(known),
            Some(name) => match self.commits.read(volume, &name).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                read => read.map(Some),
            },
        }
    }

    /// Keeps the tree of a workspace, which then is the base of what is written to it next.
    async fn salvage_tree(
        self: &Arc<Self>,
        workspace: &Workspace,
        mut ground: Ground,
        meter: Meter,
    ) -> Result<Option<(SnapshotName, Option<Read>)>> {
        let made = match self.upload_salvage(workspace, &ground, meter.clone()).await {
            // What the base refers to was pruned, or is damaged: the work is all here.
            Err(error) if ground.base.is_some() && is_missing(&error) => {
                tracing::warn!(volume = %ground.volume, %error, "a salvage is uploaded whole");
                ground.base = None;
                self.upload_salvage(workspace, &ground, meter.clone()).await?
            }
            made => made?,
        };
        let Some(Uploaded { name, salvage, base, rows, totals }) = made else { return Ok(None) };
        let again = Again { engine: Arc::clone(self), workspace: workspace.clone(), ground, meter };
        let kept = self.remote.keep_salvage(name, salvage, &again).await?;
        // One that was uploaded again has another commit; what is written next is compared with the old base then.
        let base = if kept.commit == base.name { Some(base) } else { None };
        if let Some(base) = &base {
            workspace.offer(base.name.clone(), rows, totals).await?;
            workspace.accepted(Tree::Dirty).await?;
        }
        tracing::warn!(volume = %kept.record.volume_name, salvage = %kept.record.name, "the work of a fenced writer is kept as a salvage");
        Ok(Some((kept.record.name, base)))
    }

    /// Uploads the tree of a workspace as a commit that no head has; `None` if it is its base.
    async fn upload_salvage(
        self: &Arc<Self>,
        workspace: &Workspace,
        ground: &Ground,
        meter: Meter,
    ) -> Result<Option<Uploaded>> {
        let since = match workspace.rows().await? {
            Some(rows) if ground.base.is_some() => Since::Rows(rows, Rewrite::default()),
            _ => Since::Base,
        };
        let (engine, on) = (Arc::clone(self), ground.clone());
        let write = move |tree| async move { engine.write_tree(&on, tree, since, meter).await };
        let cut = workspace.cut(Default::default(), write).await?;
        let root = cut.value.root.id;
        if ground.base.as_ref().is_some_and(|base| base.commit.tree.id == root) {
            return Ok(None);
        }
        let (consistency, taken) = (cut.consistency, cut.taken);
        let (object, commit, rows, totals) =
            self.seal_commit(ground, cut.value, (consistency, taken)).await?;
        self.commits.put(&ground.volume, &object).await?;
        let name = self.remote.salvage_name(ground.epoch, SessionId(self.remote.nonce()));
        let (head, _) = self.remote.find_there(&ground.volume).await?;
        let mut record = SnapshotRecord::new(name_of(&name)?, ground.volume.clone(), head.name, taken);
        (record.kind, record.epoch, record.consistency) = (SnapshotKind::Salvage, ground.epoch, consistency);
        record.totals = Some(commit.tree.totals);
        let needs = self.commits.reach(&ground.volume, &object.name).await?;
        let before = ground.base.as_ref().map(|base| base.name.clone());
        let salvage = Salvage::new(record, before, object.name.clone(), needs);
        let base = Read { commit, name: object.name, table: Arc::new(object.table), known: Vec::new() };
        Ok(Some(Uploaded { name, salvage, base, rows, totals }))
    }
}

/// Uploads a salvage again that has lost objects to a prune: from the tree itself, as if nothing of it were
/// in the bucket.
struct Again {
    engine: Arc<Engine>,
    workspace: Workspace,
    ground: Ground,
    meter: Meter,
}

#[async_trait]
impl UploadAgain for Again {
    async fn upload_again(&self, before: &Salvage, _: &BTreeSet<Condemned>) -> Result<Salvage> {
        let whole = Ground { base: None, ..self.ground.clone() };
        let made = self.engine.upload_salvage(&self.workspace, &whole, self.meter.clone()).await?;
        let Uploaded { mut salvage, .. } =
            made.ok_or_else(|| Error::internal("a whole tree is no base's"))?;
        // It replaces the one that is there, under whose name it is found.
        salvage.record.name.clone_from(&before.record.name);
        Ok(salvage)
    }
}

/// Whether something that was to be there is not.
fn is_missing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt)
}
