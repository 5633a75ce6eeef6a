//! Who is in the way of a restore or of a deletion.

use crate::{
    attachment::AttachmentRecord,
    directory::{durable::DRAFT_PREFIX, engine::Engine, layout::VolumeLayout, records},
    error::{Error, ErrorKind, HolderSeen, Result},
    linux::cause::cause,
    snapshot::SnapshotName,
};

impl Engine {
    /// Refuses while an attachment shows the snapshot.
    ///
    /// # Errors
    /// `InUse` with the readers.
    pub(super) fn check_unread(&self, layout: &VolumeLayout, name: &SnapshotName) -> Result<()> {
        let attached = on_record(layout)?;
        let readers = attached.iter().filter(|record| record.snapshot.as_ref() == Some(name));
        let readers: Vec<_> = readers.map(HolderSeen::of).collect();
        if readers.is_empty() {
            return Ok(());
        }
        Err(Error::in_use("readers are pinned to the snapshot", readers).advise("detach them first"))
    }

    /// Refuses while an attachment shows the live tree: it would go on showing the old one. A reader that is
    /// pinned to a snapshot is in nobody's way.
    ///
    /// # Errors
    /// `InUse` with the holders.
    pub(super) fn check_unattached(&self, layout: &VolumeLayout) -> Result<()> {
        let attached = on_record(layout)?;
        let live = attached.iter().filter(|record| record.snapshot.is_none());
        let holders: Vec<_> = live.map(HolderSeen::of).collect();
        if holders.is_empty() {
            return Ok(());
        }
        Err(Error::in_use("the volume is attached", holders)
            .advise("detach it first; prune, or a vouch, removes a holder that is dead"))
    }
}

/// An attachment as its file describes it: what is needed of it here.
#[derive(serde::Deserialize)]
struct Stored {
    record: AttachmentRecord,
}

/// The attachments that a volume has on record.
///
/// # Errors
/// `Corrupt` for a record that cannot be read.
pub(in crate::directory) fn on_record(layout: &VolumeLayout) -> Result<Vec<AttachmentRecord>> {
    let directory = layout.attachments();
    let named = |e| cause(e, "list", directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(named)? {
        let name = entry.map_err(named)?.file_name();
        if name.to_string_lossy().starts_with(DRAFT_PREFIX) {
            continue;
        }
        match records::read::<Stored>(&directory.join(name)) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            read => found.push(read?.record),
        }
    }
    Ok(found)
}
