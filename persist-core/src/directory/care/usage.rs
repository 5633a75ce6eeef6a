//! How much is used.

use super::{
    Usage,
    measure::{Measured, measure},
    names,
};
use crate::{
    directory::{engine::Engine, stored::Located},
    error::{ErrorKind, Result},
    id::Generation,
    name::VolumeName,
    progress::{Meter, Phase},
    volume::VolumeState,
};
use std::path::Path;

/// Counts what `volume`, or the whole store, uses.
///
/// # Errors
/// `NotFound` for the volume; as the filesystem reports them.
pub(super) fn count(engine: &Engine, volume: Option<&VolumeName>, meter: &Meter) -> Result<Usage> {
    meter.enter(Phase::Scan);
    let mut usage = Usage::default();
    match volume {
        Some(volume) => of_volume(engine, &engine.locate(volume)?, &mut usage, meter)?,
        None => of_store(engine, &mut usage, meter)?,
    }
    usage.free_bytes = Some(engine.place.free_bytes(engine.layout.root())?);
    Ok(usage)
}

fn of_store(engine: &Engine, usage: &mut Usage, meter: &Meter) -> Result<()> {
    engine.each_located(|name, found| {
        meter.check()?;
        match found {
            Ok(found) => of_volume(engine, &found, usage, meter),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                reclaimable(&engine.layout.volumes().join(name), usage, meter)
            }
            // What cannot be read is not touched, so nothing of it can be had back: verify says so.
            Err(e) if e.kind() == ErrorKind::Corrupt => Ok(()),
            Err(e) => Err(e),
        }
    })?;
    // What is being removed, not the directory that it is in.
    let removed = engine.layout.removed();
    names(&removed)?.iter().try_for_each(|name| reclaimable(&removed.join(name), usage, meter))
}

fn of_volume(engine: &Engine, found: &Located, usage: &mut Usage, meter: &Meter) -> Result<()> {
    if found.stored.volume.state != VolumeState::Ready {
        return reclaimable(found.layout.root(), usage, meter);
    }
    let referred = engine.referred(found)?;
    for name in names(&found.layout.data())? {
        let Measured { files, bytes } = counted(&found.layout.data().join(&name), meter)?;
        match Generation::parse(&name) {
            Some(live) if live == found.stored.generation => {
                usage.volume_bytes += bytes;
                usage.files += files;
            }
            Some(kept) if referred.contains(&kept) => usage.snapshot_bytes += bytes,
            _ => usage.reclaimable_bytes += bytes,
        }
    }
    Ok(())
}

fn reclaimable(path: &Path, usage: &mut Usage, meter: &Meter) -> Result<()> {
    usage.reclaimable_bytes += counted(path, meter)?.bytes;
    Ok(())
}

fn counted(path: &Path, meter: &Meter) -> Result<Measured> {
    let measured = measure(path, meter)?;
    meter.add(measured.files, measured.bytes);
    Ok(measured)
}
