//! Deleting a volume: refused, put into the trash, or removed.
//!
//! The volume's own record `Trashed` is the step that deletes it; the name is given free after it, by us
//! or by whoever comes. What is removed goes to `removed/` first, by one rename: a volume in the trash is
//! whole, always.

use crate::{
    directory::{
        durable::{DRAFT_PREFIX, unsure},
        engine::Engine,
        exclusion::Exclusion,
        fresh,
        intents::{self, Intent},
        layout::{EXCLUSION, VolumeLayout},
        names::Named,
        place::Verdict,
        snapshots::record,
        stored::Located,
    },
    error::{Difference, Error, ErrorKind, HolderSeen, Result},
    id::VolumeId,
    linux::cause::cause,
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::Outcome,
    volume::{DeleteOptions, DeleteReport, Protection, SnapshotsAlong, Trash, VolumeRecord, VolumeState},
};
use std::{fs, io, path::Path};

/// Deletes the volume.
///
/// # Errors
/// As [`VolumeStore::delete`](crate::VolumeStore::delete).
pub(super) fn delete(
    engine: &Engine,
    name: &VolumeName,
    options: &DeleteOptions,
    meter: &Meter,
) -> Result<DeleteReport> {
    engine.check_writable()?;
    let (excluded, located) = match engine.locate_alone(name, meter) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Named::Stale(stale) = engine.resolve(name)? {
                engine.free_stale(name, &stale, meter)?;
            }
            return Ok(DeleteReport::new(Outcome::Already, None));
        }
        found => found?,
    };
    remove(engine, &excluded, &located, options, meter)
}

/// Deletes the volume `id` at the end of its lifetime, if it still has its name: by now the name may be
/// another volume's.
///
/// # Errors
/// As [`delete`]; `NotFound` if it has gone.
pub(in crate::directory) fn end(
    engine: &Engine,
    name: &VolumeName,
    id: &VolumeId,
    meter: &Meter,
) -> Result<DeleteReport> {
    let (excluded, located) = engine.locate_alone(name, meter)?;
    if located.stored.volume.id != *id {
        return Err(Error::not_found("the volume was deleted meanwhile").context("id", id));
    }
    remove(engine, &excluded, &located, &DeleteOptions::default().with_trash(Trash::Bypass), meter)
}

fn remove(
    engine: &Engine,
    excluded: &Exclusion,
    located: &Located,
    options: &DeleteOptions,
    meter: &Meter,
) -> Result<DeleteReport> {
    check_free(engine, located, options.snapshots)?;
    engine.evict_dead(&located.layout, meter)?;
    let trashed = engine.trash(located, options.trash, meter)?;
    let trashed = match options.trash {
        Trash::KeepFor(_) => Some(trashed),
        Trash::Bypass => {
            engine.remove_trashed(&trashed.id, excluded, meter).map_err(unsure)?;
            None
        }
    };
    Ok(DeleteReport::new(Outcome::Done, trashed))
}

/// Refuses a volume that is protected, attached, or has snapshots that were not asked along.
/// A holder that is proven dead keeps nothing.
pub(in crate::directory) fn check_free(
    engine: &Engine,
    located: &Located,
    snapshots: SnapshotsAlong,
) -> Result<()> {
    let volume = &located.stored.volume;
    if volume.spec.protection == Protection::Protected {
        return Err(Error::new(ErrorKind::Denied, "the volume is protected")
            .advise("lift its protection by update, if it shall really go"));
    }
    let attached = engine.attached(&located.layout)?;
    let living = attached.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::Dead(_)));
    let holders: Vec<_> = living.map(|(stored, _)| HolderSeen::of(&stored.record)).collect();
    if !holders.is_empty() {
        return Err(Error::in_use("the volume is attached", holders)
            .advise("detach it first; prune, or a vouch, removes a holder that is dead"));
    }
    match snapshots {
        SnapshotsAlong::Delete => Ok(()),
        SnapshotsAlong::Refuse => check_no_snapshots(located),
    }
}

