//! Taking an attachment up again after a restart: the same id, the next epoch.

use super::{engine::Engine, serving::Cuts, sync::not_attached};
use crate::{
    head::record::Head,
    remote::{HeadActor, in_use},
    workspace::Workspace,
};
use persist_core::{
    Attachment, AttachmentId, AttachmentRecord, Consistency, Epoch, Error, ErrorKind, Liveness, Result,
    Takeover, attachment::AdoptOptions, error::Difference, linux::process, progress::Meter,
};
use std::sync::Arc;

impl Engine {
    pub(super) async fn adopt(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        options: AdoptOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        self.node()?;
        if let Some((near, volume)) = self.find_near(&record.id).await? {
            self.check_writable()?;
            let known = self.shown_record(&near, &volume, &record.volume_name, near.epoch);
            refuse_otherwise(record, &known)?;
            let _turn = self.turns.take(&volume).await;
            return self.adopt_in_turn(record, options, meter).await;
        }
        if !record.access.writes() {
            // Nothing of the bucket changes, so a store that was opened read-only may.
            return self.adopt_reader(record, options).await;
        }
        self.check_writable()?;
        Err(self.not_here(record).await?)
    }

    /// Why an attachment that this node has no record of cannot be adopted.
    async fn not_here(&self, record: &AttachmentRecord) -> Result<Error> {
        let (head, _) = self.remote.find_there(&record.volume).await?;
        let held = head.lease.as_ref().is_some_and(|lease| lease.attachment == record.id);
        if held && head.epoch == record.epoch {
            return Ok(in_use(&head, &record.volume_name));
        }
        Ok(self.gone(record, head.epoch))
    }

    /// Serves an attachment of this node that nobody serves, as it is on record.
    pub(super) async fn take_up(self: &Arc<Self>, id: &AttachmentId) -> Result<()> {
        let (near, volume) = self.find_near(id).await?.ok_or_else(not_attached)?;
        let _turn = self.turns.take(&volume).await;
        let (head, _) = self.remote.find_there(&volume).await?;
        let record = self.shown_record(&near, &volume, &head.name, near.epoch);
        self.adopt_in_turn(&record, AdoptOptions::default(), Meter::default()).await.map(drop)
    }

    async fn adopt_in_turn(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        options: AdoptOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        let near = self.near_record(record).await?;
        let cuts = cuts_of(&options);
        let session = match self.serving.session(&record.volume) {
            Some(session) => session,
            None => self.resume(record, near.as_ref(), &options, meter).await?,
        };
        session.lease().check(record.epoch)?;
        let near = near.ok_or_else(|| self.gone(record, session.epoch))?;
        let adopted = self.spaces()?.near().adopt_granted(&near, options, session.epoch).await;
        match adopted {
            Ok(shown) => Ok(self.handle(&session, session.use_by(shown, cuts), None)),
            Err(error) => {
                self.give_up(&session).await;
                Err(error)
            }
        }
    }

    /// Takes the lease again that this node had, if nobody else has had it since.
    async fn resume(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        near: Option<&AttachmentRecord>,
        options: &AdoptOptions,
        meter: Meter,
    ) -> Result<Arc<super::serving::Session>> {
        let (head, etag) = self.remote.find_there(&record.volume).await?;
        let Some(near) = near else { return Err(self.gone(record, head.epoch)) };
        let workspace = self.serve(&record.volume).await?;
        let state = workspace.state();
        let mine = match &head.lease {
            Some(lease) => state.sessions.contains(&lease.session),
            // Released, or never asked for again: nobody else has had it since.
            None => head.epoch == state.epoch,
        };
        if !mine {
            return Err(self.lost(record, &head, &workspace, meter).await);
        }
        let liveness = options.liveness.clone().unwrap_or_else(|| near.holder.liveness.clone());
        let mut holder = near.holder.clone();
        holder.liveness = match liveness {
            Liveness::Process(_) => Liveness::Process(Some(process::this_process()?)),
            other => other,
        };
        let lease = self.lease(record.id.clone(), holder, near.access);
        let name = &record.volume_name;
        let taken = self.take_head(name, (head, etag), &workspace, lease, &Takeover::Never).await?;
        let actor = HeadActor::start(self.remote.clone(), taken, self.history());
        let of = (record.volume.clone(), record.volume_name.clone());
        Ok(self.begin_session(of, actor, workspace, &meter).await?.0)
    }

    /// Why an attachment cannot be adopted whose volume another has had since. What was written here is kept first:
    /// nobody knows when this node gets the volume again.
    async fn lost(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        head: &Head,
        workspace: &Workspace,
        meter: Meter,
    ) -> Error {
        let advice =
            "another has had the volume since: attach again; what was not synced is kept as a salvage";
        match self.salvage_lost(head, workspace, meter).await {
            Ok(salvage) => Error::fenced(record.epoch, head.epoch, salvage).advise(advice),
            Err(error) => Error::fenced(record.epoch, head.epoch, None)
                .context("what was written stays in the workspace", error)
                .advise("adopt or detach it once more, so that it is kept as a salvage"),
        }
    }

    /// The near store's record of an attachment.
    async fn near_record(&self, record: &AttachmentRecord) -> Result<Option<AttachmentRecord>> {
        let found = self.find_near(&record.id).await?;
        let Some((near, volume)) = found else { return Ok(None) };
        if volume != record.volume {
            return Err(Error::new(ErrorKind::Conflict, "the attachment is of another volume")
                .context("volume", &record.volume_name));
        }
        Ok(Some(near))
    }

    /// Why an attachment that is not on record cannot be adopted.
    fn gone(&self, record: &AttachmentRecord, newest: Epoch) -> Error {
        if newest > record.epoch {
            return Error::fenced(record.epoch, newest, None);
        }
        Error::not_found("the attachment was detached").advise("attach again")
    }
}

/// Refuses to adopt an attachment as what it is not.
fn refuse_otherwise(wanted: &AttachmentRecord, actual: &AttachmentRecord) -> Result<()> {
    let target = |record: &AttachmentRecord| match &record.target {
        Some(target) => target.display().to_string(),
        None => "none".into(),
    };
    let snapshot = |record: &AttachmentRecord| match &record.snapshot {
        Some(name) => name.to_string(),
        None => "none".into(),
    };
    let pairs = [
        ("access", format!("{:?}", wanted.access), format!("{:?}", actual.access)),
        ("target", target(wanted), target(actual)),
        ("snapshot", snapshot(wanted), snapshot(actual)),
    ];
    let differs = pairs.into_iter().filter(|(_, wanted, actual)| wanted != actual);
    let found: Vec<_> =
        differs.map(|(field, wanted, actual)| Difference::new(field, wanted, actual)).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("the attachment is on record otherwise", found).advise("adopt it as it is"))
}

/// How cuts are made from now on; as before where the options say nothing.
fn cuts_of(options: &AdoptOptions) -> Option<Cuts> {
    let says = options.quiesce.is_some() || options.consistency != Consistency::default();
    says.then(|| Cuts { quiesce: options.quiesce.clone(), consistency: options.consistency })
}
