//! What a store must hold after a list of operations: small enough to be obviously right.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One operation of a script. Each may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    Create {
        volume: String,
    },
    /// Create from a directory that holds the tree of `value`; a relative one is beside the store.
    Import {
        volume: String,
        from: PathBuf,
        value: u64,
        by: By,
    },
    /// Attach and detach.
    Touch {
        volume: String,
    },
    /// Attach with a mount beside the store, and detach.
    Mount {
        volume: String,
    },
    /// Attach and let go, take it up again by its record, and detach.
    Adopt {
        volume: String,
    },
    /// Attach, write the tree of `value`, sync, detach.
    Write {
        volume: String,
        value: u64,
    },
    Snapshot {
        volume: String,
        snapshot: String,
    },
    Restore {
        volume: String,
        snapshot: String,
    },
    DeleteSnapshot {
        volume: String,
        snapshot: String,
    },
    Clone {
        volume: String,
        snapshot: String,
        to: String,
    },
    Delete {
        volume: String,
    },
    Prune,
}

/// How a directory becomes a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum By {
    Copy,
    Move,
}

/// Volumes by name, and what they hold: 0 stands for an empty tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    pub volumes: BTreeMap<String, Volume>,
}

/// The value of a volume's tree, and of its snapshots'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    pub value: u64,
    pub snapshots: BTreeMap<String, u64>,
}

impl Model {
    /// The model after `op`.
    pub fn after(&self, op: &Op) -> Self {
        let mut next = self.clone();
        next.apply(op);
        next
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create { volume } => drop(self.volumes.entry(volume.clone()).or_default()),
            Op::Import { volume, value, .. } => {
                let made = Volume { value: *value, ..Volume::default() };
                self.volumes.entry(volume.clone()).or_insert(made);
            }
            Op::Touch { .. } | Op::Mount { .. } | Op::Adopt { .. } | Op::Prune => {}
            Op::Write { volume, value } => self.volume(volume).value = *value,
            Op::Snapshot { volume, snapshot } => {
                let volume = self.volume(volume);
                let value = volume.value;
                volume.snapshots.entry(snapshot.clone()).or_insert(value);
            }
            Op::Restore { volume, snapshot } => {
                let volume = self.volume(volume);
                volume.value = volume.snapshots[snapshot];
            }
            Op::DeleteSnapshot { volume, snapshot } => drop(self.volume(volume).snapshots.remove(snapshot)),
            Op::Clone { volume, snapshot, to } => {
                let value = self.volume(volume).snapshots[snapshot];
                self.volumes.entry(to.clone()).or_insert(Volume { value, ..Volume::default() });
            }
            Op::Delete { volume } => drop(self.volumes.remove(volume)),
        }
    }

    /// An operation that makes sense now; `fresh` gives values that were never used.
    pub fn choose(&self, random: &mut fastrand::Rng, fresh: &mut u64) -> Op {
        let Some((volume, held)) = random.choice(self.volumes.iter()) else {
            return Op::Create { volume: name("v", random) };
        };
        let volume = volume.clone();
        let snapshot = random.choice(held.snapshots.keys()).cloned();
        match (random.u8(0..16), snapshot) {
            (0, _) => Op::Create { volume: name("v", random) },
            (1, _) => Op::Delete { volume },
            (2, _) => Op::Prune,
            (3 | 4, Some(snapshot)) => Op::Restore { volume, snapshot },
            (5, Some(snapshot)) => Op::DeleteSnapshot { volume, snapshot },
            (6, Some(snapshot)) => match name("c", random) {
                // A volume that is there came from elsewhere: the store refuses to call it this clone.
                to if self.volumes.contains_key(&to) => Op::Delete { volume: to },
                to => Op::Clone { volume, snapshot, to },
            },
            (7, _) => Op::Touch { volume },
            (14, _) => Op::Mount { volume },
            (15, _) => Op::Adopt { volume },
            (8..10, _) => Op::Snapshot { volume, snapshot: name("s", random) },
            _ => {
                *fresh += 1;
                Op::Write { volume, value: *fresh }
            }
        }
    }

    fn volume(&mut self, name: &str) -> &mut Volume {
        self.volumes.get_mut(name).unwrap_or_else(|| panic!("the script uses the unknown volume {name}"))
    }
}

/// One of a few names, so that scripts meet their own traces.
fn name(prefix: &str, random: &mut fastrand::Rng) -> String {
    format!("{prefix}{}", random.u8(0..4))
}
