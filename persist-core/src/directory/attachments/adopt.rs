//! Taking an attachment up again: by its holder, or by a process that finds it unserved.

use super::{
    attach::{Attached, views},
    decide::{Identity, Mint, adopting, differences, identity},
    plan::Plan,
    request::{Request, of_process},
    served::{Cuts, Serving, Session, State, serve, served_by_another},
    shown::mounted,
    stored::{StoredAttachment, read},
};
use crate::{
    attachment::{AdoptOptions, AttachReport, AttachmentRecord, BusyFiles},
    capability::Consistency,
    directory::{engine::Engine, layout::VolumeLayout, place::Verdict, stored::Located},
    error::{Error, HolderSeen, Result},
    holder::{Holder, Liveness},
    id::{AttachmentId, Epoch},
    progress::Meter,
    quiesce::SyncPolicy,
    snapshot::Outcome,
};
use std::sync::Arc;

/// What may change about an attachment that is taken up again.
#[derive(Debug, Clone)]
struct Renewed {
    liveness: Liveness,
    sync: SyncPolicy,
    plan: Plan,
    /// None as before.
    cuts: Option<Cuts>,
    /// The epoch that the outer store has granted, where there is one.
    epoch: Option<Epoch>,
}

impl Engine {
    /// The same holder attaches again: the attachment that it serves, or the one that it adopts.
    #[expect(clippy::too_many_arguments, reason = "the parts of one decision")]
    pub(super) fn attach_again(
        &self,
        request: &Request,
        located: &Located,
        holder: Holder,
        stored: &StoredAttachment,
        dead: &[&StoredAttachment],
        mint: Mint,
        meter: &Meter,
    ) -> Result<Attached> {
        let plan = Plan { policy: request.plan.policy.clone(), ..stored.plan.clone() };
        let renewed = Renewed {
            liveness: holder.liveness,
            sync: request.options.sync,
            plan,
            cuts: Some(request.cuts()),
            epoch: request.granted_epoch(),
        };
        let (session, mut report) = match self.served.get(&stored.record.id) {
            Some(session) => (self.renew_session(session, stored, renewed, meter))?,
            None => self.take_up(located, stored, renewed, mint, meter)?,
        };
        self.take_down(&located.layout, dead, &mut report)?;
        self.clear(&located.layout, dead, &mut report, meter)?;
        let fresh = session.state().stored.clone();
        self.remark(&mut report, &fresh, request);
        session.state().report = report.clone();
        Ok((session, report))
    }

    /// Adopts the attachment of `record`.
    pub(super) fn try_adopt(
        &self,
        record: &AttachmentRecord,
        options: &AdoptOptions,
        granted: Option<Epoch>,
        meter: &Meter,
    ) -> Result<Attached> {
        let located = self.locate_id(&record.volume).map_err(|e| e.context("volume", &record.volume_name))?;
        let _held = self.exclude(&located.layout, meter)?;
        let located = self.locate_id(&record.volume)?;
        let Some(stored) = read(&located.layout, &record.id)? else {
            return Err(match located.stored.volume.epoch {
                newest if record.access.writes() && newest > record.epoch => {
                    Error::fenced(record.epoch, newest, None)
                }
                _ => Error::not_found("the attachment was detached").advise("attach again"),
            });
        };
        let wanted = Identity {
            access: record.access,
            target: record.target.as_deref(),
            kind: stored.kind(),
            snapshot: record.snapshot.as_ref(),
        };
        let differences = differences(&wanted, &identity(&stored.seen(&Verdict::CannotTell)));
        if !differences.is_empty() {
            return Err(Error::conflict("the attachment is on record otherwise", differences)
                .advise("adopt it as it is"));
        }
        let liveness = match (&options.liveness, &stored.record.holder.liveness) {
            (Some(liveness), _) => liveness.clone(),
            (None, Liveness::Process(_)) => Liveness::Process(None),
            (None, other) => other.clone(),
        };
        let renewed = Renewed {
            liveness: of_process(liveness)?,
            sync: options.sync.unwrap_or(stored.record.sync),
            plan: stored.plan.clone(),
            cuts: options.cuts(),
            epoch: granted,
        };
        self.take_up_on_record(&located, &stored, renewed, meter)
    }

    /// Takes up the attachment `id` of a volume as it is on record; `None` if it is not there.
    pub(super) fn take_up_as_it_is(
        &self,
        layout: &VolumeLayout,
        id: &AttachmentId,
        meter: &Meter,
    ) -> Result<Option<Arc<Session>>> {
        let _held = self.exclude(layout, meter)?;
        let Some(stored) = read(layout, id)? else { return Ok(None) };
        let located = self.locate_id(&stored.record.volume)?;
        let liveness = match stored.record.holder.liveness.clone() {
            Liveness::Process(_) => of_process(Liveness::Process(None))?,
            other => other,
        };
        let (sync, plan) = (stored.record.sync, stored.plan.clone());
        let renewed = Renewed { liveness, sync, plan, cuts: None, epoch: None };
        self.take_up_on_record(&located, &stored, renewed, meter).map(|(session, _)| Some(session))
    }

