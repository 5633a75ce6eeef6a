//! The store: the directory engine, with the server asked before and during each call.

use crate::{
    copies::{Copies, Standing},
    mounts::Mounted,
    server::{Server, blocking},
};
use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use persist_core::{
    AttachOptions, Attachment, AttachmentId, AttachmentRecord, CreateOptions, DetachOptions, Error,
    ErrorKind, NodeId, Result, SnapshotName, SnapshotOptions, StoreInfo, SyncOptions, VolumeName,
    VolumeRecord, VolumeStore,
    attachment::{AdoptOptions, AttachmentFilter, BusyFiles, DetachReport, RefreshOptions, RefreshReport},
    care::{
        Health, HealthStatus, PruneOptions, PruneReport, Usage, UsageOptions, VerifyOptions, VerifyReport,
    },
    directory::DirectoryStore,
    quiesce::SyncReport,
    snapshot::{
        DeleteSnapshotOptions, Outcome, RestoreOptions, RestoreReport, SnapshotRecord, SnapshotReport,
    },
    tree::TreeSource,
    volume::{CreateReport, DeleteOptions, DeleteReport, ListOptions, UpdateOptions, UpdateReport},
};
use std::sync::{Arc, Mutex, PoisonError};

/// A store of volumes on an NFS server.
///
/// Every call asks the server first, in a process of its own, and goes on asking while it runs: with a server
/// that is silent it is `Unavailable` within seconds, and none of the caller's tasks waits. A thread that was
/// at work when the server went may wait in the kernel until it is back, as any program's would.
#[derive(Debug)]
pub struct NfsStore {
    inner: DirectoryStore,
    server: Server,
    /// None where the mount is not ours, or the store is closed.
    mounted: Mutex<Option<Mounted>>,
    node: Option<NodeId>,
    /// None without a state directory.
    copies: Option<Copies>,
}

/// What opening a store gives.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) inner: DirectoryStore,
    pub(crate) server: Server,
    pub(crate) node: Option<NodeId>,
    pub(crate) copies: Option<Copies>,
}

impl NfsStore {
    pub(crate) fn new(opened: Opened, mounted: Option<Mounted>) -> Self {
        let Opened { inner, server, node, copies } = opened;
        Self { inner, server, mounted: Mutex::new(mounted), node, copies }
    }

    /// After what an earlier process left was settled, as far as it could be.
    pub(crate) async fn settled(self) -> Self {
        self.settle().await;
        self
    }

    /// Ends what was detached while the server was silent, if its record is still the one that was left: one that was
    /// adopted since has another epoch, and is somebody's. What fails is tried again by the next call.
    async fn settle(&self) {
        let Some(copies) = &self.copies else { return };
        let Ok(all) = self.with_copies(copies, |copies| copies.all()).await else { return };
        for copied in all.into_iter().filter(|copied| copied.standing == Standing::Left) {
            let id = copied.record.id.clone();
            let same = |record: &AttachmentRecord| record.epoch == copied.record.epoch;
            let ended = match self.server.watch(self.on_record(&id)).await {
                Ok(Some(record)) if same(&record) => {
                    let lazy = DetachOptions::default().with_busy(BusyFiles::Lazy);
                    self.server.watch(self.inner.detach(&id, lazy)).await.map(drop)
                }
                found => found.map(drop),
            };
            let forgotten = match ended {
                Ok(()) => self.with_copies(copies, move |copies| copies.forget(&id)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = forgotten {
                tracing::warn!(attachment = %copied.record.id, %error, "what was detached without the server is still on record");
            }
        }
    }

    async fn on_record(&self, id: &AttachmentId) -> Result<Option<AttachmentRecord>> {
        let mut records = self.inner.attachments(AttachmentFilter::default());
        while let Some(record) = records.next().await {
            match record {
                Ok(record) if record.id == *id => return Ok(Some(record)),
                record => drop(record?),
            }
        }
        Ok(None)
    }

    /// What the copies say: all of it while the server is silent, else what is still to be settled.
    async fn health_of_copies(&self, found: &[Health]) -> Result<Vec<Health>> {
        let Some(copies) = &self.copies else { return Ok(Vec::new()) };
        let is_silent = found.iter().any(|health| health.status == HealthStatus::Bad);
        let all = self.with_copies(copies, |copies| copies.all()).await?;
        let shown = all.iter().filter(|copied| is_silent || copied.standing == Standing::Left);
        Ok(shown.map(crate::copies::Copied::health).collect())
    }

    async fn with_copies<T: Send + 'static>(
        &self,
        copies: &Copies,
        work: impl FnOnce(&Copies) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let copies = copies.clone();
        blocking(move || work(&copies)).await
    }

    /// Keeps a copy of an attachment: it is attached whether that works or not.
    async fn note(&self, attachment: &Attachment) {
        let Some(copies) = &self.copies else { return };
        let (record, mounted) = (attachment.record().clone(), attachment.report().mounted);
        let noted = self.with_copies(copies, move |copies| copies.note(&record, mounted)).await;
        if let Err(error) = noted {
            tracing::warn!(attachment = %attachment.id, %error, "no copy of the attachment on this node");
        }
    }

    /// Detaches while the server is silent, for the reason `silent`.
    async fn leave(&self, id: &AttachmentId, busy: BusyFiles, silent: Error) -> Result<DetachReport> {
        let (Some(copies), BusyFiles::Lazy) = (&self.copies, busy) else {
            return Err(silent.advise(
                "repeat it when the server is back; to take it off this node now, open with a state directory and \
                 detach with BusyFiles::Lazy",
            ));
        };
        let (id, device) = (id.clone(), self.server.device());
        let left = self.with_copies(copies, move |copies| copies.leave(&id, device)).await;
        let mut report = DetachReport::new(Outcome::Done);
        report.left = left.map_err(|error| match error.kind() {
            ErrorKind::NotFound => silent,
            _ => error,
        })?;
        Ok(report)
    }

    async fn watched<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let watched = self.server.watch(call).await;
        watched.map_err(|e| {
            if e.operation().is_some() && e.target().is_some() { e } else { self.named(e, operation) }
        })
    }

