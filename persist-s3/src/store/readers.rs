//! Readers: pinned to a commit, which is brought to this node, and shown so that nobody can write to it.
//!
//! Their trees are volumes of a near store of their own: one for each volume, its snapshots the commits that
//! readers of this node are shown. Once a commit is here its reader needs nothing of the bucket.

use super::{attach::near_name, engine::Engine, serving::Reader, sync::not_attached};
use crate::{
    head::{names::CommitName, record::Head},
    remote::pins::{PinnedBy, held::HeldPin},
    transfer::read::Held,
    workspace::{Workspace, Workspaces, state::Shown},
};
use futures::{FutureExt, TryStreamExt};
use persist_core::{
    AttachOptions, Attachment, AttachmentId, AttachmentRecord, DetachOptions, Error, ErrorKind, Fencing,
    Holder, Liveness, Node, NodeId, Result, SnapshotName, SyncOptions, VolumeId, VolumeName, VolumeStore,
    Workload,
    attachment::{AdoptOptions, AttachmentFilter, DetachReport, RefreshOptions, RefreshReport},
    error::HolderSeen,
    holder::BootId,
    lease::LeaseSignal,
    progress::{Meter, Phase},
    quiesce::SyncReport,
    snapshot::DeleteSnapshotOptions,
};
use std::{fmt, sync::Arc, time::Duration};

/// For how long a pin holds without being renewed: that of a lease.
const PIN_TTL: Duration = crate::head::lease::TTL;

