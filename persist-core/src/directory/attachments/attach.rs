//! Attach: the steps that give a volume to a holder, each one redone or undone after a kill.
//!
//! The order makes the record the intent: copies and epochs come before it and are nothing without it,
//! mounts and links come after it and are made again from it.

use super::{
    decide::{Decision, Mint, Seen, decide},
    plan::{At, Shows},
    request::Request,
    served::{Serving, Session, State, seen, serve},
    shown::{check_free, mounted},
    stored::{Shown, StoredAttachment},
    watch,
};
use crate::{
    attachment::{AttachReport, AttachmentRecord, BusyFiles},
    directory::{
        engine::Engine,
        exclusion::Exclusion,
        inside::Judged,
        layout::VolumeLayout,
        place::Verdict,
        snapshots::{read::SnapshotTree, record::StoredSnapshot},
        stored::Located,
    },
    error::{Difference, Error, ErrorKind, Result},
    holder::Holder,
    id::{AttachmentId, Epoch},
    lease::Takeover,
    progress::{Meter, Phase},
    snapshot::Outcome,
};
use std::sync::Arc;

/// An attachment that this call made or found, with the report of this call.
pub(super) type Attached = (Arc<Session>, AttachReport);

/// A reader's private copy, made before the volume is held: a long copy keeps nobody out.
struct Prepared {
    id: AttachmentId,
    shown: Shown,
    served: Exclusion,
    layout: VolumeLayout,
    _source: SnapshotTree,
}

/// Everything an attach is granted from.
struct Grant<'a> {
    located: &'a Located,
    holder: Holder,
    replaced: Vec<&'a StoredAttachment>,
    mint: Mint,
}

impl Engine {
    /// Attaches, or says who is in the way.
    pub(super) fn try_attach(&self, request: &Request, meter: &Meter) -> Result<Attached> {
        let mut copy = None;
        let attached = self.attach_with(request, &mut copy, meter);
        // A copy that is not used by now is never used.
        if let Some(unused) = copy {
            self.drop_prepared(unused, meter);
        }
        attached
    }

    fn attach_with(&self, request: &Request, copy: &mut Option<Prepared>, meter: &Meter) -> Result<Attached> {
        loop {
            meter.enter(Phase::Wait);
            let (held, located) = self.locate_alone(&request.volume, meter)?;
            let attached = self.attached(&located.layout)?;
            let attached = self.judge_leases(request, &located.layout, attached)?;
            let holder = request.holder()?;
            match decide(&request.wanted(&holder), &views(&attached)) {
                Decision::Conflict(differences) => return Err(otherwise(differences)),
                Decision::InUse(at) => return Err(self.in_the_way(&located.layout, &attached, &at)),
                Decision::Same { at, dead, adopting } => {
                    let dead: Vec<_> = dead.iter().map(|i| &attached[*i].0).collect();
                    return self.attach_again(
                        request,
                        &located,
                        holder,
                        &attached[at].0,
                        &dead,
                        adopting,
                        meter,
                    );
                }
                Decision::Grant { .. } if request.plan.shows == Shows::Copy && copy.is_none() => {
                    drop(held);
                    *copy = Some(self.prepare_copy(request, &located, meter)?);
                }
                Decision::Grant { replaced, mint } => {
                    let replaced = replaced.iter().map(|i| &attached[*i].0).collect();
                    let grant = Grant { located: &located, holder, replaced, mint };
                    return self.grant(request, grant, copy, meter);
                }
            }
        }
    }

