//! One seed: verbs of three nodes on one volume, faults among their requests, and a look after each.

use super::{
    faults::{self, KINDS},
    node::{self, BUCKET, Life, Node, PREFIX, attach_over, workload},
    tree,
    truth::Truth,
};
use fastrand::Rng;
use futures::TryStreamExt;
use persist_core::{
    CreateOptions, Error, ErrorKind, Result, SnapshotName, Takeover, VolumeId, VolumeName, VolumeStore,
    care::{PruneMode, PruneOptions, VerifyOptions},
    snapshot::SnapshotKind,
    volume::{DeleteOptions, ListOptions, SnapshotsAlong, Trash},
};
use persist_s3::head::record::Head;
use persist_s3_server::Server;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tempfile::TempDir;

/// Steps of a life.
const STEPS: usize = 14;

/// Of a thousand verbs, so many meet faults, and so many begin a race.
const FAULTY: u32 = 600;
const RACES: u32 = 150;

const NODES: [&str; 3] = ["a", "b", "c"];

/// What a node may do.
#[derive(Debug, Clone, Copy)]
enum Verb {
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

/// A bucket and its nodes: all seeds live in one, each with a volume of its own.
pub struct World {
    server: Server,
    directory: TempDir,
    nodes: Vec<Node>,
    /// Looks, and meets no fault.
    looker: Node,
    fired: BTreeMap<&'static str, u32>,
    verbs: BTreeMap<String, (u32, u32)>,
    salvages: u32,
    pub told: Vec<String>,
}

impl World {
    pub fn new() -> Self {
        let server = node::server();
        // A workspace is refused in memory, which a temporary directory may be.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut looker = Node::new("looker");
        looker.open(&server, directory.path()).unwrap();
        let nodes = NODES.map(Node::new).into();
        let (fired, verbs, told) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { server, directory, nodes, looker, fired, verbs, salvages: 0, told }
    }

    /// What never happened, so that nothing was proven by it.
    pub fn never_happened(&self) -> Vec<&'static str> {
        let faults = KINDS.iter().map(|(name, _)| *name).filter(|name| !self.fired.contains_key(name));
        faults.chain((self.salvages == 0).then_some("a salvage")).collect()
    }

    pub fn summary(&self) -> String {
        format!("{} salvages; done and failed {:?}; faults {:?}", self.salvages, self.verbs, self.fired)
    }

    /// Lives `seed` to its end.
    pub fn live(&mut self, seed: u64) {
        self.told.clear();
        let name = VolumeName::new(format!("v{seed}")).unwrap();
        let looker = self.looker.life.as_ref().unwrap();
        let made = looker.run(looker.store.create(&name, CreateOptions::default())).unwrap();
        let mut lived = Lived {
            id: made.volume.id,
            name,
            truth: Truth::new(NODES.len()),
            random: Rng::with_seed(seed),
            epoch: 0,
            seq: 0,
            planned: VecDeque::new(),
        };
        for _ in 0..STEPS {
            if lived.planned.is_empty() && lived.random.u32(0..1000) < RACES {
                lived.plan_a_race();
            }
            self.step(&mut lived);
        }
        self.end(&mut lived);
    }

    fn step(&mut self, lived: &mut Lived) {
        let (at, verb) = lived.planned.pop_front().unwrap_or_else(|| {
            let verb = lived.verb();
            (self.node_for(verb, &mut lived.random), verb)
        });
        let faulty = lived.random.u32(..1000) < FAULTY;
        let rules = if faulty { faults::some(&mut lived.random) } else { Vec::new() };
        self.told.push(format!("{} {verb:?} {rules:?}", NODES[at]));
        rules.into_iter().for_each(|rule| self.server.faults().add(rule));
        let done = self.perform(lived, at, verb);
        let fired = self.server.faults().fired();
        self.server.faults().clear();
        fired.iter().for_each(|fired| *self.fired.entry(fired.rule).or_default() += 1);
        let clean = fired.is_empty();
        if let (Verb::Attach | Verb::TakeOver, Ok(())) = (verb, &done) {
            self.attached(lived, at);
        }
        self.told.push(format!("    {done:?}, {} faults fired, {:?}", fired.len(), lived.truth));
        let counted = self.verbs.entry(format!("{verb:?}")).or_default();
        match done {
            Ok(()) => counted.0 += 1,
            Err(error) => {
                counted.1 += 1;
                check_error(&error, clean);
            }
        }
        self.look(lived);
    }

    /// A node that `verb` is something for, if there is one.
    fn node_for(&self, verb: Verb, random: &mut Rng) -> usize {
        let attached = |node: &Node| node.life.as_ref().is_some_and(|life| life.attachment.is_some());
        let fit: Vec<usize> = match verb {
            Verb::Write | Verb::Sync | Verb::Detach | Verb::Crash => {
                (0..NODES.len()).filter(|at| attached(&self.nodes[*at])).collect()
            }
            _ => Vec::new(),
        };
        random.choice(&fit).copied().unwrap_or_else(|| random.usize(..NODES.len()))
    }

