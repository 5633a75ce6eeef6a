//! What must be true of a volume, from what its killed writers had said.

use super::child::Said;
use std::collections::BTreeSet;

/// What is known of a volume between two lives of its writer. Trees are their numbers.
#[derive(Debug, Default)]
pub struct Known {
    /// What the head holds.
    pub head: u64,
    /// What a sync was asked to put there, and was killed.
    under_way: Option<u64>,
    /// The tree of the killed node that was written last.
    written: u64,
    /// What its tree may be: also the next one, whose writing was killed.
    trees: BTreeSet<u64>,
    /// Work that the head left behind, one of which must be a salvage once its node has attached again.
    owed: Option<BTreeSet<u64>>,
    /// Whether another node has moved the head since.
    moved: bool,
    /// Snapshots that were acknowledged.
    pub snapshots: BTreeSet<u64>,
}

/// How a writer's life began, for whoever looks for its salvage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Began {
    /// It was killed before it had attached, or nothing was owed.
    Quietly,
    /// It has attached again: a salvage holds one of these.
    WithSalvageOf(BTreeSet<u64>),
}

impl Known {
    /// Of a volume that is new.
    pub fn new() -> Self {
        Self { trees: [0].into(), ..Self::default() }
    }

    /// Follows one life of the writer, whose first tree is `next`.
    pub fn lived(&mut self, said: &[Said], mut next: u64) -> Began {
        let mut began = Began::Quietly;
        for (number, word) in said.iter().enumerate() {
            match *word {
                Said::Attached(value) if number == 0 => {
                    began = self.began(value);
                    self.trees = [value, next].into();
                }
                Said::Attached(value) => {
                    assert_eq!(value, self.head, "attached after a detach");
                    self.trees = [value, next].into();
                }
                Said::Written(value) => {
                    (self.under_way, self.written, next) = (Some(value), value, value + 1);
                    self.trees = [value].into();
                }
                Said::Synced(value) => {
                    (self.head, self.under_way) = (value, None);
                    self.trees = [value, next].into();
                }
                Said::Detached(value) => (self.head, self.under_way) = (value, None),
                Said::Snapped(value) => drop(self.snapshots.insert(value)),
                Said::Ended => {}
                Said::Fenced(_) => panic!("a live writer was fenced: {said:?}"),
            }
        }
        began
    }

    fn began(&mut self, value: u64) -> Began {
        let owed = self.owed.take();
        if self.moved {
            assert_eq!(value, self.head, "attached after another node: {self:?}");
            self.moved = false;
        } else {
            assert!(self.trees.contains(&value), "{value} is attached, which nobody wrote: {self:?}");
        }
        self.written = value;
        owed.map_or(Began::Quietly, Began::WithSalvageOf)
    }

    /// Another node has attached and found `value`.
    pub fn found(&mut self, value: u64) {
        let right = value == self.head || Some(value) == self.under_way;
        assert!(right, "the head holds {value}: what was acknowledged is lost: {self:?}");
        (self.head, self.under_way) = (value, None);
    }

    /// Another node has acknowledged `value`.
    pub fn moved(&mut self, value: u64) {
        if !self.moved && self.written != self.head {
            self.owed = Some(self.trees.clone());
        }
        (self.head, self.moved) = (value, true);
    }
}
