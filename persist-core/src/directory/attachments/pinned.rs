//! The snapshots that readers are pinned to.

use crate::{
    directory::{
        engine::Engine,
        snapshots::record::{self, StoredSnapshot},
        stored::Located,
    },
    error::{Error, Result},
    snapshot::{SnapshotKind, SnapshotName},
};

impl Engine {
    /// The snapshot `name` of a volume.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt`.
    pub(super) fn pinned(&self, located: &Located, name: &SnapshotName) -> Result<StoredSnapshot> {
        let found = self.counting(&located.layout, &located.stored.volume.id, name)?;
        found.ok_or_else(|| Error::not_found("no such snapshot").context("snapshot", name))
    }

    /// The newest snapshot of a volume that somebody asked for. One that cannot be read is passed over: it
    /// shows nothing.
    pub(super) fn newest_snapshot(&self, located: &Located) -> Result<Option<StoredSnapshot>> {
        let all = record::all(&located.layout)?.into_iter().filter_map(Result::ok);
        let named = all.filter(|stored| stored.snapshot.kind == SnapshotKind::Named);
        Ok(named.max_by_key(|stored| stored.snapshot.taken))
    }
}
