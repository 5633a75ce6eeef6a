//! Attaching for writing: the lease, the copy on this node, and then what shows it.
//!
//! The near store decides who of this node may have the volume, the head decides between nodes. The head comes
//! between the near store's judgement and its attachment, so that nobody is shown a tree that another node
//! writes; a kill in between leaves a lease that runs out or that this node takes again.

use super::{
    commits::Read,
    engine::Engine,
    serving::{Cuts, Session, Use},
};
use crate::{
    head::{change::Change, record::Head, recovery::Recovery, writer::ETag},
    remote::{HeadActor, in_use},
    transfer::read::Held,
    workspace::{Workspace, hydrate::HydrateReport},
};
use futures::{FutureExt, TryStreamExt};
use persist_core::{
    Access, AttachOptions, Attachment, AttachmentId, AttachmentRecord, DetachOptions, Epoch, Error,
    ErrorKind, Fencing, Result, Takeover, VolumeId, VolumeName, VolumeStore,
    attachment::{AttachReport, AttachmentFilter, BusyFiles},
    directory::Granted,
    error::HolderSeen,
    progress::{Meter, Phase},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The pauses of a waiter between looks at a volume that another has: from about the time that a detach takes,
/// to what a person does not notice. Within one store the end of an attachment wakes it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// For how many first pauses a workspace is waited for that another call of this process lets go: two seconds,
/// more than the blocking step that it may be in.
const LETTING_GO_LOOKS: u32 = 100;

impl Engine {
    pub(super) async fn attach(
        self: &Arc<Self>,
        name: &VolumeName,
        mut options: AttachOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        self.node()?;
        self.info.require(options.access.capability(), "this store does not have this access mode")?;
        if options.access == Access::ReadOnly {
            return self.attach_reader(name, options, meter).await;
        }
        self.check_writable()?;
        // No end is as good as one that no clock can tell.
        let wait = options.wait.take();
        let until = wait.map(|wait| Instant::now().checked_add(wait));
        let mut pause = FIRST_PAUSE;
        loop {
            // Asked for before the look, so that who leaves in between is not missed.
            let departed = self.serving.departed.notified();
            let refused = match self.try_attach(name, options.clone(), meter.clone()).await {
                Err(error) if error.kind() == ErrorKind::InUse => error,
                attached => return attached,
            };
            let left = match until {
                None => return Err(refused),
                Some(None) => Duration::MAX,
                Some(Some(until)) => until.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return Err(refused);
            }
            meter.enter(Phase::Wait);
            tokio::select! {
                () = departed => pause = FIRST_PAUSE,
                () = tokio::time::sleep(pause.min(left)) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }

    async fn try_attach(
        self: &Arc<Self>,
        name: &VolumeName,
        options: AttachOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        let (head, etag) = self.remote.locate(name).await?;
        let volume = head.volume.clone();
        let _turn = self.turns.take(&volume).await;
        if let Some(session) = self.serving.session(&volume) {
            if self.goes_on(&session).await? {
                return self.attach_beside(&session, options).await;
            }
            // Another has it: only once that one has left is what this store still shows taken away.
            let (head, _) = self.remote.find_there(&volume).await?;
            if head.lease.is_some() {
                return Err(in_use(&head, name));
            }
            self.retire(&session).await?;
        }
        self.attach_alone(name, (head, etag), options, meter).await
    }

    /// Whether the tree of a session may be shown and written under its lease. A last detach that was interrupted may
    /// have said that the tree is clean, and have asked to give the lease back.
    async fn goes_on(&self, session: &Session) -> Result<bool> {
        if session.is_over() {
            return Ok(false);
        }
        if session.is_shown() {
            return Ok(true);
        }
        // Answered once what was asked for before is concluded.
        match session.actor.change(Change::Renew).await {
            Err(error) if matches!(error.kind(), ErrorKind::Fenced | ErrorKind::NotFound) => {
                return Ok(false);
            }
            renewed => drop(renewed?),
        }
        if session.is_over() {
            return Ok(false);
        }
        session.workspace.allow_writes(session.epoch).await?;
        Ok(true)
    }

    /// One more attachment of a volume whose lease this store holds, or the one that the holder has.
    async fn attach_beside(
        self: &Arc<Self>,
        session: &Arc<Session>,
        options: AttachOptions,
    ) -> Result<Attachment> {
        let granted = Granted { attachment: self.new_attachment(), epoch: session.epoch };
        let cuts = Cuts { quiesce: options.quiesce.clone(), consistency: options.consistency };
        let near = self.spaces()?.near();
        let shown = near.attach_granted(session.workspace.near_name(), options, granted).await?;
        Ok(self.handle(session, session.use_by(shown, Some(cuts)), None))
    }

    /// The first attachment of this process: it takes the lease.
    async fn attach_alone(
        self: &Arc<Self>,
        name: &VolumeName,
        seen: (Head, ETag),
        options: AttachOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        let spaces = self.spaces()?;
        let volume = &seen.0.volume.clone();
        let near_name = near_name(volume)?;
        // What this node's own records refuse is refused before anything moves.
        let judged = spaces.near().judge_attach(&near_name, &options).await?;
        self.refuse_other_boots(volume, &options.takeover).await?;
        let workspace = self.serve(volume).await?;
        let left = judged.same.map(|record| record.id);
        let id = left.clone().unwrap_or_else(|| self.new_attachment());
        let lease = self.lease(id.clone(), judged.holder, options.access);
        meter.enter(Phase::Wait);
        let taken = self.take_head(name, seen, &workspace, lease, &options.takeover).await?;
        let replaced = taken.from.as_ref().map(|from| from.attachment.clone()).filter(|from| *from != id);
        let actor = HeadActor::start(self.remote.clone(), taken, self.history());
        let of = (volume.clone(), name.clone());
        let begun = self.begin_session(of, actor, workspace, &meter).await?;
        let (session, brought) = begun;
        let cuts = Cuts { quiesce: options.quiesce.clone(), consistency: options.consistency };
        let granted = Granted { attachment: id, epoch: session.epoch };
        let shown = spaces.near().attach_granted(&near_name, options, granted).await;
        let shown = match shown {
            Ok(shown) => shown,
            Err(error) => {
                self.give_up(&session).await;
                return Err(error);
            }
        };
        let mut attached = self.handle(&session, session.use_by(shown, Some(cuts)), replaced);
        if let Some(brought) = brought {
            attached = with_remarks(attached, brought.remarks, self);
        }
        Ok(attached)
    }

    /// A boot proves nothing where other hosts reach the store too: the node's identity may be another's.
    async fn refuse_other_boots(&self, volume: &VolumeId, takeover: &Takeover) -> Result<()> {
        let filter = AttachmentFilter::default().with_volume(near_name(volume)?);
        let mut shown: Vec<_> = self.spaces()?.near().attachments(filter).try_collect().await?;
        let vouched =
            |id: &AttachmentId| matches!(takeover, Takeover::Vouched(vouch) if vouch.attachment == *id);
        shown.retain(|record| Some(&record.holder.node) != self.node.as_ref() && !vouched(&record.id));
        if shown.is_empty() {
            return Ok(());
        }
        let holders = shown.iter().map(HolderSeen::of).collect();
        Err(Error::in_use("another boot of this node holds the volume", holders)
            .advise("vouch that it is dead"))
    }

    /// Serves the workspace of a volume.
    ///
    /// # Errors
    /// `InUse` with who is shown it, while another process does.
    pub(super) async fn serve(&self, volume: &VolumeId) -> Result<Workspace> {
        let spaces = self.spaces()?;
        let mut looks = 0;
        let refused = loop {
            match spaces.serve(volume).await {
                Err(error) if error.kind() == ErrorKind::InUse => {
                    // A call of this process that was dropped lets go at its next safe point.
                    let ours = spaces.server(volume).await?.is_none_or(|pid| pid == std::process::id());
                    if !ours || looks == LETTING_GO_LOOKS {
                        break error;
                    }
                    looks += 1;
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
                served => return served,
            }
        };
        let filter = AttachmentFilter::default().with_volume(near_name(volume)?);
        let shown: Vec<_> = spaces.near().attachments(filter).try_collect().await?;
        let pid = spaces.server(volume).await?;
        let seen = |record: &AttachmentRecord| {
            let seen = HolderSeen::of(record);
            pid.map_or(seen.clone(), |pid| seen.with_pid(pid))
        };
        let holders: Vec<_> = shown.iter().map(seen).collect();
        if holders.is_empty() {
            return Err(refused);
        }
        Err(Error::in_use("another process, or another opened store of this one, serves the volume", holders)
            .advise("let it detach or close, or vouch that it is dead"))
    }

    /// Recovers what a crash has left, brings the head's tree here, and serves it. On an error the lease is
    /// given back. No attachment shows a tree that is replaced.
    pub(super) async fn begin_session(
        self: &Arc<Self>,
        of: (VolumeId, VolumeName),
        actor: HeadActor,
        workspace: Workspace,
        meter: &Meter,
    ) -> Result<(Arc<Session>, Option<HydrateReport>)> {
        let head = actor.head();
        let prepared = self.prepare(&head, &of.1, &workspace, meter).await;
        match prepared {
            Ok((base, brought)) => {
                let session = self.serving.begin(Session::new(of, actor, workspace, base));
                self.watch(&session)?;
                Ok((session, brought))
            }
            Err(error) => {
                if let Err(left) = actor.change(Change::Release).await {
                    tracing::warn!(volume = %of.1, error = %left, "a lease is left to run out");
                }
                // Its task has ended with the release, or ends by itself.
                let _ = actor.close().await;
                Err(error)
            }
        }
    }

    async fn prepare(
        self: &Arc<Self>,
        head: &Head,
        name: &VolumeName,
        workspace: &Workspace,
        meter: &Meter,
    ) -> Result<(Option<Read>, Option<HydrateReport>)> {
        let Some(commit) = &head.commit else {
            return Err(Error::new(ErrorKind::Corrupt, "the volume has no commit").context("volume", name));
        };
        let mut base = None;
        if workspace.state().recovery(head) != Recovery::Keep {
            let read = self.commits.read(&head.volume, commit).await?;
            self.follow(&read, workspace).await?;
            base = Some(read);
        }
        let brought = match workspace.settle(head).await? {
            Recovery::Keep => None,
            recovery => {
                let dirty = recovery == Recovery::SalvageThenHydrate;
                if dirty {
                    self.salvage_left(head, workspace, meter.clone()).await?;
                }
                // Holders that only others can prove dead would keep their old tree, and their successors out; and
                // nobody is shown a tree that is replaced.
                let shown = self.take_away(workspace).await?;
                if dirty && !shown.is_empty() {
                    // They were shown it until now.
                    self.salvage_left(head, workspace, meter.clone()).await?;
                }
                if dirty {
                    workspace.salvaged().await?;
                }
                meter.enter(Phase::Transfer);
                let read = base.as_ref().ok_or_else(|| Error::internal("a commit was not read"))?;
                let tree = Arc::new(self.tree(read, Held::Pinned).await?);
                Some(workspace.hydrate(head.commit.clone(), tree, meter).boxed().await?)
            }
        };
        workspace.allow_writes(head.epoch).await?;
        // What it was read with is not kept for as long as the session lasts.
        Ok((base.map(|base| Read { known: Vec::new(), ..base }), brought))
    }

    /// Detaches what still shows the tree of a workspace that nobody serves; what did.
    async fn take_away(&self, workspace: &Workspace) -> Result<Vec<AttachmentRecord>> {
        let near = self.spaces()?.near();
        let filter = AttachmentFilter::default().with_volume(workspace.near_name().clone());
        let shown: Vec<AttachmentRecord> = near.attachments(filter).try_collect().await?;
        for record in &shown {
            near.detach(&record.id, DetachOptions::default()).await?;
        }
        Ok(shown)
    }

    /// A caller's handle.
    pub(super) fn handle(
        self: &Arc<Self>,
        session: &Session,
        used: Use,
        replaced: Option<AttachmentId>,
    ) -> Attachment {
        let record = self.shown_record(used.near.record(), &session.volume, &session.name, session.epoch);
        let mut report = used.near.report().clone();
        report.fencing = Fencing::CommitGate;
        let before = Epoch::new(session.epoch.get().saturating_sub(1));
        let known = |id: &AttachmentId| report.replaced.iter().any(|(there, _)| there == id);
        if let Some(id) = replaced.filter(|id| !known(id)) {
            report.replaced.push((id, before));
        }
        let path = used.near.path().to_path_buf();
        let keep = Arc::new((Arc::clone(self), used.near));
        Attachment::new(record, path, report, used.signal.watch(), keep)
    }

    /// An attachment of the near store as one of this store.
    pub(super) fn shown_record(
        &self,
        near: &AttachmentRecord,
        volume: &VolumeId,
        name: &VolumeName,
        epoch: Epoch,
    ) -> AttachmentRecord {
        let mut record = near.clone();
        (record.volume, record.volume_name, record.epoch) = (volume.clone(), name.clone(), epoch);
        record
    }

    /// Takes away what a session shows that another has taken over from; what it wrote is a salvage.
    pub(super) async fn retire(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        for used in session.uses() {
            let lowering = DetachOptions::default().with_busy(BusyFiles::Lazy);
            self.spaces()?.near().detach(&used.near.id, lowering).await?;
            session.release(&used.near.id);
        }
        self.bury(session).await?;
        self.serving.end(&session.volume);
        Ok(())
    }

    /// Ends a session that nobody uses: its lease is given back, its copy stays as it is.
    pub(super) async fn give_up(self: &Arc<Self>, session: &Arc<Session>) {
        if !session.uses().is_empty() {
            return;
        }
        if let Err(error) = self.release(session).await {
            tracing::warn!(volume = %session.volume, %error, "a lease is left to run out");
        }
    }
}

/// The near store's name of a volume's tree.
pub(super) fn near_name(volume: &VolumeId) -> Result<VolumeName> {
    VolumeName::new(volume.to_string()).map_err(|e| Error::internal("an id is no name").with_source(e))
}

fn with_remarks(attached: Attachment, remarks: Vec<String>, engine: &Arc<Engine>) -> Attachment {
    let mut report: AttachReport = attached.report().clone();
    report.remarks.extend(remarks);
    let (record, path, watch) = (attached.record().clone(), attached.path().to_path_buf(), attached.watch());
    Attachment::new(record, path, report, watch, Arc::new((Arc::clone(engine), attached)))
}
