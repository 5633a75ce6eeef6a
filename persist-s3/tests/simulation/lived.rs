//! One volume in a life: what nodes do to it, and what is known of it then.

use super::{
    node::{Life, attach_over, workload},
    tree,
    truth::Truth,
};
use bytes::Bytes;
use fastrand::Rng;
use persist_core::{Result, SnapshotName, Takeover, VolumeId, VolumeName, VolumeStore};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const NODES: [&str; 3] = ["a", "b", "c"];

/// What a node may do.
#[derive(Debug, Clone, Copy)]
pub enum Verb {
    Attach,
    TakeOver,
    Write,
    Sync,
    Snapshot,
    DeleteSnapshot,
    Restore,
    Detach,
    Prune,
    Crash,
}

/// How often each verb is chosen.
const VERBS: [(Verb, u32); 10] = [
    (Verb::Attach, 4),
    (Verb::TakeOver, 4),
    (Verb::Write, 6),
    (Verb::Sync, 6),
    (Verb::Snapshot, 3),
    (Verb::DeleteSnapshot, 1),
    (Verb::Restore, 2),
    (Verb::Detach, 3),
    (Verb::Prune, 2),
    (Verb::Crash, 2),
];

/// A volume and what is known of it.
pub struct Lived {
    pub id: VolumeId,
    pub name: VolumeName,
    pub truth: Truth,
    pub random: Rng,
    pub epoch: u64,
    pub seq: u64,
    /// What comes next, whatever chance would have.
    pub planned: VecDeque<(usize, Verb)>,
    /// The volume's objects when its snapshots were last read, and which were.
    pub objects: BTreeMap<String, Bytes>,
    pub read: BTreeSet<String>,
}

impl Lived {
    pub fn new(id: VolumeId, name: VolumeName, seed: u64) -> Self {
        let (random, truth) = (Rng::with_seed(seed), Truth::new(NODES.len()));
        let (planned, objects, read) = (VecDeque::new(), BTreeMap::new(), BTreeSet::new());
        Self { id, name, truth, random, epoch: 0, seq: 0, planned, objects, read }
    }

    /// Which snapshots have to be read, where these are the volume's objects: all, if one of those is gone or another
    /// that were there when they were read.
    pub fn unread(&mut self, mut objects: BTreeMap<String, Bytes>) -> Vec<(String, u64)> {
        // It changes with every step, and what it says is looked at by itself.
        objects.retain(|key, _| !key.ends_with("/head"));
        if self.objects.iter().any(|(key, body)| objects.get(key) != Some(body)) {
            self.read.clear();
        }
        self.objects = objects;
        let known = self.truth.snapshots.iter().filter(|(name, _)| !self.read.contains(*name));
        let wanted: Vec<_> = known.map(|(name, value)| (name.clone(), *value)).collect();
        self.read = self.truth.snapshots.keys().cloned().collect();
        wanted
    }

    pub fn verb(&mut self) -> Verb {
        let mut at = self.random.u32(..VERBS.iter().map(|(_, weight)| weight).sum::<u32>());
        for (verb, weight) in VERBS {
            if at < weight {
                return verb;
            }
            at -= weight;
        }
        Verb::Crash
    }

    /// One node writes, another takes over and commits, and the first one comes back: chance alone seldom does it.
    pub fn plan_a_race(&mut self) {
        let first = self.random.usize(..NODES.len());
        let second = (first + self.random.usize(1..NODES.len())) % NODES.len();
        let leaves = if self.random.bool() { Verb::Crash } else { Verb::Detach };
        let late = if self.random.bool() { Verb::Sync } else { Verb::Snapshot };
        self.planned.extend([(first, Verb::TakeOver), (first, Verb::Write)]);
        self.planned.extend([Verb::TakeOver, Verb::Write, Verb::Sync].map(|verb| (second, verb)));
        self.planned.extend([late, leaves, Verb::TakeOver].map(|verb| (first, verb)));
    }

    pub fn attach(&self, life: &mut Life) -> Result<()> {
        let attached = life.run(life.store.attach(&self.name, workload(Takeover::Never)));
        life.attachment = Some(attached?);
        Ok(())
    }

