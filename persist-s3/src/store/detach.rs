//! Detaching: the final commit, what shows the tree, the lease, the copy on this node; in this order, so that
//! whatever a kill leaves still holds the work.

use super::{
    engine::Engine,
    serving::{Session, Use},
    sync::{Asked, Found},
};
use crate::head::{change::Change, free::FreeChange};
use futures::TryStreamExt;
use persist_core::{
    AttachmentId, AttachmentRecord, DetachOptions, Error, ErrorKind, LeaseState, Lifetime, Result, VolumeId,
    VolumeName, VolumeStore, Vouch,
    attachment::{AttachmentFilter, DetachReport, LocalCopy},
    progress::{CallOptions, Meter},
    quiesce::{SyncPolicy, SyncReport},
    snapshot::Outcome,
};
use std::sync::Arc;

/// How often a tree that moves is committed again before it is given up: each round is shorter than the one
/// before, unless somebody keeps writing.
const ROUNDS_MAX: usize = 4;

/// What becomes of the copy on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// It is the head's tree: it may be removed.
    Clean,
    /// It may hold work that nobody asked to sync.
    Dirty,
}

impl Engine {
    pub(super) async fn detach(
        self: &Arc<Self>,
        id: &AttachmentId,
        options: DetachOptions,
        meter: Meter,
    ) -> Result<DetachReport> {
        if options.vouch.as_ref().is_some_and(|vouch| vouch.attachment != *id) {
            return Err(Error::invalid("vouch", "the vouch is about another attachment"));
        }
        if let Some(session) = self.serving.session_of(id) {
            check_vouch(options.vouch.as_ref(), &session)?;
            let _turn = self.turns.take(&session.volume).await;
            return self.detach_served(&session, id, options, meter).await;
        }
        if let Some(reader) = self.reader_here(id).await? {
            // Nothing of the bucket changes, so a store that was opened read-only may.
            return self.detach_reader(&reader, &options).await;
        }
        self.check_writable()?;
        match self.find_near(id).await? {
            Some((record, volume)) => self.detach_found(&record, &volume, options, meter).await,
            None => match &options.vouch {
                Some(vouch) => self.detach_vouched(vouch).await,
                None => Ok(DetachReport::new(Outcome::Already)),
            },
        }
    }

    async fn detach_served(
        self: &Arc<Self>,
        session: &Arc<Session>,
        id: &AttachmentId,
        options: DetachOptions,
        meter: Meter,
    ) -> Result<DetachReport> {
        // Another detach of this store may have been faster.
        let Some(used) = session.used(id) else { return Ok(DetachReport::new(Outcome::Already)) };
        match session.lease().state() {
            LeaseState::Fenced { .. } => return self.detach_fenced(session, used, options).await,
            LeaseState::Released => return self.detach_again(session, &used, &options).await,
            _ => {}
        }
        match self.detach_held(session, id, used.clone(), options.clone(), meter).await {
            Err(_) if session.lease().state() == LeaseState::Released => {
                self.detach_again(session, &used, &options).await
            }
            detached => detached,
        }
    }

    async fn detach_held(
        self: &Arc<Self>,
        session: &Arc<Session>,
        id: &AttachmentId,
        used: Use,
        options: DetachOptions,
        meter: Meter,
    ) -> Result<DetachReport> {
        let last = session.only_shows(id);
        let (synced, copy) = self.sync_at_the_end(session, &used, last, &options.call, &meter).await?;
        let mut report = self.lower(&used, &options).await?;
        session.lowered(id);
        report.synced = synced;
        if last {
            self.end_session(session, copy, options.local_copy, meter, &mut report).await?;
        }
        session.release(id);
        self.serving.departed.notify_waiters();
        Ok(report)
    }

    /// The lease was given back by a call that was dropped then.
    async fn detach_again(
        &self,
        session: &Arc<Session>,
        used: &Use,
        options: &DetachOptions,
    ) -> Result<DetachReport> {
        let mut report = self.lower(used, options).await?;
        report.outcome = Outcome::Done;
        let clean = session.workspace.state().tree == crate::head::recovery::Tree::Clean;
        if clean && let Err(error) = session.workspace.clone().discard().await {
            report.left.push(format!("the copy on this node is left to prune: {error}"));
        }
        session.release(&used.near.id);
        self.serving.end(&session.volume);
        Ok(report)
    }

