//! Volumes made of others, and heads moved to other trees: commits that refer to what is there already.

use super::{commits::Read, engine::Engine, sync::Asked};
use crate::{
    format::{
        commit::{Commit, CommitObject, CommitSeal, CommitStats},
        frame::Compressor,
        table::PackTable,
    },
    head::names::CommitName,
    remote::{
        HeadActor,
        pins::{Pinned, PinnedBy},
    },
};
use persist_core::{
    Error, Result, SnapshotName, Source, VolumeId,
    progress::Meter,
    tree::TreeTotals,
    volume::{RootSpec, VolumeSpec},
};
use std::sync::Arc;

impl Engine {
    /// The commit that a new volume begins with, if it is made of another, and by which snapshot.
    pub(super) async fn origin_of(
        self: &Arc<Self>,
        source: &Source,
        meter: &Meter,
    ) -> Result<Option<(Read, Option<SnapshotName>)>> {
        match source {
            Source::Snapshot { volume, snapshot } => {
                let (head, _) = self.remote.locate(volume).await?;
                let (commit, _) = self.snapshot_there(&head.volume, snapshot).await?;
                Ok(Some((self.commits.read(&head.volume, &commit).await?, Some(snapshot.clone()))))
            }
            Source::Volume(name) => {
                let (head, _) = self.remote.locate(name).await?;
                let commit = self.newest(&head.volume, head.commit.as_ref(), meter).await?;
                Ok(Some((self.commits.read(&head.volume, &commit).await?, None)))
            }
            _ => Ok(None),
        }
    }

    /// The newest commit of a volume: of one that is written here, with what is written by now.
    async fn newest(
        self: &Arc<Self>,
        volume: &VolumeId,
        seen: Option<&CommitName>,
        meter: &Meter,
    ) -> Result<CommitName> {
        if let Some(session) = self.serving.session(volume) {
            self.commit(&session, Default::default(), meter.clone(), Asked::BySomebody).await?;
            if let Some(base) = session.base() {
                return Ok(base.name);
            }
        }
        seen.cloned().ok_or_else(|| Error::not_found("the volume has no commit").context("id", volume))
    }

    /// Keeps a commit of a volume for the volume that is made of it.
    pub(super) async fn pin_fork(&self, origin: &Read, fork: &VolumeId) -> Result<Pinned> {
        self.remote.pin(&origin.commit.volume, &origin.name, PinnedBy::Fork(fork.clone())).await
    }

    /// The first commit of a volume that is made of another: the same tree, no data copied.
    pub(super) async fn fork(
        &self,
        id: &VolumeId,
        actor: &HeadActor,
        origin: &Read,
        spec: &VolumeSpec,
    ) -> Result<(Option<TreeTotals>, Vec<String>)> {
        if spec.root != RootSpec::default() {
            return Err(Error::unsupported(
                persist_core::Capabilities::empty(),
                "a volume that is made of another keeps the owner and mode of its root",
            )
            .advise("leave them out, and change them once it is attached"));
        }
        let object = self
            .point_at(id, actor, (&origin.commit.volume, &origin.name), origin, origin.table.forked())
            .await?;
        self.publish_commit(actor, id, &object).await?;
        Ok((Some(origin.commit.tree.totals), Vec::new()))
    }

    /// A commit of `id` on `parent` with the tree of `shown`, whose packs `table` lists.
    pub(super) async fn point_at(
        &self,
        id: &VolumeId,
        actor: &HeadActor,
        parent: (&VolumeId, &CommitName),
        shown: &Read,
        table: PackTable,
    ) -> Result<CommitObject> {
        let head = actor.head();
        let commit = Commit {
            volume: id.clone(),
            seq: head.seq + 1,
            epoch: head.epoch,
            parent: Some((parent.0.clone(), parent.1.clone())),
            tree: shown.commit.tree,
            consistency: shown.commit.consistency,
            time: self.now(),
            stats: CommitStats::default(),
            moved: shown.commit.moved.clone(),
            chunkers: Default::default(),
            features: Default::default(),
        };
        let keyring = self.commits.keyring(id).await?;
        let mut nonce = [0; 16];
        self.remote.environment.entropy.fill(&mut nonce);
        let sealing = tokio::task::spawn_blocking(move || {
            let mut compressor = Compressor::new(Default::default())?;
            commit.seal(
                &table,
                Vec::new(),
                CommitSeal { sealing: &keyring.writing(), compressor: &mut compressor, nonce },
            )
        });
        sealing.await.map_err(|e| Error::internal("a thread of the store panicked").with_source(e))?
    }
}