    pub fn take_over(&self, life: &mut Life) -> Result<()> {
        life.attachment = Some(life.run(attach_over(&life.store, &self.name))?);
        Ok(())
    }

    pub fn write(&mut self, at: usize, life: &Life) -> Result<()> {
        let Some(attachment) = &life.attachment else { return Ok(()) };
        let value = self.truth.next;
        self.truth.next += 1;
        tree::plant(attachment.path(), value).unwrap();
        (self.truth.nodes[at].tree, self.truth.nodes[at].work) = (value, true);
        Ok(())
    }

    pub fn sync(&mut self, at: usize, life: &Life) -> Result<()> {
        let Some(attachment) = &life.attachment else { return Ok(()) };
        let synced = life.run(life.store.sync(&attachment.id, Default::default()));
        self.committed(at, synced.map(drop))
    }

    /// A call has committed, or not, what `at` has written.
    pub fn committed(&mut self, at: usize, done: Result<()>) -> Result<()> {
        let (tree, newest) = (self.truth.nodes[at].tree, self.truth.may_commit(at, self.epoch));
        match &done {
            Ok(()) => {
                assert!(newest, "a fenced writer has committed {tree}");
                self.truth.acknowledged(tree);
                self.truth.nodes[at].work = false;
            }
            Err(_) if newest => self.truth.perhaps(tree),
            Err(_) => {}
        }
        done
    }

    pub fn snapshot(&mut self, at: usize, life: &Life) -> Result<()> {
        let text = format!("s{}", self.random.u32(..4));
        if self.truth.snapshots.contains_key(&text) || self.truth.unsure.contains(&text) {
            return Ok(());
        }
        let name = SnapshotName::new(&text).unwrap();
        let taken = life.run(life.store.snapshot(&self.name, &name, Default::default()));
        let mine = life.attachment.is_some();
        let done = if mine { self.committed(at, taken.map(drop)) } else { taken.map(drop) };
        if done.is_err() {
            self.truth.unsure.insert(text);
            return done;
        }
        let value = if mine {
            self.truth.nodes[at].tree
        } else {
            let value = life.run(tree::value_of(&life.store, &self.name, &name));
            let Ok(value) = value else {
                self.truth.unsure.insert(text);
                return Ok(());
            };
            assert!(self.truth.head.contains(&value), "a snapshot of {value} was taken");
            value
        };
        self.truth.snapshots.insert(text, value);
        Ok(())
    }

    pub fn delete_snapshot(&mut self, life: &Life) -> Result<()> {
        let Some(text) = self.any_snapshot() else { return Ok(()) };
        let name = SnapshotName::new(&text).unwrap();
        self.truth.snapshots.remove(&text);
        let deleted = life.run(life.store.delete_snapshot(&self.name, &name, Default::default()));
        if deleted.is_err() {
            self.truth.unsure.insert(text);
        }
        deleted.map(drop)
    }

    pub fn restore(&mut self, life: &Life) -> Result<()> {
        let Some(text) = self.any_snapshot() else { return Ok(()) };
        let (name, value) = (SnapshotName::new(&text).unwrap(), self.truth.snapshots[&text]);
        let restored = life.run(life.store.restore(&self.name, &name, Default::default()));
        match &restored {
            Ok(_) => self.truth.acknowledged(value),
            Err(_) => self.truth.perhaps(value),
        }
        restored.map(drop)
    }

    pub fn any_snapshot(&mut self) -> Option<String> {
        let count = self.truth.snapshots.len();
        let at = self.random.usize(..count.max(1));
        self.truth.snapshots.keys().nth(at).cloned()
    }

    pub fn detach(&mut self, at: usize, life: &mut Life) -> Result<()> {
        let Some(attachment) = life.attachment.clone() else { return Ok(()) };
        let detached = life.run(life.store.detach(&attachment.id, Default::default()));
        let newest = self.truth.may_commit(at, self.epoch);
        if detached.is_ok() {
            life.attachment = None;
        }
        match detached {
            // It has lost the volume before: what it wrote is a salvage, or stays until it attaches again.
            Ok(_) if !newest => Ok(()),
            done => self.committed(at, done.map(drop)),
        }
    }
}