fn check_no_snapshots(located: &Located) -> Result<()> {
    let mut kept = Vec::new();
    for stored in record::all(&located.layout)? {
        let stored = stored?;
        if stored.counts(&located.stored.generation) {
            kept.push(stored.snapshot.name.to_string());
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let difference = Difference::new("snapshots", "none", kept.join(" "));
    Err(Error::conflict("the volume has snapshots", vec![difference])
        .advise("delete them first, or ask for them to go along"))
}

impl Engine {
    /// Makes a volume, whose exclusion the caller holds, a deleted one.
    ///
    /// # Errors
    /// As the filesystem reports them; with the name not yet free, a repeat goes on.
    pub(in crate::directory) fn trash(
        &self,
        located: &Located,
        trash: Trash,
        meter: &Meter,
    ) -> Result<VolumeRecord> {
        meter.enter(Phase::Publish);
        meter.check()?;
        let since = self.now();
        let until = match trash {
            Trash::KeepFor(window) => since.saturating_add(window),
            Trash::Bypass => since,
        };
        let mut stored = located.stored.clone();
        stored.volume.state = VolumeState::Trashed { since, until };
        self.publish(located, &stored)?;
        // It is deleted by now.
        self.free_name(&stored.volume.name, &stored.volume.id, meter).map_err(unsure)?;
        Ok(stored.volume)
    }

    /// Removes a volume in the trash, whose name is free and whose exclusion the caller holds; one that is
    /// still read is left to `prune`.
    ///
    /// # Errors
    /// As the filesystem reports them; what is left is garbage by then.
    pub(in crate::directory) fn remove_trashed(
        &self,
        id: &VolumeId,
        _excluded: &Exclusion,
        meter: &Meter,
    ) -> Result<()> {
        let layout = self.layout.volume(id);
        if self.is_read(&layout)? {
            return Ok(());
        }
        let intent = Intent::begin(&self.layout.intent(id), meter)?;
        self.move_away(id, &layout)?;
        // A volume that is half removed must not come back whole.
        self.durable.directory(&self.layout.volumes())?;
        self.durable.directory(&self.layout.removed())?;
        self.remove_remains(id, meter)?;
        intent.end()
    }

    /// Removes a volume that no name ever named, and whose intent the caller holds.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    pub(in crate::directory) fn remove_volume(
        &self,
        id: &VolumeId,
        layout: &VolumeLayout,
        meter: &Meter,
    ) -> Result<()> {
        self.move_away(id, layout)?;
        self.remove_remains(id, meter)
    }

    /// Whether somebody reads or builds a tree of the volume.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(in crate::directory) fn is_read(&self, layout: &VolumeLayout) -> Result<bool> {
        for name in names(&layout.intents())? {
            if intents::is_live(&layout.intents().join(name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what was a volume.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    pub(in crate::directory) fn remove_remains(&self, id: &VolumeId, meter: &Meter) -> Result<()> {
        meter.enter(Phase::Remove);
        let remains = self.layout.removed().join(id.to_string());
        self.remove_exclusion(id, &remains)?;
        let data = remains.join("data");
        // Each tree by itself: it may be more to the place than a directory.
        for tree in names(&data)? {
            self.place.remove_tree(&data.join(tree), meter)?;
        }
        self.place.remove_tree(&remains, meter)
    }

    /// Removes the exclusion of what was a volume from where nothing else goes: it may be held, and an NFS
    /// client keeps a file that is open in its directory, which could not be removed then.
    fn remove_exclusion(&self, id: &VolumeId, remains: &Path) -> Result<()> {
        let aside = self.layout.removed().join(format!("{DRAFT_PREFIX}{id}"));
        match fs::rename(remains.join(EXCLUSION), &aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(cause(e, "rename", remains.display()));
            }
            _ => {}
        }
        match fs::remove_file(&aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", aside.display())),
            _ => Ok(()),
        }
    }

    fn move_away(&self, id: &VolumeId, layout: &VolumeLayout) -> Result<()> {
        match fs::rename(layout.root(), self.layout.removed().join(id.to_string())) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "rename", layout.root().display())),
            _ => Ok(()),
        }
    }
}

/// The names in `directory`, drafts left out; none if it is not there.
pub(in crate::directory) fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match fresh::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| cause(e, "list", directory.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| cause(e, "list", directory.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(DRAFT_PREFIX) && !fresh::is_removed(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
