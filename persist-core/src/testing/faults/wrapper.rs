//! The trait in full, each call on its way to the store through the planned faults.

use super::{FaultStore, Moment};
use crate::{
    attachment::*,
    capability::StoreInfo,
    care::*,
    error::Result,
    name::VolumeName,
    quiesce::{SyncOptions, SyncReport},
    snapshot::*,
    store::VolumeStore,
    tree::TreeSource,
    volume::*,
};
use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;

impl FaultStore {
    /// A list with one error in it: before it begins, or at its end.
    fn listed<T: Send + 'static>(
        &self,
        operation: &'static str,
        target: &str,
        items: BoxStream<'static, Result<T>>,
    ) -> BoxStream<'static, Result<T>> {
        let Some(fault) = self.due(operation) else { return items };
        let error = stream::iter([Err(fault.error(operation, target))]);
        match fault.moment {
            Moment::Before => error.boxed(),
            Moment::After => items.chain(error).boxed(),
        }
    }

    fn location(&self) -> String {
        self.inner.info().location.clone()
    }
}

#[async_trait]
impl VolumeStore for FaultStore {
    fn info(&self) -> Arc<StoreInfo> {
        self.inner.info()
    }

    async fn health(&self) -> Result<Vec<Health>> {
        self.run("health", &self.location(), self.inner.health()).await
    }

    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
        self.run("create", volume.as_str(), self.inner.create(volume, options)).await
    }

    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
        self.run("get", volume.as_str(), self.inner.get(volume)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        self.listed("list", &self.location(), self.inner.list(options))
    }

    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        self.run("update", volume.as_str(), self.inner.update(volume, options)).await
    }

    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
        self.run("delete", volume.as_str(), self.inner.delete(volume, options)).await
    }

    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
        self.run("attach", volume.as_str(), self.inner.attach(volume, options)).await
    }

    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
        self.run("adopt", &record.id.to_string(), self.inner.adopt(record, options)).await
    }

    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
        self.run("sync", &attachment.to_string(), self.inner.sync(attachment, options)).await
    }

    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport> {
        self.run("refresh", &attachment.to_string(), self.inner.refresh(attachment, options)).await
    }

    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport> {
        self.run("detach", &attachment.to_string(), self.inner.detach(attachment, options)).await
    }

    fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>> {
        self.listed("attachments", &self.location(), self.inner.attachments(filter))
    }

    async fn snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        self.run("snapshot", volume.as_str(), self.inner.snapshot(volume, snapshot, options)).await
    }

    fn snapshots(
        &self,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        self.listed("snapshots", volume.as_str(), self.inner.snapshots(volume, options))
    }

    async fn open_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        self.run("open_snapshot", volume.as_str(), self.inner.open_snapshot(volume, snapshot)).await
    }

    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        let deleted = self.inner.delete_snapshot(volume, snapshot, options);
        self.run("delete_snapshot", volume.as_str(), deleted).await
    }

    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        self.run("restore", volume.as_str(), self.inner.restore(volume, snapshot, options)).await
    }

    async fn usage(&self, options: UsageOptions) -> Result<Usage> {
        self.run("usage", &self.location(), self.inner.usage(options)).await
    }

    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        self.run("verify", &self.location(), self.inner.verify(options)).await
    }

    async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        self.run("prune", &self.location(), self.inner.prune(options)).await
    }

    async fn close(&self) -> Result<()> {
        self.run("close", &self.location(), self.inner.close()).await
    }
}
