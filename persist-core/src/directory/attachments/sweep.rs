//! Clearing away what dead holders left.

use super::{
    served::forget,
    stored::{StoredAttachment, read},
};
use crate::{
    attachment::{AttachReport, BusyFiles},
    directory::{
        engine::Engine,
        exclusion::{Exclusion, Hold},
        fresh, intents,
        layout::VolumeLayout,
        place::Verdict,
    },
    error::Result,
    id::{AttachmentId, Epoch},
    linux::cause::cause,
    progress::Meter,
};
use std::{collections::BTreeSet, fs, io, path::Path};

impl Engine {
    /// Clears the attachments of proven dead holders away, and says who is left. The caller holds the
    /// volume's exclusion.
    ///
    /// # Errors
    /// `Corrupt` for a record that cannot be read; as the filesystem reports them.
    pub(crate) fn evict_dead(&self, layout: &VolumeLayout, meter: &Meter) -> Result<Vec<StoredAttachment>> {
        let attached = self.attached(layout)?;
        let (dead, living): (Vec<_>, Vec<_>) =
            attached.into_iter().partition(|(_, verdict)| matches!(verdict, Verdict::Dead(_)));
        let dead: Vec<_> = dead.iter().map(|(stored, _)| stored).collect();
        let mut report = AttachReport::new(crate::snapshot::Outcome::Done, self.info.characteristics.fencing);
        self.take_down(layout, &dead, &mut report)?;
        self.clear(layout, &dead, &mut report, meter)?;
        if !dead.is_empty() {
            self.durable.directory(&layout.attachments())?;
            self.fence_replaced(&dead, self.newest_epoch(layout)?);
        }
        Ok(living.into_iter().map(|(stored, _)| stored).collect())
    }

    /// Takes down what shows attachments whose holders are dead or vouched for. Their records stay: a repeat
    /// finds them again.
    pub(super) fn take_down(
        &self,
        layout: &VolumeLayout,
        gone: &[&StoredAttachment],
        report: &mut AttachReport,
    ) -> Result<()> {
        // What another boot or another node mounted is not in our mount table.
        let here = |stored: &&&StoredAttachment| self.node.as_ref() == Some(&stored.record.holder.node);
        for stored in gone.iter().filter(here) {
            report.remarks.extend(self.lower(layout, stored, BusyFiles::Lazy)?);
        }
        Ok(())
    }

    /// Removes the records of attachments that were taken down. Not durable by itself: the next record in the
    /// same directory makes it so.
    pub(super) fn clear(
        &self,
        layout: &VolumeLayout,
        gone: &[&StoredAttachment],
        report: &mut AttachReport,
        meter: &Meter,
    ) -> Result<()> {
        for StoredAttachment { record, .. } in gone {
            let path = layout.attachment(&record.id);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(cause(e, "unlink", path.display()));
                }
                _ => {}
            }
            forget(layout, &record.id)?;
            self.clear_views(layout, &record.id, meter)?;
            tracing::info!(attachment = %record.id, epoch = %record.epoch, volume = %record.volume, "a dead holder made room");
            report.replaced.push((record.id.clone(), record.epoch));
        }
        Ok(())
    }

    /// Tells the sessions of ours that were swept: their holders were dead, or vouched for.
    pub(super) fn fence_replaced(&self, replaced: &[&StoredAttachment], by: Epoch) {
        let sessions = replaced.iter().filter_map(|stored| self.served.get(&stored.record.id));
        sessions.for_each(|session| session.fence(by));
    }

    /// What is under `views/` and `served/` for attachments that no record names and that nobody makes: what
    /// a killed attach or detach left.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(crate) fn stray_attachments(&self, layout: &VolumeLayout) -> Result<BTreeSet<AttachmentId>> {
        let mut stray = ids_in(&layout.views())?;
        stray.extend(ids_in(&layout.all_served())?);
        let mut found = BTreeSet::new();
        for id in stray {
            // In this order: who makes one publishes its record before it lets go.
            if !intents::is_live(&layout.served(&id))? && read(layout, &id)?.is_none() {
                found.insert(id);
            }
        }
        Ok(found)
    }

    /// Removes one of [`stray_attachments`](Self::stray_attachments). The caller holds the volume's exclusion.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    pub(crate) fn remove_stray_attachment(
        &self,
        layout: &VolumeLayout,
        id: &AttachmentId,
        meter: &Meter,
    ) -> Result<()> {
        // A reader's copy is made without the exclusion: whoever makes one may have begun since the look.
        let Some(_held) = Exclusion::attempt(&layout.served(id), Hold::Alone)? else { return Ok(()) };
        if read(layout, id)?.is_some() {
            return Ok(());
        }
        self.clear_views(layout, id, meter)?;
        forget(layout, id)
    }
}

fn ids_in(directory: &Path) -> Result<BTreeSet<AttachmentId>> {
    let named = |e| cause(e, "list", directory.display());
    let entries = match fresh::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(named)?,
    };
    let mut ids = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(named)?.file_name();
        ids.extend(name.to_str().and_then(AttachmentId::parse));
    }
    Ok(ids)
}