    fn perform(&mut self, lived: &mut Lived, at: usize, verb: Verb) -> Result<()> {
        if let Verb::Crash = verb {
            self.nodes[at].crash();
            return Ok(());
        }
        self.nodes[at].open(&self.server, self.directory.path())?;
        let life = self.nodes[at].life.as_mut().unwrap();
        match verb {
            Verb::Attach => lived.attach(life),
            Verb::TakeOver => lived.take_over(life),
            Verb::Write => lived.write(at, life),
            Verb::Sync => lived.sync(at, life),
            Verb::Snapshot => lived.snapshot(at, life),
            Verb::DeleteSnapshot => lived.delete_snapshot(life),
            Verb::Restore => lived.restore(life),
            Verb::Detach => lived.detach(at, life),
            Verb::Prune => {
                let options = PruneOptions::default().with_mode(PruneMode::Apply);
                life.run(life.store.prune(options)).map(drop)
            }
            Verb::Crash => Ok(()),
        }
    }

    /// What must be true of a node that has just attached: it shows the head's tree or its own work, and work
    /// that the head has left behind is a salvage.
    fn attached(&mut self, lived: &mut Lived, at: usize) {
        let life = self.nodes[at].life.as_ref().unwrap();
        let attachment = life.attachment.as_ref().unwrap();
        let (value, epoch) = (tree::value_at(attachment.path()), attachment.epoch.get());
        let before = lived.truth.nodes[at].clone();
        if epoch == before.epoch {
            // The attachment that it had; who was fenced in between learns it at the next sync.
            assert_eq!(value, before.tree, "attached as before, and shows another tree");
            return;
        }
        assert!(epoch > lived.truth.epoch, "epoch {epoch} was granted again");
        let own = before.work && value == before.tree;
        assert!(own || lived.truth.head.contains(&value), "{value} is shown");
        if before.work && value != before.tree {
            let salvages = self.salvages(lived);
            assert!(salvages.contains(&before.tree), "{} is lost: {salvages:?}", before.tree);
            self.salvages += 1;
        }
        let truth = &mut lived.truth;
        if !own {
            truth.head = [value].into();
        }
        (truth.epoch, truth.holder) = (epoch, Some(at));
        let copy = &mut truth.nodes[at];
        (copy.tree, copy.work, copy.epoch) = (value, own, epoch);
    }

    fn salvages(&self, lived: &Lived) -> BTreeSet<u64> {
        let looker = self.looker.life.as_ref().unwrap();
        looker.run(async {
            let listed: Vec<_> =
                looker.store.snapshots(&lived.name, ListOptions::default()).try_collect().await.unwrap();
            let mut values = BTreeSet::new();
            for record in listed.iter().filter(|record| record.kind == SnapshotKind::Salvage) {
                values.insert(tree::value_of(&looker.store, &lived.name, &record.name).await.unwrap());
            }
            values
        })
    }

    /// The invariants of every moment.
    fn look(&self, lived: &mut Lived) {
        let key = format!("{PREFIX}/v/{}/head", lived.id);
        let bytes = self.server.object(BUCKET, &key).unwrap().expect("the head is gone");
        let head = Head::decode(&bytes, &lived.id).unwrap();
        let (epoch, seq) = (head.epoch.get(), head.seq);
        assert!(epoch >= lived.epoch && seq >= lived.seq, "the head went back: {epoch} {seq}");
        (lived.epoch, lived.seq) = (epoch, seq);
        let looker = self.looker.life.as_ref().unwrap();
        looker.run(async {
            let listed: Vec<_> =
                looker.store.snapshots(&lived.name, ListOptions::default()).try_collect().await.unwrap();
            let named = listed.iter().filter(|record| record.kind == SnapshotKind::Named);
            let named: BTreeSet<_> = named.map(|record| record.name.to_string()).collect();
            for (name, value) in &lived.truth.snapshots {
                assert!(named.contains(name), "snapshot {name} is gone");
                let name = SnapshotName::new(name).unwrap();
                let seen = tree::value_of(&looker.store, &lived.name, &name).await.unwrap();
                assert_eq!(seen, *value, "snapshot {name} has changed");
            }
        });
    }

    /// Every node that has work of its own comes back: its work is shown there, or is a salvage.
    fn come_back(&mut self, lived: &mut Lived) {
        for (at, node) in NODES.iter().enumerate() {
            if !lived.truth.nodes[at].work {
                continue;
            }
            self.told.push(format!("{node} comes back, {:?}", lived.truth));
            self.perform(lived, at, Verb::TakeOver).unwrap();
            self.attached(lived, at);
            self.nodes[at].crash();
            self.look(lived);
        }
    }

