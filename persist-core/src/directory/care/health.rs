//! How a store is, in a few system calls.

use super::{Health, HealthStatus, View, names};
use crate::{
    directory::{engine::Engine, intents, marker::Marker},
    error::Result,
    progress::Meter,
};

/// Below this much free space, records may soon not be written: a thousand records of 4 KiB, and as much
/// again for the filesystem's own needs.
const LOW_BYTES: u64 = 8 << 20;

/// Looks at the store, and at what this node sees of it.
pub(super) fn look(engine: &Engine, meter: &Meter) -> Vec<Health> {
    let mut found = vec![readable(engine)];
    found.extend(
        interrupted(engine, meter).unwrap_or_else(|e| Some(bad("intents-unreadable", e.to_string()))),
    );
    found.push(space(engine));
    found
}

/// The store's view: it does not work.
pub(super) fn bad(reason: &'static str, message: String) -> Health {
    Health::new(View::Store, HealthStatus::Bad, reason, message)
}

fn readable(engine: &Engine) -> Health {
    match Marker::identity(&engine.layout) {
        Ok(id) if id == engine.info.id => {
            Health::new(View::Store, HealthStatus::Good, "store-readable", "the store can be read")
        }
        Ok(id) => bad("store-replaced", format!("another store is in its place: {id}")),
        Err(error) => bad("store-unreadable", error.to_string()),
    }
}

/// Work whose owner died.
fn interrupted(engine: &Engine, meter: &Meter) -> Result<Option<Health>> {
    let mut left = names(&engine.layout.removed())?.len();
    for name in names(&engine.layout.intents())? {
        meter.check()?;
        left += usize::from(!intents::is_live(&engine.layout.intents().join(name))?);
    }
    Ok((left > 0).then(|| {
        let message = format!("{left} pieces of interrupted work are left: run prune");
        Health::new(View::Store, HealthStatus::Degraded, "interrupted-work", message)
    }))
}

fn space(engine: &Engine) -> Health {
    let view = View::Node { as_of: None };
    match engine.place.free_bytes(engine.layout.root()) {
        Ok(free) if free < LOW_BYTES => {
            Health::new(view, HealthStatus::Degraded, "space-low", format!("{free} bytes are free"))
        }
        Ok(free) => Health::new(view, HealthStatus::Good, "space", format!("{free} bytes are free")),
        Err(error) => Health::new(view, HealthStatus::Bad, "space-unknown", error.to_string()),
    }
}