/// For how long a workspace of readers is waited for that another process fills just now, and how often it is
/// looked at.
const TURN_LOOKS: u32 = 600;
const TURN_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    pub(super) async fn attach_reader(
        self: &Arc<Self>,
        name: &VolumeName,
        options: AttachOptions,
        meter: Meter,
    ) -> Result<Attachment> {
        let spaces = self.readers()?;
        let (head, _) = self.remote.locate(name).await?;
        let id = head.volume.clone();
        let (commit, taken) = self.commit_to_read(&head, options.snapshot.as_ref()).await?;
        let mut shown = options.clone();
        shown.snapshot = Some(near_snapshot(&commit)?);
        let near = near_name(&id)?;
        let judged = spaces.near().judge_attach(&near, &shown).await?;
        let _turn = self.turns.take(&id).await;
        let mut remarks = Vec::new();
        if judged.same.is_none() {
            remarks = self.bring(&spaces, &id, &commit, &meter).await?;
        }
        let near = spaces.near().attach(&near, shown).await?;
        let mut record = self.shown_record(near.record(), &id, name, head.epoch);
        record.snapshot = options.snapshot;
        let workspace = serve(&spaces, &id).await?;
        workspace.show(Shown { record: record.clone(), near: near.id.clone() }).await?;
        let mut report = near.report().clone();
        report.fencing = Fencing::CommitGate;
        report.remarks.extend(remarks);
        let age = self.now().as_millisecond().saturating_sub(taken.as_millisecond());
        report.lag = Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)));
        Ok(self.reader_handle(spaces, record, near, report))
    }

    fn reader_handle(
        self: &Arc<Self>,
        spaces: Workspaces,
        record: AttachmentRecord,
        near: Attachment,
        report: persist_core::attachment::AttachReport,
    ) -> Attachment {
        let mut all = self.serving.readers();
        let reader = all.entry(record.id.clone()).or_insert_with(|| {
            Arc::new(Reader { record: record.clone(), signal: LeaseSignal::held(), spaces })
        });
        let watch = reader.signal.watch();
        drop(all);
        let path = near.path().to_path_buf();
        Attachment::new(record, path, report, watch, Arc::new((Arc::clone(self), near)))
    }

    pub(super) async fn adopt_reader(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        options: AdoptOptions,
    ) -> Result<Attachment> {
        let spaces = self.readers()?;
        let gone = || Error::not_found("the attachment was detached").advise("attach again");
        let shown = self.shown_reader(&spaces, &record.volume, record).await?.ok_or_else(gone)?;
        let mut wanted = near_record(&spaces, &record.volume, record).await?.ok_or_else(gone)?;
        if shown.record.snapshot != record.snapshot {
            // The near store finds the difference, and names it.
            wanted.snapshot.clone_from(&record.snapshot);
        }
        (wanted.access, wanted.target) = (record.access, record.target.clone());
        let near = spaces.near().adopt(&wanted, options).await?;
        let mut report = near.report().clone();
        report.fencing = Fencing::CommitGate;
        let mut record = shown.record;
        record.holder = near.holder.clone();
        Ok(self.reader_handle(spaces, record, near, report))
    }

    pub(super) async fn sync_reader(&self, reader: &Reader, options: SyncOptions) -> Result<SyncReport> {
        reader.spaces.near().sync(&reader.record.id, options).await
    }

    pub(super) async fn detach_reader(
        self: &Arc<Self>,
        reader: &Reader,
        options: &DetachOptions,
    ) -> Result<DetachReport> {
        let id = &reader.record.id;
        let _turn = self.turns.take(&reader.record.volume).await;
        let report = reader.spaces.near().detach(id, options.clone()).await?;
        self.serving.readers().remove(id);
        reader.signal.set(persist_core::LeaseState::Released);
        if let Err(error) = self.forget_reader(&reader.spaces, &reader.record).await {
            tracing::warn!(attachment = %id, %error, "what a reader was shown is left to prune");
        }
        Ok(report)
    }

    /// A reader of this node, whether this store serves it or nobody does.
    pub(super) async fn reader_here(&self, id: &AttachmentId) -> Result<Option<Arc<Reader>>> {
        if let Some(reader) = self.serving.reader(id) {
            return Ok(Some(reader));
        }
        let Some(spaces) = &self.readers else { return Ok(None) };
        for volume in spaces.list().await? {
            let shown = self.readers_of(&volume).await?.into_iter().find(|shown| shown.record.id == *id);
            if let Some(Shown { record, .. }) = shown {
                let (signal, spaces) = (LeaseSignal::held(), spaces.clone());
                return Ok(Some(Arc::new(Reader { record, signal, spaces })));
            }
        }
        Ok(None)
    }

    /// Removes what no reader is shown any more.
    async fn forget_reader(&self, spaces: &Workspaces, record: &AttachmentRecord) -> Result<()> {
        let workspace = serve(spaces, &record.volume).await?;
        workspace.forget(&record.id).await?;
        let left = self.forget_unshown(spaces, workspace.near_name()).await?;
        if left == 0 { workspace.discard().await } else { Ok(()) }
    }

    /// Removes the commits of a volume that no reader of this node is shown any more; how many are left.
    async fn forget_unshown(&self, spaces: &Workspaces, near: &VolumeName) -> Result<usize> {
        let snapshots: Vec<_> = spaces.near().snapshots(near, Default::default()).try_collect().await?;
        let mut left = 0;
        for snapshot in snapshots {
            let deleted =
                spaces.near().delete_snapshot(near, &snapshot.name, DeleteSnapshotOptions::default()).await;
            match deleted {
                Err(error) if error.kind() == ErrorKind::InUse => left += 1,
                deleted => drop(deleted?),
            }
        }
        Ok(left)
    }

    pub(super) async fn refresh(
        self: &Arc<Self>,
        id: &AttachmentId,
        options: RefreshOptions,
        meter: Meter,
    ) -> Result<RefreshReport> {
        if self.serving.session_of(id).is_some() {
            return Err(Error::invalid(
                "attachment",
                "a writer sees what it writes: only a reader is refreshed",
            ));
        }
        let reader = self.serving.reader(id).ok_or_else(not_attached)?;
        let volume = &reader.record.volume;
        let (head, _) = self.remote.find_there(volume).await?;
        let (commit, taken) = self.commit_to_read(&head, options.snapshot.as_ref()).await?;
        let _turn = self.turns.take(volume).await;
        self.bring(&reader.spaces, volume, &commit, &meter).await?;
        let mut to = options.clone();
        to.snapshot = Some(near_snapshot(&commit)?);
        let mut report = reader.spaces.near().refresh(id, to).await?;
        report.shows = taken;
        // Who follows a volume would fill the disk with what it was shown before.
        if let Err(error) = self.forget_unshown(&reader.spaces, &near_name(volume)?).await {
            tracing::warn!(attachment = %id, %error, "what a reader was shown before is left to its detach");
        }
        Ok(report)
    }

    /// The commit that a reader is shown, and when it was cut.
    async fn commit_to_read(
        &self,
        head: &Head,
        snapshot: Option<&SnapshotName>,
    ) -> Result<(CommitName, persist_core::clock::Timestamp)> {
        if let Some(name) = snapshot {
            let (commit, record) = self.snapshot_there(&head.volume, name).await?;
            return Ok((commit, record.taken));
        }
        let commit = head.commit.clone().ok_or_else(|| super::snapshots::no_commit(&head.volume))?;
        let taken = self.commits.read(&head.volume, &commit).await?.commit.time;
        Ok((commit, taken))
    }

    /// Brings a commit to this node as a snapshot of the readers' near store, unless it is here.
    async fn bring(
        self: &Arc<Self>,
        spaces: &Workspaces,
        id: &VolumeId,
        commit: &CommitName,
        meter: &Meter,
    ) -> Result<Vec<String>> {
        let (near, name) = (near_name(id)?, near_snapshot(commit)?);
        let workspace = serve(spaces, id).await?;
        let there: Vec<_> = match spaces.near().snapshots(&near, Default::default()).try_collect().await {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        if there.iter().any(|snapshot: &persist_core::snapshot::SnapshotRecord| snapshot.name == name) {
            return Ok(Vec::new());
        }
        meter.enter(Phase::Transfer);
        let (pin, held) = self.pin_for_reading(id, commit).await?;
        let read = self.commits.read(id, commit).await?;
        let tree = Arc::new(self.tree(&read, held).await?);
        let mut report = workspace.hydrate(Some(commit.clone()), tree, meter).boxed().await?;
        drop(pin);
        spaces.near().snapshot(&near, &name, Default::default()).await?;
        if held == Held::Unpinned {
            report.remarks.push(
                "read without a pin: these credentials may not write one, so a prune may have come between"
                    .into(),
            );
        }
        Ok(report.remarks)
    }

    /// Keeps a commit for as long as what is given back lives. Credentials that may only read go without.
    pub(super) async fn pin_for_reading(
        self: &Arc<Self>,
        volume: &VolumeId,
        commit: &CommitName,
    ) -> Result<(Arc<dyn fmt::Debug + Send + Sync>, Held)> {
        let node = self.node.clone();
        let node = node.map_or_else(|| Ok(Node::new(NodeId::new("unnamed")?, BootId::new("unnamed")?)), Ok);
        let holder = Holder::new(node?, Workload::new("reader")?, Liveness::Boot);
        match self.remote.pin(volume, commit, PinnedBy::Reader { holder, ttl: PIN_TTL }).await {
            Ok(pinned) => {
                let pin = HeldPin::start(self.remote.clone(), pinned);
                Ok((Arc::new(Pin { engine: Arc::clone(self), pin: Some(pin) }), Held::Pinned))
            }
            Err(error) if error.kind() == ErrorKind::Denied => Ok((Arc::new(()), Held::Unpinned)),
            Err(error) => Err(error),
        }
    }

    /// Refuses what would take a tree from readers of this node.
    pub(super) async fn refuse_readers(&self, head: &Head) -> Result<()> {
        self.refuse(self.readers_of(&head.volume).await?)
    }

    /// Refuses to delete a snapshot that readers of this node are shown.
    pub(super) async fn refuse_readers_of(&self, head: &Head, name: &SnapshotName) -> Result<()> {
        let mut readers = self.readers_of(&head.volume).await?;
        readers.retain(|shown| shown.record.snapshot.as_ref() == Some(name));
        self.refuse(readers)
    }

    fn refuse(&self, readers: Vec<Shown>) -> Result<()> {
        if readers.is_empty() {
            return Ok(());
        }
        let holders = readers.iter().map(|shown| HolderSeen::of(&shown.record)).collect();
        Err(Error::in_use("it is being read", holders).advise("detach its readers first"))
    }

    /// The readers of a volume on this node.
    pub(super) async fn readers_of(&self, volume: &VolumeId) -> Result<Vec<Shown>> {
        let Some(spaces) = &self.readers else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for shown in spaces.shown(volume).await? {
            if near_record(spaces, volume, &shown.record).await?.is_some() {
                found.push(shown);
            }
        }
        Ok(found)
    }

    async fn shown_reader(
        &self,
        spaces: &Workspaces,
        volume: &VolumeId,
        record: &AttachmentRecord,
    ) -> Result<Option<Shown>> {
        Ok(spaces.shown(volume).await?.into_iter().find(|shown| shown.record.id == record.id))
    }
}

