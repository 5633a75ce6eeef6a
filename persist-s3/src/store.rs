//! The store: the trait on top, thin.

mod adopt;
mod attach;
mod calls;
mod care;
mod changes;
mod commit;
mod commits;
mod cutting;
mod detach;
mod engine;
mod fork;
mod list;
mod open;
mod prune;
mod readers;
mod reference;
mod restore;
mod rewrite;
mod salvage;
mod serving;
mod snapshots;
mod sync;
mod take;
mod trees;
mod trim;
mod turns;
mod volumes;
mod watch;

use async_trait::async_trait;
use engine::Engine;
use futures::stream::BoxStream;
use persist_core::{
    Attachment, AttachmentId, AttachmentRecord, Result, SnapshotName, StoreInfo, VolumeName, VolumeRecord,
    VolumeStore,
    attachment::{
        AdoptOptions, AttachOptions, AttachmentFilter, DetachOptions, DetachReport, RefreshOptions,
        RefreshReport,
    },
    care::{Health, PruneOptions, PruneReport, Usage, UsageOptions, VerifyOptions, VerifyReport},
    progress::CallOptions,
    quiesce::{SyncOptions, SyncReport},
    snapshot::{
        DeleteSnapshotOptions, Outcome, RestoreOptions, RestoreReport, SnapshotOptions, SnapshotRecord,
        SnapshotReport,
    },
    tree::TreeSource,
    volume::{
        CreateOptions, CreateReport, DeleteOptions, DeleteReport, ListOptions, UpdateOptions, UpdateReport,
    },
};
use std::sync::Arc;

/// Volumes in an S3-compatible object store. Cheap to clone: clones are the same opened store.
///
/// Needs a tokio runtime; blocking work runs on the runtime's blocking threads.
#[derive(Debug, Clone)]
pub struct S3Store {
    engine: Arc<Engine>,
}

#[async_trait]
impl VolumeStore for S3Store {
    fn info(&self) -> Arc<StoreInfo> {
        Arc::clone(&self.engine.info)
    }

    async fn health(&self) -> Result<Vec<Health>> {
        self.engine.health().await
    }

    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.create(volume, options, meter));
        run.await.map_err(|e| e.during("create", of(volume)))
    }

    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
        let run = self.engine.calls.run(&CallOptions::default(), |_| self.engine.get(volume)).await;
        run.map_err(|e| e.during("get", of(volume)))
    }

    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        self.engine.list(options)
    }

    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        let call = CallOptions::default();
        let run = self.engine.calls.run(&call, |_| self.engine.update(volume, options)).await;
        run.map_err(|e| e.during("update", of(volume)))
    }

    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |_| self.engine.delete(volume, options)).await;
        run.map_err(|e| e.during("delete", of(volume)))
    }

    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.attach(volume, options, meter)).await;
        run.map_err(|e| e.during("attach", of(volume)))
    }

    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.adopt(record, options, meter)).await;
        run.map_err(|e| e.during("adopt", by(&record.id)))
    }

    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.sync(attachment, options, meter)).await;
        run.map_err(|e| e.during("sync", by(attachment)))
    }

    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.refresh(attachment, options, meter)).await;
        run.map_err(|e| e.during("refresh", by(attachment)))
    }

    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.detach(attachment, options, meter)).await;
        run.map_err(|e| e.during("detach", by(attachment)))
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
        let call = options.call.clone();
        let take = |meter| self.engine.snapshot(volume, snapshot, options, meter);
        let run = self.engine.calls.run(&call, take).await;
        run.map_err(|e| e.during("snapshot", of_snapshot(volume, snapshot)))
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
        let call = CallOptions::default();
        let run = self.engine.calls.run(&call, |_| self.engine.open_snapshot(volume, snapshot)).await;
        let opened = run.map_err(|e| e.during("open_snapshot", of_snapshot(volume, snapshot)))?;
        Ok(Arc::new(opened))
    }

    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        let run = self.engine.calls.run(&options.call, |_| self.engine.delete_snapshot(volume, snapshot));
        run.await.map_err(|e| e.during("delete_snapshot", of_snapshot(volume, snapshot)))
    }

    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        let call = options.call.clone();
        let restore = |meter| self.engine.restore(volume, snapshot, options, meter);
        let run = self.engine.calls.run(&call, restore).await;
        run.map_err(|e| e.during("restore", of_snapshot(volume, snapshot)))
    }

    async fn usage(&self, options: UsageOptions) -> Result<Usage> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.usage(options, meter)).await;
        run.map_err(|e| e.during("usage", &self.engine.info.location))
    }

    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.verify(options, meter)).await;
        run.map_err(|e| e.during("verify", &self.engine.info.location))
    }

    async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        let call = options.call.clone();
        let run = self.engine.calls.run(&call, |meter| self.engine.prune(options, meter)).await;
        run.map_err(|e| e.during("prune", &self.engine.info.location))
    }

    async fn close(&self) -> Result<()> {
        self.engine.close().await
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

#[cfg(test)]
mod tests;
