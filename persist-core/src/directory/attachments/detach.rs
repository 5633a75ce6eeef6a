//! Detach: the final sync, then the mounts, then the record. Until the record is gone, it is attached.

use super::{
    decide::moved_on,
    served::{Cuts, Serving, Session, State, forget, serve, served_by_another},
    shown::own_path,
    stored::{StoredAttachment, attachment_ids},
};
use crate::{
    attachment::{AttachReport, AttachmentId, BusyFiles, DetachOptions, DetachReport},
    directory::{engine::Engine, layout::VolumeLayout, place::Verdict, recovery::is_there, volumes},
    error::{Error, ErrorKind, HolderSeen, Result},
    id::{Epoch, VolumeId},
    lease::{LeaseState, Vouch},
    name::VolumeName,
    progress::{CallOptions, Meter, Phase},
    quiesce::{SyncPolicy, SyncReport},
    snapshot::Outcome,
    volume::Lifetime,
};
use std::sync::{Arc, atomic::Ordering::SeqCst};

/// What is going to be detached, and by which right.
#[derive(Debug, Clone)]
pub(super) enum Leaving {
    /// We serve it.
    Ours(Arc<Session>),
    /// Its holder, under this epoch, is proven dead or vouched for, and nobody here serves it.
    Dead(VolumeLayout, Epoch),
}

/// What the last step of a detach found.
#[derive(Debug)]
pub(super) struct Left {
    report: DetachReport,
    /// The volume that ends with this attachment.
    ends: Option<(VolumeName, VolumeId)>,
}

impl Leaving {
    /// Tells whoever looks at the session meanwhile that its record goes by our own hand.
    fn mark(&self, leaving: bool) {
        if let Self::Ours(session) = self {
            session.leaving.store(leaving, SeqCst);
        }
    }
}

impl Engine {
    pub(crate) async fn detach(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: DetachOptions,
    ) -> Result<DetachReport> {
        self.check_writable()?;
        if options.vouch.as_ref().is_some_and(|vouch| vouch.attachment != *attachment) {
            return Err(Error::invalid("vouch", "the vouch is about another attachment"));
        }
        let call = self.calls.begin(&options.call)?;
        self.start_renewal()?;
        let (engine, id, vouch) = (Arc::clone(self), attachment.clone(), options.vouch.clone());
        let begin = move |meter: &Meter| engine.begin_detach(&id, vouch.as_ref(), meter);
        let Some(leaving) = call.run(begin).await? else { return Ok(DetachReport::new(Outcome::Already)) };
        let synced = match &leaving {
            Leaving::Ours(session) => self.sync_at_the_end(&call, session).await?,
            Leaving::Dead(..) => None,
        };
        let (engine, id, busy) = (Arc::clone(self), attachment.clone(), options.busy);
        let finish = move |meter: &Meter| engine.finish_detach(&id, &leaving, busy, meter);
        let Left { mut report, ends } = call.run(finish).await?;
        report.synced = synced;
        if let Some((volume, id)) = ends {
            self.end_volume(volume, id, &mut report).await;
        }
        Ok(report)
    }

    /// Finds out whether the attachment may be ended by us; `None` if it is not there.
    pub(super) fn begin_detach(
        &self,
        id: &AttachmentId,
        vouch: Option<&Vouch>,
        meter: &Meter,
    ) -> Result<Option<Leaving>> {
        let session = self.served.get(id);
        let layout = match &session {
            Some(session) => Some(session.layout.clone()),
            None => self.volume_of(id)?,
        };
        let Some(layout) = layout else { return Ok(None) };
        let _held = match self.exclude(&layout, meter) {
            // Taken over, and the volume removed since.
            Err(e) if e.kind() == ErrorKind::NotFound && self.on_record(&layout, id)?.is_none() => {
                session.into_iter().try_for_each(|session| self.leave_behind(&session))?;
                return Ok(None);
            }
            held => held?,
        };
        let Some(stored) = self.on_record(&layout, id)? else {
            session.into_iter().try_for_each(|session| self.leave_behind(&session))?;
            return Ok(None);
        };
        if let Some(vouch) = vouch.filter(|vouch| vouch.epoch != stored.record.epoch) {
            return Err(Error::conflict("the holder has moved on", vec![moved_on(vouch, &stored.record)])
                .advise("look at attachments() before vouching again"));
        }
        match session {
            Some(session) => Ok(Some(Leaving::Ours(session))),
            None => self.take_to_detach(layout, stored, vouch, meter).map(Some),
        }
    }