/// The volume that an attachment of a near store is of.
pub(super) fn volume_of(record: &AttachmentRecord) -> Result<VolumeId> {
    VolumeId::parse(record.volume_name.as_str()).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "a volume of the near store is not named by an id")
            .context("volume", &record.volume_name)
    })
}

async fn near_record(
    spaces: &Workspaces,
    volume: &VolumeId,
    record: &AttachmentRecord,
) -> Result<Option<AttachmentRecord>> {
    let filter = AttachmentFilter::default().with_volume(near_name(volume)?);
    let mut all = spaces.near().attachments(filter);
    while let Some(near) = all.try_next().await? {
        if near.id == record.id {
            return Ok(Some(near));
        }
    }
    Ok(None)
}

/// The workspace of a volume's readers, once no other process fills it.
async fn serve(spaces: &Workspaces, volume: &VolumeId) -> Result<Workspace> {
    for _ in 0..TURN_LOOKS {
        match spaces.serve(volume).await {
            Err(error) if error.kind() == ErrorKind::InUse => tokio::time::sleep(TURN_PAUSE).await,
            served => return served,
        }
    }
    spaces.serve(volume).await
}

/// The name of a commit among the snapshots of a near store.
fn near_snapshot(commit: &CommitName) -> Result<SnapshotName> {
    SnapshotName::new(commit.to_string().replace('/', "-"))
        .map_err(|e| Error::internal("a commit has no name").with_source(e))
}

/// A pin that is given back when nobody reads by it any more.
#[derive(Debug)]
struct Pin {
    engine: Arc<Engine>,
    pin: Option<HeldPin>,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let Some(pin) = self.pin.take() else { return };
        let closing = async move {
            if let Err(error) = pin.close().await {
                tracing::warn!(%error, "a pin is left to end by itself");
            }
        };
        // Once the store is closed, its task has ended with it, and the pin ends by its ttl.
        let _ = self.engine.calls.spawn(closing);
    }
}
