//! Conveniences on top of any store.

use super::VolumeStore;
use crate::{
    attachment::{AttachOptions, Attachment, DetachOptions, DetachReport},
    error::{ErrorKind, Result},
    name::VolumeName,
    quiesce::{SyncOptions, SyncReport},
    snapshot::{Outcome, RestoreOptions, SnapshotName, SnapshotOptions, SnapshotReport},
    volume::CreateOptions,
};
use async_trait::async_trait;
use std::{fmt, path::Path, sync::Arc};

/// How a volume is bound: what it is if it has to be created, and how it is attached.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BindOptions {
    /// For a volume that is not there.
    pub create: CreateOptions,
    /// How it is attached.
    pub attach: AttachOptions,
}

impl BindOptions {
    /// Sets what a volume is that is not there yet.
    #[must_use]
    pub fn with_create(mut self, create: CreateOptions) -> Self {
        self.create = create;
        self
    }

    /// Sets how it is attached.
    #[must_use]
    pub fn with_attach(mut self, attach: AttachOptions) -> Self {
        self.attach = attach;
        self
    }
}

/// What an application calls; implemented for every store behind an [`Arc`].
#[async_trait]
pub trait VolumeStoreExt {
    /// Creates the volume if it is missing, and attaches it.
    ///
    /// # Promise
    /// As `create` and `attach`; [`Bound::created`] says which of both it was. An existing volume is
    /// attached as it is: the options of `create` do not change it, and are not compared with it.
    /// # Errors
    /// As `create` and `attach`.
    async fn bind(&self, volume: &VolumeName, options: BindOptions) -> Result<Bound>;
}

#[async_trait]
impl VolumeStoreExt for Arc<dyn VolumeStore> {
    async fn bind(&self, volume: &VolumeName, options: BindOptions) -> Result<Bound> {
        let created = match self.get(volume).await {
            Ok(_) => Outcome::Already,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create(volume, options.create).await?.outcome
            }
            Err(error) => return Err(error),
        };
        let attachment = self.attach(volume, options.attach.clone()).await?;
        Ok(Bound { store: Arc::clone(self), attachment, options: options.attach, created })
    }
}

/// A volume that is bound to this process: the five verbs in one place.
///
/// Dropping it neither detaches nor blocks.
#[derive(Clone)]
pub struct Bound {
    store: Arc<dyn VolumeStore>,
    attachment: Attachment,
    options: AttachOptions,
    created: Outcome,
}

impl Bound {
    /// Where the volume's files are. Changes with [`restore`](Self::restore).
    pub fn path(&self) -> &Path {
        self.attachment.path()
    }

    /// Whether the volume was created by the bind.
    pub fn created(&self) -> Outcome {
        self.created
    }

    /// The attachment.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn VolumeStore> {
        &self.store
    }

    /// The barrier of durability, as [`VolumeStore::sync`].
    ///
    /// # Errors
    /// As [`VolumeStore::sync`].
    pub async fn sync(&self) -> Result<SyncReport> {
        self.store.sync(&self.attachment.id, SyncOptions::default()).await
    }

    /// Takes a snapshot, as [`VolumeStore::snapshot`].
    ///
    /// # Errors
    /// `Invalid` for the name; as [`VolumeStore::snapshot`].
    pub async fn snapshot(&self, name: &str) -> Result<SnapshotReport> {
        let name = SnapshotName::new(name)?;
        self.store.snapshot(&self.attachment.volume_name, &name, SnapshotOptions::default()).await
    }

    /// Detaches, restores the snapshot, and attaches again as before. What the restore replaces is kept as
    /// a snapshot.
    ///
    /// # Errors
    /// As `detach`, [`VolumeStore::restore`] and `attach`. After a failed restore the volume is attached
    /// again, at the tree it had; `self` is gone, so bind again.
    pub async fn restore(self, name: &str) -> Result<Self> {
        let name = SnapshotName::new(name)?;
        let volume = self.attachment.volume_name.clone();
        self.store.detach(&self.attachment.id, DetachOptions::default()).await?;
        let restored = self.store.restore(&volume, &name, RestoreOptions::default()).await;
        let attachment = self.store.attach(&volume, self.options.clone()).await?;
        restored?;
        Ok(Self { attachment, ..self })
    }

    /// Syncs and gives the volume free, as [`VolumeStore::detach`].
    ///
    /// # Errors
    /// As [`VolumeStore::detach`]; the volume stays attached, and its path valid.
    pub async fn detach(&self) -> Result<DetachReport> {
        self.store.detach(&self.attachment.id, DetachOptions::default()).await
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("attachment", &self.attachment).field("created", &self.created).finish()
    }
}
