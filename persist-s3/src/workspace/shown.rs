//! Who is shown a workspace on this node, and which process serves it.

use super::{Workspace, Workspaces, state::Shown, threads::blocking};
use persist_core::{AttachmentId, Error, ErrorKind, Result, VolumeId, linux::cause::cause};
use std::{fs, path::Path, sync::Arc};

impl Workspaces {
    /// The process that serves the workspace of `volume`, or last did.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn server(&self, volume: &VolumeId) -> Result<Option<u32>> {
        let path = self.0.layout.of(volume).served();
        blocking(move |_| Ok(fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()))).await
    }

    /// What is recorded to show attachments of `volume` on this node, whoever serves them.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read; as the filesystem reports them.
    pub async fn shown(&self, volume: &VolumeId) -> Result<Vec<Shown>> {
        let directory = self.0.layout.of(volume).attachments();
        blocking(move |_| match directory.try_exists() {
            Ok(true) => read_shown(&directory),
            Ok(false) => Ok(Vec::new()),
            Err(e) => Err(cause(e, "look at", directory.display())),
        })
        .await
    }
}

impl Workspace {
    /// Records what shows an attachment on this node; replaces what was recorded of it.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn show(&self, shown: Shown) -> Result<()> {
        let served = Arc::clone(self.served());
        blocking(move |_| {
            let mut bytes = serde_json::to_vec_pretty(&shown)
                .map_err(|e| Error::internal("a record cannot be written as JSON").with_source(e))?;
            bytes.push(b'\n');
            served.opened().durable.replace(&served.place.attachment(&shown.record.id), &bytes)
        })
        .await
    }

    /// Forgets an attachment; one that is not there is forgotten.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub async fn forget(&self, attachment: &AttachmentId) -> Result<()> {
        let (served, id) = (Arc::clone(self.served()), attachment.clone());
        blocking(move |_| served.opened().durable.remove(&served.place.attachment(&id))).await
    }

    /// What is recorded to show attachments on this node, in the order of their ids.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read; as the filesystem reports them.
    pub async fn shown(&self) -> Result<Vec<Shown>> {
        let served = Arc::clone(self.served());
        blocking(move |_| read_shown(&served.place.attachments())).await
    }
}

fn read_shown(directory: &Path) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| cause(e, "list", directory.display()))? {
        let path = entry.map_err(|e| cause(e, "list", directory.display()))?.path();
        let named = path.file_name().and_then(|name| name.to_str()).and_then(AttachmentId::parse);
        if named.is_none() {
            continue; // A draft.
        }
        let bytes = fs::read(&path).map_err(|e| cause(e, "read", path.display()))?;
        let read: Shown = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorKind::Corrupt, "the record of an attachment is not what was written")
                .during("read", path.display())
                .with_source(e)
        })?;
        shown.push(read);
    }
    shown.sort_unstable_by(|a, b| a.record.id.cmp(&b.record.id));
    Ok(shown)
}