    fn take_up_on_record(
        &self,
        located: &Located,
        stored: &StoredAttachment,
        renewed: Renewed,
        meter: &Meter,
    ) -> Result<Attached> {
        if let Some(session) = self.served.get(&stored.record.id) {
            return self.renew_session(session, stored, renewed, meter);
        }
        let attached = self.attached(&located.layout)?;
        let at = attached.iter().position(|(other, _)| other.record.id == stored.record.id);
        let mint = at.map_or(Mint::New, |at| adopting(&views(&attached), at));
        self.take_up(located, stored, renewed, mint, meter)
    }

    /// Serves an attachment that nobody serves, under the epoch that its decision gives.
    fn take_up(
        &self,
        located: &Located,
        stored: &StoredAttachment,
        renewed: Renewed,
        mint: Mint,
        meter: &Meter,
    ) -> Result<Attached> {
        let layout = &located.layout;
        self.check_here(stored)?;
        let served = match serve(layout, &stored.record.id, meter)? {
            Serving::Ours(served) => served,
            Serving::Another(pid) => return Err(served_by_another(stored, pid)),
        };
        let mut fresh = self.renewed(layout, stored, &renewed)?;
        if let Some(live) = fresh.shown.first_mut().filter(|shown| shown.snapshot.is_none()) {
            // A restore since has made another tree the live one; what shows the old one goes.
            if live.generation != located.stored.generation {
                live.generation = located.stored.generation.clone();
                self.lower(layout, stored, BusyFiles::Lazy)?;
            }
        }
        fresh.record.epoch = self.epoch_for(located, mint, &stored.record.id, renewed.epoch)?;
        self.rewrite_attachment(layout, &fresh)?;
        let path = self.raise(layout, &fresh, meter)?;
        let mut report = AttachReport::new(Outcome::Already, self.info.characteristics.fencing);
        report.mounted = mounted(&fresh);
        let state = State::new(fresh, path, report.clone(), renewed.cuts.unwrap_or_default());
        let session = Session::new(layout.clone(), served, self.mint_generation(), state);
        // Before anybody else may look: it was silent until now, and its epoch may be the one that it had.
        self.beat(&session)?;
        let session = self.served.insert(session);
        Ok((session, report))
    }

    /// Updates the options of an attachment that this store serves.
    fn renew_session(
        &self,
        session: Arc<Session>,
        stored: &StoredAttachment,
        renewed: Renewed,
        meter: &Meter,
    ) -> Result<Attached> {
        let layout = &session.layout;
        session.signal.watch().check(stored.record.epoch)?;
        let fresh = self.renewed(layout, stored, &renewed)?;
        if fresh != *stored {
            self.rewrite_attachment(layout, &fresh)?;
        }
        let path = self.raise(layout, &fresh, meter)?;
        let mut state = session.state();
        state.stored = fresh;
        state.path = path;
        state.cuts = renewed.cuts.unwrap_or_else(|| state.cuts.clone());
        let report = AttachReport {
            outcome: Outcome::Already,
            replaced: Vec::new(),
            remarks: Vec::new(),
            ..state.report.clone()
        };
        drop(state);
        self.served.renewal.wake();
        Ok((session, report))
    }

    /// The record with new options. A mount with another policy is taken away, to be made again.
    fn renewed(
        &self,
        layout: &VolumeLayout,
        stored: &StoredAttachment,
        renewed: &Renewed,
    ) -> Result<StoredAttachment> {
        let mut fresh = stored.clone();
        fresh.record.holder.liveness = renewed.liveness.clone();
        fresh.record.sync = renewed.sync;
        fresh.plan = renewed.plan.clone();
        if fresh.plan.policy != stored.plan.policy {
            self.lower(layout, stored, BusyFiles::Refuse)?;
        }
        Ok(fresh)
    }

    /// Refuses what another node, or another boot of this one, holds: its mounts and its writers are there.
    fn check_here(&self, stored: &StoredAttachment) -> Result<()> {
        if *self.node()? == stored.record.holder.node {
            return Ok(());
        }
        Err(Error::in_use(
            "the attachment is of another node, or of another boot",
            vec![HolderSeen::of(&stored.record)],
        )
        .advise("vouch that it is dead, and attach for yourself"))
    }
}

impl AdoptOptions {
    /// How cuts are made from now on; as before where the options say nothing.
    fn cuts(&self) -> Option<Cuts> {
        let says = self.quiesce.is_some() || self.consistency != Consistency::default();
        says.then(|| Cuts { quiesce: self.quiesce.clone(), consistency: self.consistency })
    }
}