    /// What nobody serves is taken up by us, without a new epoch: nobody writes under it. What a dead node
    /// had, or what is vouched for, is only ended.
    fn take_to_detach(
        &self,
        layout: VolumeLayout,
        stored: StoredAttachment,
        vouch: Option<&Vouch>,
        meter: &Meter,
    ) -> Result<Leaving> {
        let is_here = self.node.as_ref() == Some(&stored.record.holder.node);
        if let Some(vouch) = vouch {
            tracing::info!(attachment = %vouch.attachment, epoch = %vouch.epoch, reason = %vouch.reason, "ended by a vouch");
        }
        if !is_here {
            let is_dead = vouch.is_some() || matches!(self.verdict(&stored), Verdict::Dead(_));
            return match is_dead {
                true => Ok(Leaving::Dead(layout, stored.record.epoch)),
                false => Err(Error::in_use(
                    "the attachment is of another node",
                    vec![HolderSeen::of(&stored.record)],
                )
                .advise("detach it there, or vouch that it is dead")),
            };
        }
        match serve(&layout, &stored.record.id, meter)? {
            Serving::Ours(served) => {
                let path = own_path(&layout, &stored, stored.newest()?);
                let report = AttachReport::new(Outcome::Already, self.info.characteristics.fencing);
                let state = State::new(stored, path, report, Cuts::default());
                let session = Session::new(layout, served, self.mint_generation(), state);
                // Before anybody else may look: it was silent until now, and its last sync may take long.
                self.beat(&session)?;
                Ok(Leaving::Ours(self.served.insert(session)))
            }
            Serving::Another(_) if vouch.is_some() => Ok(Leaving::Dead(layout, stored.record.epoch)),
            Serving::Another(pid) => Err(served_by_another(&stored, pid)),
        }
    }

    /// The record of a session of ours is gone: somebody took the volume over. What we mounted goes, unless
    /// the attachment that followed is at the same target.
    fn leave_behind(&self, session: &Session) -> Result<()> {
        let stored = session.state().stored.clone();
        let follows = |other: &StoredAttachment| {
            other.record.holder.node == stored.record.holder.node
                && other.record.target == stored.record.target
        };
        let attached = self.attached(&session.layout)?;
        if !attached.iter().any(|(other, _)| follows(other)) {
            self.lower(&session.layout, &stored, BusyFiles::Lazy)?;
        }
        let directory = session.layout.attachments();
        if is_there(&directory)? {
            // It may be our own detach that failed after the unlink.
            self.confirm(&directory)?;
        }
        // Final states stay: one that was fenced is not released.
        session.signal.set(LeaseState::Released);
        self.served.remove(&session.id);
        Ok(())
    }

    async fn sync_at_the_end(
        self: &Arc<Self>,
        call: &crate::directory::calls::Call,
        session: &Arc<Session>,
    ) -> Result<Option<SyncReport>> {
        let (record, cuts) = {
            let state = session.state();
            (state.stored.record.clone(), state.cuts.clone())
        };
        if record.sync == SyncPolicy::Manual || !record.access.writes() {
            return Ok(None);
        }
        let synced = self.sync_session(call, session, cuts.quiesce, cuts.consistency).await;
        match synced.and_then(|report| session.told(report)) {
            // Another detach of ours was faster: what is left to do finds nothing.
            Err(error) if error.kind() == ErrorKind::NotFound && session.is_leaving() => Ok(None),
            synced => synced.map(Some),
        }
    }

