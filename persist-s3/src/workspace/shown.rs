//! What other processes of this node say about a workspace.

use super::{Workspaces, serve::read_shown, state::Shown, threads::blocking};
use persist_core::{Result, VolumeId, linux::cause::cause};
use std::fs;

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