    fn named(&self, error: Error, operation: &'static str) -> Error {
        error.during(operation, &self.inner.info().location)
    }

    /// A stream that ends with an error once the server is silent.
    fn watched_stream<T: Send + 'static>(
        &self,
        operation: &'static str,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let (server, location) = (self.server.clone(), self.inner.info().location.clone());
        stream::unfold(Watched { server, items, phase: Phase::New }, move |mut watched| {
            let location = location.clone();
            async move {
                let item = match watched.next().await? {
                    Err(e) if e.operation().is_none() => Err(e.during(operation, location)),
                    item => item,
                };
                Some((item, watched))
            }
        })
        .boxed()
    }

    /// Whether something on this node is still attached through the mount; opened without a node, whether anything is.
    async fn is_attached(&self) -> bool {
        let all = AttachmentFilter::default();
        let filter = self.node.clone().map_or(all.clone(), |node| all.with_node(node));
        self.inner.attachments(filter).next().await.is_some()
    }
}

struct Watched<T> {
    server: Server,
    items: BoxStream<'static, Result<T>>,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    New,
    Open,
    Over,
}

impl<T: Send> Watched<T> {
    async fn next(&mut self) -> Option<Result<T>> {
        if self.phase == Phase::New
            && let Err(error) = self.server.answers().await
        {
            self.phase = Phase::Over;
            return Some(Err(error));
        }
        if self.phase == Phase::Over {
            return None;
        }
        self.phase = Phase::Over;
        let item = self.server.watch_begun(self.items.next()).await;
        let silent = |e: &Error| e.kind() == ErrorKind::Unavailable;
        if !matches!(&item, Some(Err(e)) if silent(e)) {
            self.phase = Phase::Open;
        }
        item
    }
}

#[async_trait]
impl VolumeStore for NfsStore {
    fn info(&self) -> Arc<StoreInfo> {
        self.inner.info()
    }

    async fn health(&self) -> Result<Vec<Health>> {
        let mut found = self.server.health().await;
        if found.iter().all(|health| health.status != HealthStatus::Bad) {
            self.settle().await;
        }
        found.extend(self.health_of_copies(&found).await?);
        if found.iter().all(|health| health.status != HealthStatus::Bad) {
            match self.server.watch_begun(self.inner.health()).await {
                Ok(more) => found.extend(more),
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    found.extend(self.server.health().await)
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
        self.watched("create", self.inner.create(volume, options)).await
    }

    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
        self.watched("get", self.inner.get(volume)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        self.watched_stream("list", self.inner.list(options))
    }

    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        self.watched("update", self.inner.update(volume, options)).await
    }

    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
        self.watched("delete", self.inner.delete(volume, options)).await
    }

    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
        self.settle().await;
        let attachment = self.watched("attach", self.inner.attach(volume, options)).await?;
        self.note(&attachment).await;
        Ok(attachment)
    }

    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
        self.settle().await;
        let attachment = self.watched("adopt", self.inner.adopt(record, options)).await?;
        self.note(&attachment).await;
        Ok(attachment)
    }

    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
        self.watched("sync", self.inner.sync(attachment, options)).await
    }

    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport> {
        self.watched("refresh", self.inner.refresh(attachment, options)).await
    }

    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport> {
        let busy = options.busy;
        if let Err(silent) = self.server.answers().await {
            let left = self.leave(attachment, busy, silent).await;
            return left.map_err(|error| self.named(error, "detach"));
        }
        self.settle().await;
        let report = self.watched("detach", self.inner.detach(attachment, options)).await?;
        if let Some(copies) = &self.copies {
            let id = attachment.clone();
            // What is left behind is settled later: the record is gone, and so is then the copy.
            let _ = self.with_copies(copies, move |copies| copies.forget(&id)).await;
        }
        Ok(report)
    }

    fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>> {
        self.watched_stream("attachments", self.inner.attachments(filter))
    }

    async fn snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        self.watched("snapshot", self.inner.snapshot(volume, snapshot, options)).await
    }

    fn snapshots(
        &self,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        self.watched_stream("snapshots", self.inner.snapshots(volume, options))
    }

    async fn open_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        self.watched("open_snapshot", self.inner.open_snapshot(volume, snapshot)).await
    }

    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        self.watched("delete_snapshot", self.inner.delete_snapshot(volume, snapshot, options)).await
    }

    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        self.watched("restore", self.inner.restore(volume, snapshot, options)).await
    }

    async fn usage(&self, options: UsageOptions) -> Result<Usage> {
        self.watched("usage", self.inner.usage(options)).await
    }

    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.watched("verify", self.inner.verify(options)).await
    }

    async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        self.watched("prune", self.inner.prune(options)).await
    }

    /// Ends what was detached while the server was silent, and joins what is under way; then takes the mount away, if
    /// it is ours and nobody needs it: no other store of this node, and no attachment of this node.
    async fn close(&self) -> Result<()> {
        let close = async {
            // For a process that ends now there is no later call.
            self.settle().await;
            let attached = self.is_attached().await;
            self.inner.close().await?;
            let mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner).take();
            match mounted {
                Some(mounted) if !attached => blocking(move || mounted.release()).await,
                _ => Ok(()),
            }
        };
        self.server.watch(close).await.map_err(|e| self.named(e, "close"))
    }
}

#[cfg(test)]
mod tests;
