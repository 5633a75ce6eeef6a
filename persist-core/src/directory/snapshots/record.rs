//! The record of a snapshot on disk, and which records count.

use crate::{
    directory::{durable::DRAFT_PREFIX, fresh, layout::VolumeLayout, records},
    error::{Error, ErrorKind, Result},
    id::Generation,
    linux::cause::cause,
    snapshot::{SnapshotKind, SnapshotName, SnapshotRecord},
};
use serde::{Deserialize, Serialize};
use std::io;

/// A snapshot as its file describes it. Written once, by link(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredSnapshot {
    /// What callers see.
    pub(crate) snapshot: SnapshotRecord,
    /// The tree.
    pub(crate) generation: Generation,
}

impl StoredSnapshot {
    /// Whether this is a snapshot, or what a restore has prepared and not done yet.
    ///
    /// A restore first names the live tree as the snapshot that keeps it, and then publishes the tree that
    /// replaces it: that one record makes both true. A tree that stopped being live never is again.
    pub(crate) fn counts(&self, live: &Generation) -> bool {
        self.snapshot.kind != SnapshotKind::Replaced || self.generation != *live
    }
}

/// Reads the record `name`; `None` if there is none.
///
/// # Errors
/// `Corrupt` for a record that cannot be read, or that was made under another name.
pub(crate) fn read(layout: &VolumeLayout, name: &SnapshotName) -> Result<Option<StoredSnapshot>> {
    let path = layout.snapshot(name);
    let stored: StoredSnapshot = match records::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    if stored.snapshot.name == *name {
        return Ok(Some(stored));
    }
    Err(Error::new(ErrorKind::Corrupt, "the record of a snapshot was renamed")
        .during("read", path.display())
        .context("was", &stored.snapshot.name)
        .advise("rename the file back"))
}

/// The names in use, in order, and what else lies among them.
///
/// # Errors
/// As the filesystem reports them; a foreign file is one `Corrupt` item.
pub(crate) fn names(layout: &VolumeLayout) -> Result<Vec<Result<SnapshotName>>> {
    let directory = layout.snapshots();
    let named = |e| cause(e, "list", directory.display());
    let entries = match fresh::read_dir(&directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(named)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(named)?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with(DRAFT_PREFIX) || fresh::is_removed(&text) {
            continue;
        }
        found.push(SnapshotName::new(&*text).map_err(|_| {
            Error::new(ErrorKind::Corrupt, "a file that is not ours is among the snapshots")
                .during("list", directory.display())
                .context("file", format_args!("{text:?}"))
                .advise("move it away")
        }));
    }
    // Foreign files first: they have no place in the order.
    found.sort_by(|a, b| a.as_ref().ok().cmp(&b.as_ref().ok()));
    Ok(found)
}

/// Every record of a volume, those that do not count yet included, in the order of their names.
///
/// # Errors
/// As [`names`]; an unreadable record is one item.
pub(crate) fn all(layout: &VolumeLayout) -> Result<Vec<Result<StoredSnapshot>>> {
    let mut found = Vec::new();
    for name in names(layout)? {
        match name.and_then(|name| read(layout, &name)) {
            Ok(None) => {}
            Ok(Some(stored)) => found.push(Ok(stored)),
            Err(error) => found.push(Err(error)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{SystemEnvironment, Timestamp},
        id::VolumeId,
        name::VolumeName,
    };

    #[test]
    fn what_a_restore_prepared_counts_once_the_tree_is_no_longer_live() {
        let mint = || Generation::mint(&SystemEnvironment, &SystemEnvironment);
        let (kept, other) = (mint(), mint());
        let volume = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        let name = (SnapshotName::new("s").unwrap(), VolumeName::new("v").unwrap());
        let mut snapshot = SnapshotRecord::new(name.0, volume, name.1, Timestamp::from_millisecond(0));
        for (kind, live, counts) in [
            (SnapshotKind::Named, &kept, true),
            (SnapshotKind::Salvage, &kept, true),
            (SnapshotKind::Replaced, &kept, false),
            (SnapshotKind::Replaced, &other, true),
        ] {
            snapshot.kind = kind;
            let stored = StoredSnapshot { snapshot: snapshot.clone(), generation: kept.clone() };
            assert_eq!(stored.counts(live), counts, "{kind:?}");
        }
    }
}
