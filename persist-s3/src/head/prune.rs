//! Which commits and packs go, and who is asked before: each side writes its own flag before it reads the other's.
//!
//! The pruner writes tombstones into the head, *then* reads who has spoken for a pack. A salvage speaks
//! for its packs, *then* reads the head. Whichever comes second sees the first; no clock decides.

use super::{names::Condemned, record::Head};
use std::collections::BTreeSet;

/// What a pruner does with what it has condemned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Nobody has spoken for these: they are removed.
    pub remove: BTreeSet<Condemned>,
    /// Somebody has: their tombstones are dropped.
    pub absolve: BTreeSet<Condemned>,
}

/// What no retained commit needs and is not condemned yet. Call it once earlier tombstones are absolved.
pub fn condemnable(
    head: &Head,
    stored: &BTreeSet<Condemned>,
    needed: &BTreeSet<Condemned>,
) -> BTreeSet<Condemned> {
    let idle = |name: &&Condemned| !needed.contains(*name) && !head.tombstones.contains(*name);
    // What the current epoch wrote may belong to a commit that is not made yet.
    stored.iter().filter(idle).filter(|name| name.epoch() < head.epoch).cloned().collect()
}

/// What becomes of `tombstones`, given what salvages and pins named in a listing that was read *after* the
/// head with those tombstones was written.
pub fn sentence(tombstones: &BTreeSet<Condemned>, spoken_for: &BTreeSet<Condemned>) -> Sentence {
    let (absolve, remove) = tombstones.iter().cloned().partition(|name| spoken_for.contains(name));
    Sentence { remove, absolve }
}

/// What a salvage needs that has to be uploaded again, under names that were never used: what the
/// `tombstones` of a head condemn that was read *after* the salvage was written, and what is gone.
pub fn to_upload_again(
    needs: &BTreeSet<Condemned>,
    tombstones: &BTreeSet<Condemned>,
    is_stored: impl Fn(&Condemned) -> bool,
) -> BTreeSet<Condemned> {
    needs.iter().filter(|name| tombstones.contains(*name) || !is_stored(name)).cloned().collect()
}
