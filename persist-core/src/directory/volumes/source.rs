//! What a new volume is filled from: found and held first, read after.

use crate::{
    directory::{
        engine::Engine,
        names::Named,
        place::{Cut, CutMode},
        trees::TreeRead,
    },
    error::{Error, ErrorKind, Result},
    id::{Generation, VolumeId},
    linux::cause::cause,
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::SnapshotName,
    tree::{ApplyOptions, CopyOptions, Root, TreePath, TreeSource, Trust, apply, copy},
    volume::{CreateOptions, Import, Origin, Source, VolumeState},
};
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A source that is there, and stays until this is dropped.
#[derive(Debug)]
pub(super) enum Opened {
    Empty,
    Snapshot { volume: VolumeId, snapshot: SnapshotName, tree: TreeRead },
    Volume { volume: VolumeId, tree: TreeRead },
    Directory { path: PathBuf, import: Import, trust: Trust },
    Tree(Arc<dyn TreeSource>, Trust),
}

/// Finds the source and holds it.
///
/// # Errors
/// `NotFound` if it is not there; `Invalid` for a directory that cannot be one.
pub(super) fn open(engine: &Engine, options: &CreateOptions, meter: &Meter) -> Result<Opened> {
    match &options.source {
        Source::Empty => Ok(Opened::Empty),
        Source::Snapshot { volume, snapshot } => {
            let held = engine.snapshot_tree(volume, snapshot, meter)?;
            let volume = held.stored.snapshot.volume.clone();
            Ok(Opened::Snapshot { volume, snapshot: snapshot.clone(), tree: held.tree })
        }
        Source::Volume(name) => open_volume(engine, name, meter),
        Source::Directory { path, import } => {
            check_directory(engine.layout.root(), path, *import)?;
            let trust = options.trust.unwrap_or(Trust::Faithful);
            Ok(Opened::Directory { path: path.clone(), import: *import, trust })
        }
        Source::Tree(tree) => Ok(Opened::Tree(Arc::clone(tree), options.trust.unwrap_or(engine.trust))),
        Source::Trashed(id) => {
            Err(Error::internal("a volume in the trash is taken back, not copied").context("id", id))
        }
    }
}

impl Opened {
    /// Where the volume comes from, for its record.
    pub(super) fn origin(&self) -> Origin {
        match self {
            Self::Empty => Origin::Empty,
            Self::Snapshot { volume, snapshot, .. } => {
                Origin::Snapshot { volume: volume.clone(), snapshot: snapshot.clone() }
            }
            Self::Volume { volume, .. } => Origin::Volume(volume.clone()),
            Self::Directory { path, .. } => Origin::Directory(path.clone()),
            Self::Tree(..) => Origin::Tree,
        }
    }

    /// Makes the tree `to` from it. Not yet durable.
    ///
    /// # Errors
    /// As the filesystem and the source report them; what is left at `to` is garbage.
    pub(super) fn fill(&self, engine: &Engine, to: &Path, meter: &Meter) -> Result<Cut> {
        meter.enter(Phase::Transfer);
        match self {
            Self::Empty => engine.place.make_tree(to).map(|()| Cut::default()),
            Self::Snapshot { tree, .. } | Self::Volume { tree, .. } => {
                engine.place.cut(&tree.path, to, CutMode::Writable, meter)
            }
            Self::Directory { path, trust: Trust::Untrusted, .. } => disbelieved(engine, path, to, meter),
            Self::Directory { path, import, .. } => engine.place.import(path, to, *import, meter),
            Self::Tree(source, trust) => fill_from(engine, source, *trust, to, meter),
        }
    }
}

