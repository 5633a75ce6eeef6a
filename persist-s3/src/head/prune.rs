//! Which commits and packs go, and who is asked before: each side writes its own flag before it reads the other's.
//!
//! The pruner writes tombstones into the head, *then* reads who has spoken for a pack. A salvage speaks
//! for its packs, *then* reads the head. Whichever comes second sees the first; no clock decides.

use super::{names::Condemned, record::Head};
use persist_core::Epoch;
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
    let newest = newest_pack(head.epoch, needed);
    let idle = |name: &&Condemned| !needed.contains(*name) && !head.tombstones.contains(*name);
    let over = |name: &&Condemned| name.epoch() < head.epoch || is_superseded(name, head, newest);
    stored.iter().filter(idle).filter(over).cloned().collect()
}

/// Whether what the current epoch wrote belongs to no commit that is still to be made: a session makes one commit
/// after the other, and numbers what it uploads in that order. `newest` is the last pack that a commit has.
fn is_superseded(name: &Condemned, head: &Head, newest: Option<u64>) -> bool {
    if name.epoch() != head.epoch {
        return false;
    }
    match name {
        Condemned::Commit(commit) => head.commit.as_ref().is_some_and(|newest| commit.seq < newest.seq),
        Condemned::Pack(pack) => newest.is_some_and(|newest| pack.seq < newest),
    }
}

/// The number of the last pack of `epoch` that a retained commit needs.
fn newest_pack(epoch: Epoch, needed: &BTreeSet<Condemned>) -> Option<u64> {
    let numbers = needed.iter().filter_map(|name| match name {
        Condemned::Pack(pack) if pack.epoch == epoch => Some(pack.seq),
        _ => None,
    });
    numbers.max()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{
        names::{CommitName, Digest, PackName, UniqueName},
        record::Head,
    };
    use persist_core::{VolumeId, VolumeName};

    fn commit(epoch: u64, seq: u64) -> Condemned {
        Condemned::Commit(CommitName { seq, epoch: Epoch::new(epoch), hash: Digest([0; 16]) })
    }

    fn pack(epoch: u64, seq: u64) -> Condemned {
        Condemned::Pack(PackName { epoch: Epoch::new(epoch), seq, hash: Digest([0; 16]) })
    }

    #[test]
    fn what_a_commit_may_still_be_made_of_is_not_condemned() {
        let volume = VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap();
        let name = VolumeName::new("v").unwrap();
        let mut head = Head::new(volume, name, UniqueName::of(Epoch::ZERO, 0, b""), 1).unwrap();
        let Condemned::Commit(newest) = commit(3, 5) else { unreachable!() };
        (head.epoch, head.seq, head.commit) = (Epoch::new(3), 5, Some(newest));
        let needed = BTreeSet::from([commit(3, 5), pack(3, 7), pack(1, 1)]);
        let left = [commit(2, 9), commit(3, 4), pack(2, 30), pack(3, 6)];
        let under_way = [commit(3, 6), pack(3, 8), commit(4, 1), pack(4, 1)];
        let stored = needed.iter().chain(&left).chain(&under_way).cloned().collect();
        assert_eq!(condemnable(&head, &stored, &needed), BTreeSet::from(left));
        // Without a pack to compare with, those of the epoch may be of the next commit.
        let needed = BTreeSet::from([commit(3, 5)]);
        assert!(!condemnable(&head, &stored, &needed).contains(&pack(3, 6)));
    }
}