    /// What [`try_attach`](Self::try_attach) would decide: the attachment that the holder has, or none for
    /// a new one. Changes nothing.
    pub(super) fn foresee(&self, request: &Request) -> Result<Judged> {
        let holder = request.holder()?;
        let located = match self.locate(&request.volume) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if let (At::Mount | At::Symlink, Some(target)) = (request.plan.at, &request.options.target) {
                    check_free(request.plan.at, target, self.layout.root())?;
                }
                return Ok(Judged { holder, same: None });
            }
            located => located?,
        };
        let attached = self.attached(&located.layout)?;
        let same = match decide(&request.wanted(&holder), &views(&attached)) {
            Decision::Conflict(differences) => return Err(otherwise(differences)),
            Decision::InUse(at) => return Err(self.in_the_way(&located.layout, &attached, &at)),
            Decision::Same { at, .. } => Some(attached[at].0.record.clone()),
            Decision::Grant { .. } => {
                if let (At::Mount | At::Symlink, Some(target)) = (request.plan.at, &request.options.target) {
                    check_free(request.plan.at, target, self.layout.root())?;
                }
                None
            }
        };
        Ok(Judged { holder, same })
    }

    fn grant(
        &self,
        request: &Request,
        grant: Grant<'_>,
        copy: &mut Option<Prepared>,
        meter: &Meter,
    ) -> Result<Attached> {
        let layout = &grant.located.layout;
        let (shown, lag) = self.tree_to_show(request, grant.located)?;
        if copy.as_ref().is_some_and(|copy| copy.shown != shown || copy.layout != *layout) {
            return Err(
                Error::not_found("the snapshot was replaced while it was copied").advise("repeat the call")
            );
        }
        let mut report = AttachReport::new(Outcome::Done, self.info.characteristics.fencing);
        report.lag = lag;
        self.take_down(layout, &grant.replaced, &mut report)?;
        if let (At::Mount | At::Symlink, Some(target)) = (request.plan.at, &request.options.target) {
            check_free(request.plan.at, target, self.layout.root())?;
        }
        meter.check()?;
        meter.enter(Phase::Publish);
        let (id, served) = match copy.take() {
            Some(copy) => (copy.id, copy.served),
            None => {
                self.new_id(layout, request.granted.as_ref().map(|granted| &granted.attachment), meter)?
            }
        };
        let made = self.publish_attachment(request, &grant, &id, shown, &mut report, meter);
        let (stored, path) = made.inspect_err(|_| self.undo(layout, &id, meter))?;
        self.fence_replaced(&grant.replaced, stored.record.epoch);
        self.remark(&mut report, &stored, request);
        let state = State::new(stored, path, report.clone(), request.cuts());
        let session = Session::new(layout.clone(), served, self.mint_generation(), state);
        let session = self.served.insert(session);
        Ok((session, report))
    }

    fn publish_attachment(
        &self,
        request: &Request,
        grant: &Grant<'_>,
        id: &AttachmentId,
        shown: Shown,
        report: &mut AttachReport,
        meter: &Meter,
    ) -> Result<(StoredAttachment, std::path::PathBuf)> {
        let volume = &grant.located.stored.volume;
        let layout = &grant.located.layout;
        // First the epoch: who finds its record gone then knows who writes now.
        let epoch = self.epoch_for(grant.located, grant.mint, id, request.granted_epoch())?;
        self.clear(layout, &grant.replaced, report, meter)?;
        let of = (volume.id.clone(), volume.name.clone());
        let options = &request.options;
        let mut record =
            AttachmentRecord::new(id.clone(), of, grant.holder.clone(), options.access, epoch, self.now());
        record.target.clone_from(&options.target);
        record.snapshot.clone_from(&options.snapshot);
        record.sync = options.sync;
        let vouch = match &options.takeover {
            Takeover::Vouched(vouch) if grant.replaced.iter().any(|r| r.record.id == vouch.attachment) => {
                Some(vouch.clone())
            }
            _ => None,
        };
        let stored = StoredAttachment { record, plan: request.plan.clone(), shown: vec![shown], vouch };
        self.record_attachment(layout, &stored)?;
        let raised = self.raise(layout, &stored, meter);
        let path = raised.inspect_err(|_| drop(self.lower(layout, &stored, BusyFiles::Lazy)))?;
        Ok((stored, path))
    }

    /// The epoch that a decision gives. The caller holds the volume's exclusion, and has located it since.
    pub(super) fn epoch_for(
        &self,
        located: &Located,
        mint: Mint,
        by: &AttachmentId,
        granted: Option<Epoch>,
    ) -> Result<Epoch> {
        match mint {
            Mint::New | Mint::Share(_) if granted.is_some() => self.take_granted(located, by, granted),
            Mint::New => self.mint_epoch(located, by),
            Mint::Share(epoch) => Ok(epoch),
            Mint::Seen => Ok(located.stored.volume.epoch),
        }
    }

    fn new_id(
        &self,
        layout: &VolumeLayout,
        granted: Option<&AttachmentId>,
        meter: &Meter,
    ) -> Result<(AttachmentId, Exclusion)> {
        loop {
            let id = granted
                .cloned()
                .unwrap_or_else(|| AttachmentId::mint(&*self.environment.clock, &*self.environment.entropy));
            match serve(layout, &id, meter) {
                Ok(Serving::Ours(held)) => return Ok((id, held)),
                // Prune looked at the new file before it was held, and may have removed it: the next one.
                Ok(Serving::Another(_)) => {}
                Err(e) if e.kind() == ErrorKind::NotFound && layout.all_served().exists() => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The tree that a request is shown, and how old it is if it is pinned.
    fn tree_to_show(
        &self,
        request: &Request,
        located: &Located,
    ) -> Result<(Shown, Option<std::time::Duration>)> {
        let Some(name) = &request.options.snapshot else {
            let generation = located.stored.generation.clone();
            return Ok((Shown { number: 1, generation, snapshot: None }, None));
        };
        let StoredSnapshot { snapshot, generation } = self.pinned(located, name)?;
        let age = self.now().as_millisecond().saturating_sub(snapshot.taken.as_millisecond());
        let lag = std::time::Duration::from_millis(u64::try_from(age).unwrap_or(0));
        Ok((Shown { number: 1, generation, snapshot: Some(name.clone()) }, Some(lag)))
    }

    /// Makes a reader's private copy, under an id that is served but not on record: nobody else takes it for
    /// garbage, and nobody shows it.
    fn prepare_copy(&self, request: &Request, located: &Located, meter: &Meter) -> Result<Prepared> {
        let layout = located.layout.clone();
        let name = request.options.snapshot.as_ref();
        let name = name.ok_or_else(|| Error::internal("only a snapshot is copied for a reader"))?;
        let source = self.read_snapshot(&layout, &located.stored.volume.id, name, meter)?;
        let generation = source.stored.generation.clone();
        let shown = Shown { number: 1, generation, snapshot: Some(name.clone()) };
        let granted = request.granted.as_ref().map(|granted| &granted.attachment);
        let (id, served) = self.new_id(&layout, granted, meter)?;
        let view = layout.views_of(&id).join(shown.number.to_string());
        let copied = self.copy(&layout, &id, &source.tree.path, meter);
        let put = copied.and_then(|copy| self.put_copy(&copy, &view, meter));
        put.inspect_err(|_| self.undo(&layout, &id, meter))?;
        Ok(Prepared { id, shown, served, layout, _source: source })
    }

    fn drop_prepared(&self, copy: Prepared, meter: &Meter) {
        self.undo(&copy.layout, &copy.id, meter);
    }

    /// Takes back what an attach made that failed. What cannot be taken back is garbage that `prune` finds.
    fn undo(&self, layout: &VolumeLayout, id: &AttachmentId, meter: &Meter) {
        let undone = self
            .durable
            .remove(&layout.attachment(id))
            .and_then(|()| super::served::forget(layout, id))
            .and_then(|()| self.clear_views(layout, id, meter));
        if let Err(error) = undone {
            tracing::warn!(attachment = %id, %error, "a failed attach left something to prune");
        }
    }

    /// Says what is not enforced, or not as asked.
    pub(super) fn remark(&self, report: &mut AttachReport, stored: &StoredAttachment, request: &Request) {
        report.mounted = mounted(stored);
        if stored.plan.shows == Shows::Copy {
            report.remarks.push(
                "the reader has a private copy: what is written into it is never seen by the volume".into(),
            );
        }
        if request.options.takeover == Takeover::WhenExpired && self.place.lease().is_none() {
            report.remarks.push("on this store no lease runs out: only the proven dead make room".into());
        }
    }

    fn in_the_way(
        &self,
        layout: &VolumeLayout,
        attached: &[(StoredAttachment, Verdict)],
        at: &[usize],
    ) -> Error {
        let holders = at.iter().map(|i| seen(layout, &attached[*i].0)).collect();
        let refusal = Error::in_use("another holder has the volume, or the target", holders);
        match self.place.lease() {
            None => refusal.advise("wait for it, or vouch that it is dead"),
            Some(lease) => refusal.advise(format!(
                "wait for it, vouch that it is dead, or attach with Takeover::WhenExpired and a wait of more than {:?}",
                watch::silence(lease)
            )),
        }
    }
}

fn otherwise(differences: Vec<Difference>) -> Error {
    Error::conflict("the holder has it otherwise, or has moved on", differences)
        .advise("read attachments() and decide: detach the one that is there, or take it as it is")
}

/// What was found, as decisions read it.
pub(super) fn views(attached: &[(StoredAttachment, Verdict)]) -> Vec<Seen<'_>> {
    attached.iter().map(|(stored, verdict)| stored.seen(verdict)).collect()
}
