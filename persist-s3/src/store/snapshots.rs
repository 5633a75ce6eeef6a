//! Snapshots: names on commits. No data is copied.

use super::{commits::Read, engine::Engine, sync::Asked, trees::Committed};
use crate::{
    head::names::CommitName,
    keys::SalvageName,
    remote::pins::snapshots::{Snapshot, Taken},
};
use futures::{
    StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use persist_core::{
    Capabilities, Error, ErrorKind, Outcome, Result, SnapshotName, SnapshotOptions, SyncOptions, VolumeId,
    VolumeName,
    progress::Meter,
    snapshot::{SnapshotKind, SnapshotRecord, SnapshotReport},
    volume::ListOptions,
};
use std::sync::Arc;

/// How the names of salvages begin where snapshots are listed.
const SALVAGE: &str = "salvage-";

impl Engine {
    pub(super) async fn snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        name: &SnapshotName,
        options: SnapshotOptions,
        meter: Meter,
    ) -> Result<SnapshotReport> {
        self.check_writable()?;
        let (head, _) = self.remote.locate(volume).await?;
        if let Some(there) = self.remote.snapshot(&head.volume, name).await? {
            let taken = self.remote.take_snapshot(&there).await?;
            return Ok(SnapshotReport::new(taken.snapshot.record, Outcome::Already));
        }
        let labels = options.labels.clone();
        let (read, mut record) = self.to_snapshot(&head.volume, volume, name, options, meter).await?;
        record.labels = labels;
        record.epoch = read.commit.epoch;
        record.totals = Some(read.commit.tree.totals);
        let Taken { snapshot, outcome } =
            self.remote.take_snapshot(&Snapshot { record, commit: read.name }).await?;
        Ok(SnapshotReport::new(snapshot.record, outcome))
    }

    /// The commit that a snapshot names: of a volume that is written here, one of now; else the last one.
    async fn to_snapshot(
        self: &Arc<Self>,
        id: &VolumeId,
        volume: &VolumeName,
        name: &SnapshotName,
        options: SnapshotOptions,
        meter: Meter,
    ) -> Result<(Read, SnapshotRecord)> {
        let record = |at| SnapshotRecord::new(name.clone(), id.clone(), volume.clone(), at);
        if let Some(session) = self.serving.session(id) {
            let mut syncing = SyncOptions::default().with_consistency(options.consistency);
            (syncing.call, syncing.quiesce) = (options.call, options.quiesce);
            let (report, _) = self.commit(&session, syncing, meter, Asked::BySomebody).await?;
            let base = session.base().ok_or_else(|| Error::internal("a session has no commit"))?;
            let mut record = record(report.cut);
            (record.consistency, record.hooks) = (report.consistency, report.hooks);
            return Ok((base, record));
        }
        let (head, _) = self.remote.find_there(id).await?;
        let commit = head.commit.as_ref().ok_or_else(|| no_commit(id))?;
        let read = self.commits.read(id, commit).await?;
        let mut record = record(read.commit.time);
        let own = read.commit.consistency;
        let reached = match &self.spaces {
            // Nobody writes here; writers of another kind may be held all the same.
            Some(spaces) => {
                let mut holding = SyncOptions::default().with_consistency(options.consistency);
                (holding.call, holding.quiesce) = (options.call, options.quiesce);
                let held = spaces.near().hold_writers(&holding, own, async { Ok(()) }).await?;
                record.hooks = held.run.into_iter().collect();
                held.consistency
            }
            None => own,
        };
        if reached < options.consistency {
            return Err(Error::unsupported(
                Capabilities::SNAPSHOTS,
                "the last commit is less consistent than was asked for",
            )
            .context("reached", format_args!("{reached:?}"))
            .advise("attach the volume, and take the snapshot with a hook that stops its writers"));
        }
        record.consistency = reached;
        Ok((read, record))
    }

    pub(super) fn snapshots(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        if let Err(error) = self.calls.check_open() {
            return stream::once(future::ready(Err(error))).boxed();
        }
        let (engine, volume, of) = (Arc::clone(self), volume.clone(), volume.clone());
        let limit = options.limit.unwrap_or(usize::MAX);
        let listed = async move {
            let (head, _) = engine.remote.locate(&volume).await?;
            let mut all = engine.snapshot_records(&head.volume).await?;
            all.retain(|record| options.after.as_deref().is_none_or(|after| record.name.as_str() > after));
            all.retain(|record| options.accepts(&record.labels));
            Ok::<_, Error>(stream::iter(all).map(Ok))
        };
        let during = move |error: Error| error.during("snapshots", format!("volume {of}"));
        stream::once(listed).try_flatten().map_err(during).take(limit).boxed()
    }

    /// Named snapshots and salvages, in the order of their names.
    async fn snapshot_records(&self, id: &VolumeId) -> Result<Vec<SnapshotRecord>> {
        let mut all: Vec<_> =
            self.remote.snapshots(id, None).map_ok(|snapshot| snapshot.record).try_collect().await?;
        let mut salvages = self.remote.salvages(id);
        while let Some((_, salvage)) = salvages.try_next().await? {
            all.push(salvage.record);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub(super) async fn snapshot_names(&self, id: &VolumeId) -> Result<Vec<SnapshotName>> {
        Ok(self.snapshot_records(id).await?.into_iter().map(|record| record.name).collect())
    }

    /// The commit of a snapshot, and its record.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) async fn snapshot_there(
        &self,
        id: &VolumeId,
        name: &SnapshotName,
    ) -> Result<(CommitName, SnapshotRecord)> {
        if let Some(salvage) = salvage_named(name)
            && let Some(there) = self.remote.salvage(id, salvage).await?
        {
            return Ok((there.commit, there.record));
        }
        let found = self.remote.snapshot(id, name).await?;
        let snapshot = found.ok_or_else(|| Error::not_found("no such snapshot").context("snapshot", name))?;
        Ok((snapshot.commit, snapshot.record))
    }

    /// The tree of a snapshot; it stays while the tree is there.
    pub(super) async fn open_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        name: &SnapshotName,
    ) -> Result<Committed> {
        let (head, _) = self.remote.locate(volume).await?;
        let (commit, _) = self.snapshot_there(&head.volume, name).await?;
        let (pin, held) = self.pin_for_reading(&head.volume, &commit).await?;
        let read = self.commits.read(&head.volume, &commit).await?;
        let tree = self.tree(&read, held).await?;
        Ok(tree.pinned(pin))
    }

    pub(super) async fn delete_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        name: &SnapshotName,
    ) -> Result<Outcome> {
        self.check_writable()?;
        let (head, _) = match self.remote.locate(volume).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Outcome::Already),
            found => found?,
        };
        self.refuse_readers_of(&head, name).await?;
        if let Some(salvage) = salvage_named(name)
            && self.remote.salvage(&head.volume, salvage).await?.is_some()
        {
            self.remote.discard_salvage(&head.volume, salvage).await?;
            return Ok(Outcome::Done);
        }
        self.remote.release_snapshot(&head.volume, name).await
    }
}

/// The name under which a salvage is listed.
pub(super) fn name_of(salvage: &SalvageName) -> Result<SnapshotName> {
    SnapshotName::new(format!("{SALVAGE}{salvage}"))
        .map_err(|e| Error::internal("a salvage has no name").with_source(e))
}

fn salvage_named(name: &SnapshotName) -> Option<SalvageName> {
    name.as_str().strip_prefix(SALVAGE)?.parse().ok()
}

/// A snapshot that was not asked for by its name.
pub(super) fn replaced(
    read: &Read,
    volume: &VolumeName,
    name: SnapshotName,
    at: persist_core::clock::Timestamp,
) -> Snapshot {
    let mut record = SnapshotRecord::new(name, read.commit.volume.clone(), volume.clone(), at);
    (record.kind, record.epoch, record.consistency) =
        (SnapshotKind::Replaced, read.commit.epoch, read.commit.consistency);
    record.totals = Some(read.commit.tree.totals);
    Snapshot { record, commit: read.name.clone() }
}

pub(super) fn no_commit(id: &VolumeId) -> Error {
    Error::new(ErrorKind::Corrupt, "the volume has no commit").context("id", id)
}
