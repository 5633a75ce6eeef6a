//! Changing labels, size and protection of a volume: all of it, or nothing.

use crate::{
    directory::engine::Engine,
    error::Result,
    name::VolumeName,
    progress::Meter,
    snapshot::Outcome,
    volume::{UpdateOptions, UpdateReport, VolumeSpec, check},
};

/// Changes the volume. The size is enforced before the record says it, because the place may refuse; should
/// we die between, the next update of the size, or `prune`, brings the two together again.
///
/// # Errors
/// As [`VolumeStore::update`](crate::VolumeStore::update).
pub(super) fn update(
    engine: &Engine,
    name: &VolumeName,
    options: &UpdateOptions,
    meter: &Meter,
) -> Result<UpdateReport> {
    check::update(&engine.info, options)?;
    let (_excluded, located) = engine.locate_alone(name, meter)?;
    let mut stored = located.stored.clone();
    stored.volume.spec = changed(&located.stored.volume.spec, options);
    check::labels_count(stored.volume.spec.labels.len())?;
    let tree = located.layout.generation(&stored.generation);
    if let Some(size) = options.size_bytes {
        engine.place.limit_size(&tree, size)?;
    }
    if stored == located.stored {
        engine.confirm(&located.layout.records())?;
        return Ok(UpdateReport::new(stored.volume, Outcome::Already));
    }
    if let Err(error) = engine.publish(&located, &stored) {
        if options.size_bytes.is_some() {
            engine.place.limit_size(&tree, located.stored.volume.spec.size_bytes)?;
        }
        return Err(error);
    }
    Ok(UpdateReport::new(stored.volume, Outcome::Done))
}

fn changed(spec: &VolumeSpec, options: &UpdateOptions) -> VolumeSpec {
    let mut spec = spec.clone();
    for (key, value) in &options.labels {
        match value {
            Some(value) => spec.labels.insert(key.clone(), value.clone()),
            None => spec.labels.remove(key),
        };
    }
    spec.size_bytes = options.size_bytes.unwrap_or(spec.size_bytes);
    spec.protection = options.protection.unwrap_or(spec.protection);
    spec
}
