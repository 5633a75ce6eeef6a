//! What must be true of a volume, from what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of a volume; trees are their numbers.
#[derive(Debug, Default, Clone)]
pub struct Truth {
    /// What the head may hold: one tree after an acknowledgement, more after a failure.
    pub head: BTreeSet<u64>,
    /// The largest epoch that anybody was granted, and by which node.
    pub epoch: u64,
    pub holder: Option<usize>,
    /// Snapshots that are there, and their trees for ever.
    pub snapshots: BTreeMap<String, u64>,
    /// Snapshots of which nobody knows whether they are there.
    pub unsure: BTreeSet<String>,
    pub nodes: Vec<Copy>,
    /// The number of the next tree.
    pub next: u64,
}

/// What is known of a node's copy.
#[derive(Debug, Default, Clone)]
pub struct Copy {
    /// The tree that it was left with.
    pub tree: u64,
    /// Whether that was written there and never acknowledged.
    pub work: bool,
    /// The epoch of its attachment.
    pub epoch: u64,
}

impl Truth {
    pub fn new(nodes: usize) -> Self {
        let nodes = vec![Copy::default(); nodes];
        Self { head: [0].into(), nodes, next: 1, ..Self::default() }
    }

    /// The head holds `tree`, which was acknowledged.
    pub fn acknowledged(&mut self, tree: u64) {
        self.head = [tree].into();
    }

    /// The head may hold `tree`: the call that was to put it there failed.
    pub fn perhaps(&mut self, tree: u64) {
        self.head.insert(tree);
    }

    /// Whether `node` may commit, where the head's epoch is `epoch`: an attach that failed may have taken it too.
    pub fn may_commit(&self, node: usize, epoch: u64) -> bool {
        self.holder == Some(node) && self.nodes[node].epoch == epoch
    }
}