    /// The final sync. The last attachment leaves nothing behind that was written before it was asked.
    async fn sync_at_the_end(
        self: &Arc<Self>,
        session: &Arc<Session>,
        used: &Use,
        last: bool,
        call: &CallOptions,
        meter: &Meter,
    ) -> Result<(Option<SyncReport>, Copy)> {
        if used.near.sync == SyncPolicy::Manual {
            return Ok((None, Copy::Dirty));
        }
        let options = used.cuts.options(call);
        let (report, found) = self.commit(session, options, meter.clone(), Asked::BySomebody).await?;
        if last && found == Found::Changed {
            self.settle_tree(session, call, meter).await?;
        }
        Ok((Some(report), Copy::Clean))
    }

    /// Commits until the tree stands still.
    async fn settle_tree(
        self: &Arc<Self>,
        session: &Arc<Session>,
        call: &CallOptions,
        meter: &Meter,
    ) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let options = persist_core::SyncOptions::default().with_call(call.clone());
            if self.commit(session, options, meter.clone(), Asked::BySomebody).await?.1 == Found::Unchanged {
                return Ok(());
            }
        }
        Err(Error::in_use("the tree is still being written", Vec::new())
            .context("volume", &session.name)
            .advise("stop the writers, then detach again; everything is kept"))
    }

    /// Takes away what shows the tree.
    async fn lower(&self, used: &Use, options: &DetachOptions) -> Result<DetachReport> {
        let mut lowering = DetachOptions::default().with_busy(options.busy);
        lowering.call = options.call.clone();
        let mut report = self.spaces()?.near().detach(&used.near.id, lowering).await?;
        report.synced = None;
        Ok(report)
    }

    /// Gives the lease back once nobody is shown the tree any more, and it was compared once more.
    async fn end_session(
        self: &Arc<Self>,
        session: &Arc<Session>,
        copy: Copy,
        keep: LocalCopy,
        meter: Meter,
        report: &mut DetachReport,
    ) -> Result<()> {
        if copy == Copy::Clean {
            // Files that were open while the mount went may have been written since the final sync.
            self.settle_tree(session, &CallOptions::default(), &meter).await?;
            session.workspace.clean().await?;
        } else {
            report.left.push(
                "what was not synced stays in the workspace of this node, until it is attached here again"
                    .into(),
            );
        }
        let (volume, name) = (session.volume.clone(), session.name.clone());
        let workspace = session.workspace.clone();
        self.release(session).await?;
        if copy == Copy::Clean
            && keep == LocalCopy::Remove
            && let Err(error) = workspace.discard().await
        {
            report.left.push(format!("the copy on this node is left to prune: {error}"));
        }
        if keep == LocalCopy::Keep {
            report.left.extend(self.evict().await);
        }
        self.end_with_its_attachment(&volume, &name, report).await;
        Ok(())
    }

    /// Gives the lease of a session back.
    pub(super) async fn release(&self, session: &Arc<Session>) -> Result<()> {
        let released = session.actor.change(Change::Release).await;
        match released {
            // Another session has it: that is as good for whoever wants the volume.
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::NotFound) => {}
            other => drop(other?),
        }
        self.serving.end(&session.volume);
        Ok(())
    }

    async fn end_with_its_attachment(&self, volume: &VolumeId, name: &VolumeName, report: &mut DetachReport) {
        let ends = async {
            let (head, _) = self.remote.find_there(volume).await?;
            match self.remote.record(&head).await?.spec.lifetime {
                Lifetime::Attachment => self.end(name, volume).await.map(Some),
                _ => Ok(None),
            }
        };
        match ends.await {
            Ok(ended) => report.ended = ended,
            Err(error) => report
                .left
                .push(format!("whether the volume ends with this attachment is left to prune: {error}")),
        }
    }

    /// An attachment of this node that nobody serves: it is taken up first, so that its work is kept.
    async fn detach_found(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        volume: &VolumeId,
        options: DetachOptions,
        meter: Meter,
    ) -> Result<DetachReport> {
        if !record.access.writes() {
            return self.spaces()?.near().detach(&record.id, options).await;
        }
        let taken = self.take_up(&record.id).await;
        match (taken, self.serving.session(volume)) {
            (Ok(()), Some(session)) => {
                let _turn = self.turns.take(volume).await;
                self.detach_served(&session, &record.id, options, meter).await
            }
            (Ok(()), None) => Ok(DetachReport::new(Outcome::Already)),
            (Err(error), _) if options.vouch.is_some() && error.kind() == ErrorKind::InUse => {
                let vouch = options.vouch.clone().ok_or_else(|| Error::internal("the vouch is gone"))?;
                let report = self.detach_vouched(&vouch).await?;
                self.spaces()?.near().detach(&record.id, options).await?;
                Ok(report)
            }
            (Err(error), _) if error.kind() == ErrorKind::Fenced => {
                let mut report = self.spaces()?.near().detach(&record.id, options).await?;
                // It says where the work is kept. What is written after that stays, until the next attach keeps it.
                report.left.push(error.to_string());
                Ok(report)
            }
            (Err(error), _) if error.kind() == ErrorKind::NotFound => {
                // Another detach may have been faster.
                match self.find_near(&record.id).await? {
                    Some(_) => Err(error),
                    None => Ok(DetachReport::new(Outcome::Already)),
                }
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Another has the volume by now: what was written is kept as a salvage, and nothing is given back.
    async fn detach_fenced(
        self: &Arc<Self>,
        session: &Arc<Session>,
        used: Use,
        options: DetachOptions,
    ) -> Result<DetachReport> {
        let mut report = self.lower(&used, &options).await?;
        let last = session.only_shows(&used.near.id);
        session.release(&used.near.id);
        let salvaged = if last { self.bury(session).await } else { self.salvage_session(session).await };
        match salvaged {
            Ok(Some(name)) => {
                report.left.push(format!("another has the volume: what was written is kept as {name}"))
            }
            Ok(None) => {}
            Err(error) => report
                .left
                .push(format!("what was written stays in the workspace until it is saved: {error}")),
        }
        if last {
            self.serving.end(&session.volume);
        }
        Ok(report)
    }

    /// Ends the lease of a dead holder, which may be of any node.
    async fn detach_vouched(&self, vouch: &Vouch) -> Result<DetachReport> {
        let mut names = self.remote.names(None);
        while let Some(name) = names.try_next().await? {
            let crate::remote::Named::Volume(head, _) = self.remote.resolve(&name).await? else { continue };
            if head.lease.as_ref().is_some_and(|lease| lease.attachment == vouch.attachment) {
                self.remote.change_free(&head.volume, &FreeChange::Release(vouch.clone())).await?;
                let mut report = DetachReport::new(Outcome::Done);
                report.left.push("what the dead node had not synced is not covered by this detach".into());
                return Ok(report);
            }
        }
        Ok(DetachReport::new(Outcome::Already))
    }

    /// The near store's record of an attachment of this node, and the volume that it is of.
    pub(super) async fn find_near(&self, id: &AttachmentId) -> Result<Option<(AttachmentRecord, VolumeId)>> {
        let Some(spaces) = &self.spaces else { return Ok(None) };
        let mut all = spaces.near().attachments(AttachmentFilter::default());
        while let Some(record) = all.try_next().await? {
            if record.id == *id {
                let volume = super::readers::volume_of(&record)?;
                return Ok(Some((record, volume)));
            }
        }
        Ok(None)
    }
}

fn check_vouch(vouch: Option<&Vouch>, session: &Session) -> Result<()> {
    match vouch {
        Some(vouch) if vouch.epoch != session.epoch => {
            let difference = persist_core::error::Difference::new("epoch", vouch.epoch, session.epoch);
            Err(Error::conflict("the holder has moved on", vec![difference])
                .advise("look at attachments() before vouching again"))
        }
        _ => Ok(()),
    }
}
