//! Drafts of records whose writers died.

use super::Pruner;
use crate::{
    care::{PruneItem, PruneReason},
    directory::{durable::DRAFT_PREFIX, fresh, stored::Located},
    error::Result,
    linux::cause::cause,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

impl Pruner<'_> {
    /// Removes what was never linked. Records of a volume are made under its exclusion, which is held here:
    /// nobody alive is at one of them.
    pub(super) fn drafts(&mut self, found: &Located) -> Result<()> {
        let layout = &found.layout;
        let mut drafts = Vec::new();
        for directory in [layout.records(), layout.snapshots(), layout.attachments(), layout.epochs()] {
            drafts.extend(drafts_in(&directory)?);
        }
        if drafts.is_empty() {
            return Ok(());
        }
        if self.applies() {
            drafts.iter().try_for_each(|path| remove(path))?;
        }
        let what = format!("drafts of records of volume {}: {}", found.stored.volume.name, drafts.len());
        let id = found.stored.volume.id.clone();
        self.note(PruneItem::new(PruneReason::Undo, Some(id), what, 0));
        Ok(())
    }
}

fn drafts_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let named = |e| cause(e, "list", directory.display());
    let entries = match fresh::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(named)?,
    };
    let mut drafts = Vec::new();
    for entry in entries {
        let entry = entry.map_err(named)?;
        if entry.file_name().as_encoded_bytes().starts_with(DRAFT_PREFIX.as_bytes()) {
            drafts.push(entry.path());
        }
    }
    Ok(drafts)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", path.display())),
        _ => Ok(()),
    }
}
