//! A store that tells [`tracing`] what it is asked: one span an operation, with volume and attachment ids.
//!
//! The span of an operation has its name, the target `persist_core::observe`, the level `INFO`, and the
//! fields `volume` (the name), `volume_id`, `attachment`, `snapshot` and `error`, each recorded as soon as
//! it is known. A list has a span that is entered whenever the list is polled.

mod spans;

use crate::{
    attachment::*,
    capability::StoreInfo,
    care::*,
    error::Result,
    id::VolumeId,
    name::VolumeName,
    quiesce::{SyncOptions, SyncReport},
    snapshot::*,
    store::VolumeStore,
    tree::TreeSource,
    volume::*,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use spans::{Call, span};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Wraps a store in spans. Adds nothing to what the store promises, and keeps nothing but which volume
/// each attachment is of.
#[derive(Debug, Clone)]
pub struct ObservedStore {
    inner: Arc<dyn VolumeStore>,
    /// The volumes of the attachments made through this wrapper: `sync` and `detach` name only the latter.
    volumes: Arc<Mutex<HashMap<AttachmentId, VolumeId>>>,
}

impl ObservedStore {
    /// Observes `inner`.
    pub fn new(inner: Arc<dyn VolumeStore>) -> Self {
        Self { inner, volumes: Arc::default() }
    }

    fn volume_of(&self, attachment: &AttachmentId) -> Option<VolumeId> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).get(attachment).cloned()
    }

    fn remember(&self, record: &AttachmentRecord) {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.insert(record.id.clone(), record.volume.clone());
    }

    fn forget(&self, attachment: &AttachmentId) {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner).remove(attachment);
    }

    fn attached(&self, call: &Call, attachment: &Attachment) {
        call.volume_id(&attachment.volume);
        call.attachment(&attachment.id);
        self.remember(attachment.record());
    }

    /// A span about an attachment, with the volume it is of where this wrapper saw it attached.
    fn about(&self, call: Call, attachment: &AttachmentId) -> Call {
        call.attachment(attachment);
        self.volume_of(attachment).iter().for_each(|volume| call.volume_id(volume));
        call
    }
}

#[async_trait]
impl VolumeStore for ObservedStore {
    fn info(&self) -> Arc<StoreInfo> {
        self.inner.info()
    }

    async fn health(&self) -> Result<Vec<Health>> {
        span!("health").run(self.inner.health(), |_, _| ()).await
    }

    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
        let done = self.inner.create(volume, options);
        span!("create", volume).run(done, |call, report| call.volume_id(&report.volume.id)).await
    }

    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
        span!("get", volume).run(self.inner.get(volume), |call, record| call.volume_id(&record.id)).await
    }

    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        span!("list").entered_by(self.inner.list(options))
    }

    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        let done = self.inner.update(volume, options);
        span!("update", volume).run(done, |call, report| call.volume_id(&report.volume.id)).await
    }

    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
        let done = self.inner.delete(volume, options);
        let note = |call: &Call, report: &DeleteReport| {
            report.trashed.iter().for_each(|record| call.volume_id(&record.id));
        };
        span!("delete", volume).run(done, note).await
    }

    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
        let done = self.inner.attach(volume, options);
        span!("attach", volume).run(done, |call, attachment| self.attached(call, attachment)).await
    }

    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
        let call = span!("adopt", &record.volume_name);
        call.volume_id(&record.volume);
        call.attachment(&record.id);
        let done = self.inner.adopt(record, options);
        call.run(done, |call, attachment| self.attached(call, attachment)).await
    }

    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
        let call = self.about(span!("sync"), attachment);
        call.run(self.inner.sync(attachment, options), |_, _| ()).await
    }

    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport> {
        let call = self.about(span!("refresh"), attachment);
        call.run(self.inner.refresh(attachment, options), |_, _| ()).await
    }

    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport> {
        let call = self.about(span!("detach"), attachment);
        call.run(self.inner.detach(attachment, options), |_, _| self.forget(attachment)).await
    }

    fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>> {
        span!("attachments").entered_by(self.inner.attachments(filter))
    }

    async fn snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        let done = self.inner.snapshot(volume, snapshot, options);
        let call = span!("snapshot", volume).of_snapshot(snapshot);
        call.run(done, |call, report| call.volume_id(&report.record.volume)).await
    }

    fn snapshots(
        &self,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        span!("snapshots", volume).entered_by(self.inner.snapshots(volume, options))
    }

    async fn open_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        let call = span!("open_snapshot", volume).of_snapshot(snapshot);
        call.run(self.inner.open_snapshot(volume, snapshot), |_, _| ()).await
    }

    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        let call = span!("delete_snapshot", volume).of_snapshot(snapshot);
        call.run(self.inner.delete_snapshot(volume, snapshot, options), |_, _| ()).await
    }

    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        let done = self.inner.restore(volume, snapshot, options);
        let call = span!("restore", volume).of_snapshot(snapshot);
        call.run(done, |call, report| call.volume_id(&report.volume.id)).await
    }

    async fn usage(&self, options: UsageOptions) -> Result<Usage> {
        let call = span!("usage").of_volume(options.volume.as_ref());
        call.run(self.inner.usage(options), |_, _| ()).await
    }

    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        let call = span!("verify").of_volume(options.volume.as_ref());
        call.run(self.inner.verify(options), |_, _| ()).await
    }

    async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        span!("prune").run(self.inner.prune(options), |_, _| ()).await
    }

    async fn close(&self) -> Result<()> {
        span!("close").run(self.inner.close(), |_, ()| ()).await
    }
}