/// Writes a tree that the caller gave, the quickest way that there is.
fn fill_from(
    engine: &Engine,
    source: &Arc<dyn TreeSource>,
    trust: Trust,
    to: &Path,
    meter: &Meter,
) -> Result<Cut> {
    if let Some(directory) = source.directory() {
        check_apart(engine.layout.root(), directory)?;
        let cut = match trust {
            Trust::Faithful => engine.place.import(directory, to, Import::Copy, meter)?,
            Trust::Untrusted => disbelieved(engine, directory, to, meter)?,
        };
        // A source that ended meanwhile, as with the store that it is of, has not kept its tree whole.
        tokio::runtime::Handle::current().block_on(source.entry(&TreePath::root()))?;
        return Ok(cut);
    }
    engine.place.make_tree(to)?;
    let options = ApplyOptions::default().with_trust(trust).with_meter(meter.clone());
    // This thread may block, and belongs to the caller's runtime.
    let report = tokio::runtime::Handle::current().block_on(apply(Arc::clone(source), to, options))?;
    let remarks = report.losses.remarks();
    Ok(Cut { totals: Some(report.totals), remarks, ..Cut::default() })
}

/// Copies a directory without what it says about privilege: left out, and reported.
fn disbelieved(engine: &Engine, from: &Path, to: &Path, meter: &Meter) -> Result<Cut> {
    engine.place.make_tree(to)?;
    let options = CopyOptions::default().with_trust(Trust::Untrusted);
    let report = copy(&Root::open(from)?, &Root::open(to)?, &options, meter)?;
    Ok(Cut { totals: Some(report.totals), remarks: report.losses.remarks(), ..Cut::default() })
}

/// Refuses a directory that holds the store.
fn check_apart(store: &Path, directory: &Path) -> Result<()> {
    if !real(store)?.starts_with(real(directory)?) {
        return Ok(());
    }
    Err(Error::invalid("source", "the store is inside it").context("path", directory.display()))
}

fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| cause(e, "resolve", path.display()))
}

fn open_volume(engine: &Engine, name: &VolumeName, meter: &Meter) -> Result<Opened> {
    let missing = || Error::not_found("no such volume to make this one from").context("source", name);
    match engine.read_live(name, meter) {
        Ok((volume, tree)) => Ok(Opened::Volume { volume, tree }),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(missing()),
        Err(e) => Err(e),
    }
}

impl Engine {
    /// Holds the live tree of the volume `name` for reading.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` once stopped.
    pub(in crate::directory) fn read_live(
        &self,
        name: &VolumeName,
        meter: &Meter,
    ) -> Result<(VolumeId, TreeRead)> {
        let Named::Ready(found) = self.resolve(name)? else {
            return Err(Error::not_found("no such volume").context("volume", name));
        };
        let volume = found.stored.volume.id.clone();
        let tree = self.read_tree(&found.layout, meter, || live(self, &volume))?;
        Ok((volume, tree))
    }
}

/// The live tree of a volume that is still there.
fn live(engine: &Engine, id: &VolumeId) -> Result<Generation> {
    let now = engine.locate_id(id)?.stored;
    if now.volume.state == VolumeState::Ready {
        return Ok(now.generation);
    }
    Err(Error::not_found("the volume was deleted meanwhile"))
}

/// Refuses what is not a directory of its own: a link, the store or a part of it, what holds the store,
/// and, to be moved, a mount point.
fn check_directory(store: &Path, path: &Path, import: Import) -> Result<()> {
    let refuse = |why: &'static str| Err(Error::invalid("source", why).context("path", path.display()));
    let metadata = fs::symlink_metadata(path).map_err(|e| cause(e, "stat", path.display()))?;
    if metadata.is_symlink() {
        return refuse("a symbolic link is not imported: name the directory itself");
    }
    if !metadata.is_dir() {
        return refuse("not a directory");
    }
    check_apart(store, path)?;
    if real(path)?.starts_with(real(store)?) {
        return refuse("it is inside the store");
    }
    if import == Import::Move && is_mount_root(path)? {
        return refuse("a mount point cannot be moved: copy it");
    }
    Ok(())
}

fn is_mount_root(path: &Path) -> Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let found =
        statx(CWD, path, flags, StatxFlags::BASIC_STATS).map_err(|e| cause(e, "statx", path.display()))?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