    pub(super) fn finish_detach(
        &self,
        id: &AttachmentId,
        leaving: &Leaving,
        busy: BusyFiles,
        meter: &Meter,
    ) -> Result<Left> {
        meter.enter(Phase::Publish);
        let layout = match leaving {
            Leaving::Ours(session) => &session.layout,
            Leaving::Dead(layout, _) => layout,
        };
        let _held = self.exclude(layout, meter)?;
        let Some(stored) = self.on_record(layout, id)? else {
            return Ok(Left { report: DetachReport::new(Outcome::Already), ends: None });
        };
        if let Leaving::Dead(_, epoch) = leaving
            && stored.record.epoch != *epoch
        {
            // Adopted since the first look: neither the proof nor the vouch is about who holds it now.
            return Err(Error::in_use("the holder has moved on", vec![HolderSeen::of(&stored.record)])
                .advise("look at attachments() before ending it again"));
        }
        let mut report = DetachReport::new(Outcome::Done);
        report.left = self.lower_for(leaving, &stored, busy, meter)?;
        leaving.mark(true);
        let removed = self.durable.remove(&layout.attachment(id));
        removed.inspect_err(|_| {
            // Gone, if not durably: that is no take-over.
            leaving.mark(self.on_record(layout, id).is_ok_and(|there| there.is_none()));
        })?;
        // From here on it is detached: what fails now is left to prune.
        let cleared = forget(layout, id).and_then(|()| self.clear_views(layout, id, meter));
        report.left.extend(cleared.err().map(|e| format!("left to prune: {e}")));
        let session = self.served.remove(id);
        session.into_iter().for_each(|session| session.signal.set(LeaseState::Released));
        let ends = self.ends_with(layout, &stored).unwrap_or_else(|e| {
            report.left.push(format!("whether the volume ends with this attachment is left to prune: {e}"));
            None
        });
        Ok(Left { report, ends })
    }

    fn lower_for(
        &self,
        leaving: &Leaving,
        stored: &StoredAttachment,
        busy: BusyFiles,
        meter: &Meter,
    ) -> Result<Vec<String>> {
        match leaving {
            Leaving::Ours(session) => {
                let lowered = self.lower(&session.layout, stored, busy);
                // Refused: it stays attached, so what was taken away already comes back.
                lowered.inspect_err(|_| drop(self.raise(&session.layout, stored, meter)))
            }
            Leaving::Dead(layout, _) if self.node.as_ref() == Some(&stored.record.holder.node) => {
                self.lower(layout, stored, BusyFiles::Lazy)
            }
            Leaving::Dead(..) => {
                Ok(vec!["what the dead node had not flushed is not covered by this detach".into()])
            }
        }
    }

    fn ends_with(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
    ) -> Result<Option<(VolumeName, VolumeId)>> {
        let volume = self.locate_id(&stored.record.volume)?.stored.volume;
        let ends = volume.spec.lifetime == Lifetime::Attachment && attachment_ids(layout)?.is_empty();
        Ok(ends.then_some((volume.name, volume.id)))
    }

    /// Deletes a volume that lives as long as its attachments, unless somebody has attached it since.
    async fn end_volume(self: &Arc<Self>, volume: VolumeName, id: VolumeId, report: &mut DetachReport) {
        let engine = Arc::clone(self);
        let end = move |meter: &Meter| volumes::end(&engine, &volume, &id, meter);
        match self.calls.run(&CallOptions::default(), end).await {
            Ok(_) => report.ended = Some(Lifetime::Attachment),
            Err(error) => {
                report.left.push(format!("the volume was to end with this attachment and stays: {error}"))
            }
        }
    }
}
