//! Creating a volume: found, taken back, or built.

use super::build;
use crate::{
    directory::{
        durable::Claimed,
        engine::Engine,
        names::Named,
        stored::{Located, NameRecord},
    },
    error::{Error, ErrorKind, Result},
    id::VolumeId,
    name::VolumeName,
    progress::Meter,
    snapshot::Outcome,
    volume::{CreateOptions, CreateReport, Import, Source, VolumeRecord, VolumeState, check, compat},
};

/// Creates the volume, or finds the compatible one that is there.
///
/// # Errors
/// As [`VolumeStore::create`](crate::VolumeStore::create).
pub(super) fn create(
    engine: &Engine,
    name: &VolumeName,
    options: &CreateOptions,
    meter: &Meter,
) -> Result<CreateReport> {
    check::create(&engine.info, options)?;
    engine.check_writable()?;
    loop {
        meter.check()?;
        match (engine.resolve(name)?, &options.source) {
            (Named::Ready(found), _) => return already(engine, &found, options),
            (Named::Stale(stale), Source::Trashed(id)) if stale.stored.volume.id == *id => {}
            (Named::Stale(stale), _) => {
                engine.free_stale(name, &stale, meter)?;
                continue;
            }
            (Named::Free(_), Source::Trashed(_)) => {}
            (Named::Free(previous), source) => {
                match build::build(engine, name, previous, options, meter) {
                    Ok(Some(report)) => return Ok(report),
                    Ok(None) => {}
                    Err(e) if e.kind() == ErrorKind::NotFound && was_moved(engine, name, source, meter)? => {}
                    Err(e) => return Err(e),
                }
                continue;
            }
        }
        if let Source::Trashed(id) = &options.source
            && let Some(report) = take_back(engine, name, id, options, meter)?
        {
            return Ok(report);
        }
    }
}

/// Whether the source is not there any more because a create like this one was killed after it moved it: then
/// that one is finished.
fn was_moved(engine: &Engine, name: &VolumeName, source: &Source, meter: &Meter) -> Result<bool> {
    match source {
        Source::Directory { path, import: Import::Move } => engine.finish_move_of(path, name, meter),
        _ => Ok(false),
    }
}

fn already(engine: &Engine, there: &Located, options: &CreateOptions) -> Result<CreateReport> {
    let volume = there.stored.volume.clone();
    let mut found = match options.source {
        Source::Trashed(_) => compat::differences_taken_back(&options.spec, &volume.spec),
        _ => compat::differences(&options.spec, &volume.spec),
    };
    found.extend(compat::source_difference(&options.source, &volume, source_now(engine, options).as_ref()));
    compat::refuse_differences(found, &volume)?;
    engine.confirm_name(there)?;
    if matches!(options.source, Source::Trashed(_)) {
        engine.confirm(&there.layout.records())?;
    }
    Ok(CreateReport::new(volume, Outcome::Already))
}

/// Takes a volume back from the trash; `None` if `name` was taken meanwhile.
///
/// The name comes first and the volume's readiness last, all under the volume's exclusion: killed between, the
/// volume is in the trash as before, and whoever finds the name gives it free. A new name is in the volume's
/// record before it is claimed: whoever removes the volume gives free the name that its record says.
fn take_back(
    engine: &Engine,
    name: &VolumeName,
    id: &VolumeId,
    options: &CreateOptions,
    meter: &Meter,
) -> Result<Option<CreateReport>> {
    let _excluded = engine.exclude(&engine.layout.volume(id), meter).map_err(|e| not_trashed(e, id))?;
    let located = engine.locate_id(id).map_err(|e| not_trashed(e, id))?;
    let volume = &located.stored.volume;
    if volume.state == VolumeState::Ready {
        return ready_elsewhere(volume, name);
    }
    compat::refuse_differences(compat::differences_taken_back(&options.spec, &volume.spec), volume)?;
    match name_trashed(engine, located, name, meter)? {
        Some(named) => revive(engine, &named).map(Some),
        None => Ok(None),
    }
}

/// Gives a volume in the trash, whose exclusion the caller holds, the name `name`; `None` if it was taken
/// meanwhile.
pub(super) fn name_trashed(
    engine: &Engine,
    mut located: Located,
    name: &VolumeName,
    meter: &Meter,
) -> Result<Option<Located>> {
    let id = &located.stored.volume.id.clone();
    if located.stored.volume.name != *name {
        engine.free_name(&located.stored.volume.name, id, meter)?;
        let mut stored = located.stored.clone();
        stored.volume.name = name.clone();
        engine.publish(&located, &stored)?;
        located = engine.locate_id(id)?;
    }
    let claim = engine.begin_claim(name, meter)?;
    engine.durable.directory(&engine.layout.names())?;
    let named = match engine.resolve(name)? {
        Named::Free(previous) => engine.claim(&claim, previous, &NameRecord::Names(id.clone()))?,
        Named::Stale(stale) if stale.stored.volume.id == *id => {
            // Named before, perhaps by one who died before its flush.
            engine.durable.directory(&engine.layout.name(name))?;
            Claimed::Won
        }
        Named::Stale(_) | Named::Ready(_) => Claimed::Lost,
    };
    Ok((named == Claimed::Won).then_some(located))
}

fn revive(engine: &Engine, located: &Located) -> Result<CreateReport> {
    let mut stored = located.stored.clone();
    stored.volume.state = VolumeState::Ready;
    engine.publish(located, &stored)?;
    Ok(CreateReport::new(stored.volume, Outcome::Done))
}

fn ready_elsewhere(volume: &VolumeRecord, name: &VolumeName) -> Result<Option<CreateReport>> {
    if volume.name == *name {
        return Ok(None);
    }
    Err(Error::not_found("the volume is not in the trash: it was taken back")
        .context("id", &volume.id)
        .context("under the name", &volume.name))
}

fn not_trashed(error: Error, id: &VolumeId) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::not_found("no such volume in the trash")
        .context("id", id)
        .advise("list the trash for what can be taken back")
}

/// Which volume the name in the source stands for now.
fn source_now(engine: &Engine, options: &CreateOptions) -> Option<VolumeId> {
    let (Source::Volume(name) | Source::Snapshot { volume: name, .. }) = &options.source else {
        return None;
    };
    match engine.resolve(name) {
        Ok(Named::Ready(found)) => Some(found.stored.volume.id),
        _ => None,
    }
}