    /// Every node dies and those with work come back; then another one finds everything, and what nothing needs is
    /// pruned.
    fn end(&mut self, lived: &mut Lived) {
        self.nodes.iter_mut().for_each(Node::crash);
        self.looker.life.as_ref().unwrap().run(self.server.settle());
        self.come_back(lived);
        let looker = self.looker.life.as_mut().unwrap();
        lived.take_over(looker).unwrap();
        let attachment = looker.attachment.take().unwrap();
        let value = tree::value_at(attachment.path());
        assert!(lived.truth.head.contains(&value), "{value} is found at the end: {:?}", lived.truth);
        self.look(lived);
        let looker = self.looker.life.as_ref().unwrap();
        looker.run(async {
            let store = &looker.store;
            store.detach(&attachment.id, Default::default()).await.unwrap();
            let pruned = store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
            assert!(pruned.failures.is_empty(), "{:?}", pruned.failures);
            let verified =
                store.verify(VerifyOptions::default().with_volume(lived.name.clone())).await.unwrap();
            assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        });
        self.look(lived);
        let options =
            DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete).with_trash(Trash::Bypass);
        let looker = self.looker.life.as_ref().unwrap();
        looker.run(looker.store.delete(&lived.name, options)).unwrap();
    }
}

/// A volume and what is known of it.
struct Lived {
    id: VolumeId,
    name: VolumeName,
    truth: Truth,
    random: Rng,
    epoch: u64,
    seq: u64,
    /// What comes next, whatever chance would have.
    planned: VecDeque<(usize, Verb)>,
}

impl Lived {
    fn verb(&mut self) -> Verb {
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
    fn plan_a_race(&mut self) {
        let first = self.random.usize(..NODES.len());
        let second = (first + self.random.usize(1..NODES.len())) % NODES.len();
        let leaves = if self.random.bool() { Verb::Crash } else { Verb::Detach };
        let late = if self.random.bool() { Verb::Sync } else { Verb::Snapshot };
        self.planned.extend([(first, Verb::TakeOver), (first, Verb::Write)]);
        self.planned.extend([Verb::TakeOver, Verb::Write, Verb::Sync].map(|verb| (second, verb)));
        self.planned.extend([late, leaves, Verb::TakeOver].map(|verb| (first, verb)));
    }

    fn attach(&self, life: &mut Life) -> Result<()> {
        let attached = life.run(life.store.attach(&self.name, workload(Takeover::Never)));
        life.attachment = Some(attached?);
        Ok(())
    }

    fn take_over(&self, life: &mut Life) -> Result<()> {
        life.attachment = Some(life.run(attach_over(&life.store, &self.name))?);
        Ok(())
    }

    fn write(&mut self, at: usize, life: &Life) -> Result<()> {
        let Some(attachment) = &life.attachment else { return Ok(()) };
        let value = self.truth.next;
        self.truth.next += 1;
        tree::plant(attachment.path(), value).unwrap();
        (self.truth.nodes[at].tree, self.truth.nodes[at].work) = (value, true);
        Ok(())
    }

    fn sync(&mut self, at: usize, life: &Life) -> Result<()> {
        let Some(attachment) = &life.attachment else { return Ok(()) };
        let synced = life.run(life.store.sync(&attachment.id, Default::default()));
        self.committed(at, synced.map(drop))
    }

    /// A call has committed, or not, what `at` has written.
    fn committed(&mut self, at: usize, done: Result<()>) -> Result<()> {
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

    fn snapshot(&mut self, at: usize, life: &Life) -> Result<()> {
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

    fn delete_snapshot(&mut self, life: &Life) -> Result<()> {
        let Some(text) = self.any_snapshot() else { return Ok(()) };
        let name = SnapshotName::new(&text).unwrap();
        self.truth.snapshots.remove(&text);
        let deleted = life.run(life.store.delete_snapshot(&self.name, &name, Default::default()));
        if deleted.is_err() {
            self.truth.unsure.insert(text);
        }
        deleted.map(drop)
    }

    fn restore(&mut self, life: &Life) -> Result<()> {
        let Some(text) = self.any_snapshot() else { return Ok(()) };
        let (name, value) = (SnapshotName::new(&text).unwrap(), self.truth.snapshots[&text]);
        let restored = life.run(life.store.restore(&self.name, &name, Default::default()));
        match &restored {
            Ok(_) => self.truth.acknowledged(value),
            Err(_) => self.truth.perhaps(value),
        }
        restored.map(drop)
    }

    fn any_snapshot(&mut self) -> Option<String> {
        let count = self.truth.snapshots.len();
        let at = self.random.usize(..count.max(1));
        self.truth.snapshots.keys().nth(at).cloned()
    }

    fn detach(&mut self, at: usize, life: &mut Life) -> Result<()> {
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

/// Whatever fails, the error says what happened and never that persist is wrong; without a fault there are few.
fn check_error(error: &Error, clean: bool) {
    use ErrorKind::{Conflict, Fenced, InUse, NotFound};
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    if clean {
        assert!(matches!(error.kind(), Conflict | Fenced | InUse | NotFound), "without a fault: {error}");
    }
}
