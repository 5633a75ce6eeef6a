//! The trait on top of the engine: thin, one line a method.

use super::engine::Engine;
use crate::{
    attachment::{
        AdoptOptions, AttachOptions, Attachment, AttachmentFilter, AttachmentId, AttachmentRecord,
        DetachOptions, DetachReport, RefreshOptions, RefreshReport,
    },
    capability::StoreInfo,
    care::{Health, PruneOptions, PruneReport, Usage, UsageOptions, VerifyOptions, VerifyReport},
    error::Result,
    name::VolumeName,
    quiesce::{SyncOptions, SyncReport},
    snapshot::{
        DeleteSnapshotOptions, Outcome, RestoreOptions, RestoreReport, SnapshotName, SnapshotOptions,
        SnapshotRecord, SnapshotReport,
    },
    store::VolumeStore,
    tree::TreeSource,
    volume::{
        CreateOptions, CreateReport, DeleteOptions, DeleteReport, ListOptions, UpdateOptions, UpdateReport,
        VolumeRecord,
    },
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::sync::Arc;

/// A store of volumes on a directory. Cheap to clone: clones are the same opened store.
///
/// Needs a tokio runtime; blocking work runs on the runtime's blocking threads.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    pub(crate) engine: Arc<Engine>,
}

impl DirectoryStore {
    /// How many times this opened store called fsync(2): what a benchmark subtracts and a test bounds.
    pub fn fsyncs(&self) -> u64 {
        self.engine.durable.fsyncs()
    }
}

#[async_trait]
impl VolumeStore for DirectoryStore {
    fn info(&self) -> Arc<StoreInfo> {
        Arc::clone(&self.engine.info)
    }

    async fn health(&self) -> Result<Vec<Health>> {
        self.engine.health().await
    }

    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
        self.engine.create(volume, options).await.map_err(|e| e.during("create", of(volume)))
    }

    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
        self.engine.get(volume).await.map_err(|e| e.during("get", of(volume)))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        self.engine.list(options)
    }

    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        self.engine.update(volume, options).await.map_err(|e| e.during("update", of(volume)))
    }

    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
        self.engine.delete(volume, options).await.map_err(|e| e.during("delete", of(volume)))
    }

    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
        self.engine.attach(volume, options, None).await.map_err(|e| e.during("attach", of(volume)))
    }

    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
        self.engine.adopt(record, options, None).await.map_err(|e| e.during("adopt", by(&record.id)))
    }

    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
        self.engine.sync(attachment, options).await.map_err(|e| e.during("sync", by(attachment)))
    }

    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport> {
        self.engine.refresh(attachment, options).await.map_err(|e| e.during("refresh", by(attachment)))
    }

    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport> {
        self.engine.detach(attachment, options).await.map_err(|e| e.during("detach", by(attachment)))
    }

    fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>> {
        self.engine.attachments(filter)
    }

    async fn snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        let taken = self.engine.snapshot(volume, snapshot, options).await;
        taken.map_err(|e| e.during("snapshot", of_snapshot(volume, snapshot)))
    }

    fn snapshots(
        &self,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        self.engine.snapshots(volume, options)
    }

    async fn open_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        let opened = self.engine.open_snapshot(volume, snapshot).await;
        opened.map_err(|e| e.during("open_snapshot", of_snapshot(volume, snapshot)))
    }

    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        let deleted = self.engine.delete_snapshot(volume, snapshot, options).await;
        deleted.map_err(|e| e.during("delete_snapshot", of_snapshot(volume, snapshot)))
    }

    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        let restored = self.engine.restore(volume, snapshot, options).await;
        restored.map_err(|e| e.during("restore", of_snapshot(volume, snapshot)))
    }

    async fn usage(&self, options: UsageOptions) -> Result<Usage> {
        self.engine.usage(options).await.map_err(|e| e.during("usage", &self.engine.info.location))
    }

    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.engine.verify(options).await.map_err(|e| e.during("verify", &self.engine.info.location))
    }

    async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        self.engine.prune(options).await.map_err(|e| e.during("prune", &self.engine.info.location))
    }

    async fn close(&self) -> Result<()> {
        self.engine.calls.close().await;
        self.engine.served.release();
        self.engine.sources.release();
        Ok(())
    }
}

fn of(volume: &VolumeName) -> String {
    format!("volume {volume}")
}

fn of_snapshot(volume: &VolumeName, snapshot: &SnapshotName) -> String {
    format!("snapshot {snapshot} of volume {volume}")
}

fn by(attachment: &AttachmentId) -> String {
    format!("attachment {attachment}")
}
