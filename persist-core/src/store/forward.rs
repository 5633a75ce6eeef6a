//! `Arc<T>` and `Box<T>` of a store are stores.

use super::*;

/// Forwards every method, none left to chance: the trait has no default bodies.
macro_rules! forward {
    ($pointer:ident) => {
        #[async_trait]
        impl<T: VolumeStore + ?Sized> VolumeStore for $pointer<T> {
            fn info(&self) -> Arc<StoreInfo> {
                (**self).info()
            }

            async fn health(&self) -> Result<Vec<Health>> {
                (**self).health().await
            }

            async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport> {
                (**self).create(volume, options).await
            }

            async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord> {
                (**self).get(volume).await
            }

            fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
                (**self).list(options)
            }

            async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
                (**self).update(volume, options).await
            }

            async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport> {
                (**self).delete(volume, options).await
            }

            async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment> {
                (**self).attach(volume, options).await
            }

            async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment> {
                (**self).adopt(record, options).await
            }

            async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport> {
                (**self).sync(attachment, options).await
            }

            async fn refresh(
                &self,
                attachment: &AttachmentId,
                options: RefreshOptions,
            ) -> Result<RefreshReport> {
                (**self).refresh(attachment, options).await
            }

            async fn detach(
                &self,
                attachment: &AttachmentId,
                options: DetachOptions,
            ) -> Result<DetachReport> {
                (**self).detach(attachment, options).await
            }

            fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>> {
                (**self).attachments(filter)
            }

            async fn snapshot(
                &self,
                volume: &VolumeName,
                snapshot: &SnapshotName,
                options: SnapshotOptions,
            ) -> Result<SnapshotReport> {
                (**self).snapshot(volume, snapshot, options).await
            }

            fn snapshots(
                &self,
                volume: &VolumeName,
                options: ListOptions,
            ) -> BoxStream<'static, Result<SnapshotRecord>> {
                (**self).snapshots(volume, options)
            }

            async fn open_snapshot(
                &self,
                volume: &VolumeName,
                snapshot: &SnapshotName,
            ) -> Result<Arc<dyn TreeSource>> {
                (**self).open_snapshot(volume, snapshot).await
            }

            async fn delete_snapshot(
                &self,
                volume: &VolumeName,
                snapshot: &SnapshotName,
                options: DeleteSnapshotOptions,
            ) -> Result<Outcome> {
                (**self).delete_snapshot(volume, snapshot, options).await
            }

            async fn restore(
                &self,
                volume: &VolumeName,
                snapshot: &SnapshotName,
                options: RestoreOptions,
            ) -> Result<RestoreReport> {
                (**self).restore(volume, snapshot, options).await
            }

            async fn usage(&self, options: UsageOptions) -> Result<Usage> {
                (**self).usage(options).await
            }

            async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
                (**self).verify(options).await
            }

            async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
                (**self).prune(options).await
            }

            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    };
}

forward!(Arc);
forward!(Box);
