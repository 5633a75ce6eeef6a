//! A reader of a commit that the head may leave: it pins it, then looks whether the pin came in time.

use super::world::{Variant, World};
use persist_s3::head::{
    names::Condemned,
    pin::{Fate, Seen},
    record::CommitName,
};

/// Where the reader is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Reader {
    Idle,
    /// It has read the head.
    Saw(CommitName),
    /// It has written its pin.
    Pinned(CommitName),
    /// It has read the head again, which leaves it to the commit.
    Looked(CommitName),
    /// The pin keeps the commit, which it reads.
    Reads(CommitName),
    /// It was told that the pin came too late, and took it back.
    Refused,
    /// It has read, and let go.
    Done,
}

/// The reader's next request arrives.
pub(crate) fn read(variant: Variant, world: &mut World) -> bool {
    world.reader = match world.reader.clone() {
        Reader::Idle => match &world.head.commit {
            Some(commit) => Reader::Saw(commit.clone()),
            None => return false,
        },
        Reader::Saw(commit) => {
            world.pins.insert(commit.clone());
            match variant {
                Variant::PinNotReread => Reader::Reads(commit),
                _ => Reader::Pinned(commit),
            }
        }
        Reader::Pinned(commit) => {
            let by_tombstones = || Fate::by_tombstones(&world.head.tombstones, &commit);
            match Fate::by_head(&world.head, &commit).or_else(by_tombstones) {
                Some(fate) => decided(world, commit, fate),
                None => Reader::Looked(commit),
            }
        }
        Reader::Looked(commit) => {
            let there = world.packs.contains(&Condemned::Commit(commit.clone()));
            decided(world, commit, Fate::by_object(if there { Seen::There } else { Seen::Missing }))
        }
        Reader::Reads(commit) => {
            world.pins.remove(&commit);
            Reader::Done
        }
        Reader::Refused | Reader::Done => return false,
    };
    true
}

fn decided(world: &mut World, commit: CommitName, fate: Fate) -> Reader {
    if fate == Fate::Kept {
        return Reader::Reads(commit);
    }
    world.pins.remove(&commit);
    Reader::Refused
}
