//! Which packs go, and who is asked before: each side writes its own flag before it reads the other's.
//!
//! The pruner writes tombstones into the head, *then* reads who has spoken for a pack. A salvage speaks
//! for its packs, *then* reads the head. Whichever comes second sees the first; no clock decides.

use super::record::{Head, PackName};
use std::collections::BTreeSet;

/// What a pruner does with the packs that it has condemned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Nobody has spoken for these: they are removed.
    pub remove: BTreeSet<PackName>,
    /// Somebody has: their tombstones are dropped.
    pub absolve: BTreeSet<PackName>,
}

/// The packs that no retained commit needs and that are not condemned yet.
pub fn condemnable(
    head: &Head,
    stored: &BTreeSet<PackName>,
    needed: &BTreeSet<PackName>,
) -> BTreeSet<PackName> {
    let idle = |pack: &&PackName| !needed.contains(*pack) && !head.tombstones.contains(*pack);
    // A pack of the current epoch may belong to a commit that is not made yet.
    stored.iter().filter(idle).filter(|pack| pack.epoch < head.epoch).cloned().collect()
}

/// What becomes of the tombstones of `head`, given what salvages and pins named in a listing that was
/// read *after* that head was written.
pub fn sentence(head: &Head, spoken_for: &BTreeSet<PackName>) -> Sentence {
    let (absolve, remove) = head.tombstones.iter().cloned().partition(|pack| spoken_for.contains(pack));
    Sentence { remove, absolve }
}

/// The packs of a salvage that have to be uploaded again, under names that were never used: those that
/// `head`, read *after* the salvage was written, condemns, and those that are gone.
pub fn to_upload_again(
    needs: &BTreeSet<PackName>,
    head: &Head,
    is_stored: impl Fn(&PackName) -> bool,
) -> BTreeSet<PackName> {
    needs.iter().filter(|pack| head.tombstones.contains(*pack) || !is_stored(pack)).cloned().collect()
}
