//! One seed: verbs of three nodes on one volume, faults among their requests, and a look after each.

use super::{
    faults,
    lived::{Lived, NODES, Verb},
    node::{self, BUCKET, Node, PREFIX},
    tally::Tally,
    tree,
};
use fastrand::Rng;
use futures::TryStreamExt;
use persist_core::{
    CreateOptions, Error, ErrorKind, Result, SnapshotName, VolumeName, VolumeStore,
    care::{PruneMode, PruneOptions, VerifyOptions},
    snapshot::SnapshotKind,
    volume::{DeleteOptions, ListOptions, SnapshotsAlong, Trash},
};
use persist_s3::head::record::Head;
use persist_s3_server::Server;
use std::collections::BTreeSet;
use tempfile::TempDir;

/// Steps of a life.
const STEPS: usize = 14;

/// Of a thousand verbs, so many meet faults, and so many begin a race.
const FAULTY: u32 = 600;
const RACES: u32 = 150;

/// A bucket and its nodes, in which seeds live one after the other, each with a volume of its own.
pub struct World {
    server: Server,
    directory: TempDir,
    nodes: Vec<Node>,
    /// Looks, and meets no fault.
    looker: Node,
    pub tally: Tally,
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
        Self { server, directory, nodes, looker, tally: Tally::default(), told: Vec::new() }
    }

    /// Lives `seed` to its end.
    pub fn live(&mut self, seed: u64) {
        self.told.clear();
        let name = VolumeName::new(format!("v{seed}")).unwrap();
        let looker = self.looker.life.as_ref().unwrap();
        let made = looker.run(looker.store.create(&name, CreateOptions::default())).unwrap();
        let mut lived = Lived::new(made.volume.id, name, seed);
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
        fired.iter().for_each(|fired| *self.tally.fired.entry(fired.rule).or_default() += 1);
        let clean = fired.is_empty();
        if let (Verb::Attach | Verb::TakeOver, Ok(())) = (verb, &done) {
            self.attached(lived, at);
        }
        self.told.push(format!("    {done:?}, {} faults fired, {:?}", fired.len(), lived.truth));
        let counted = self.tally.verbs.entry(format!("{verb:?}")).or_default();
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
            self.tally.salvages += 1;
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
        let keys = self.server.keys(BUCKET, &format!("{PREFIX}/v/{}/", lived.id)).into_iter();
        let objects = keys.filter_map(|key| Some((key.clone(), self.server.object(BUCKET, &key).unwrap()?)));
        let unread = lived.unread(objects.collect());
        let looker = self.looker.life.as_ref().unwrap();
        looker.run(async {
            let listed: Vec<_> =
                looker.store.snapshots(&lived.name, ListOptions::default()).try_collect().await.unwrap();
            let named = listed.iter().filter(|record| record.kind == SnapshotKind::Named);
            let named: BTreeSet<_> = named.map(|record| record.name.to_string()).collect();
            for name in lived.truth.snapshots.keys() {
                assert!(named.contains(name), "snapshot {name} is gone");
            }
            for (name, value) in &unread {
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

/// Whatever fails, the error says what happened and never that persist is wrong; without a fault there are few.
fn check_error(error: &Error, clean: bool) {
    use ErrorKind::{Conflict, Fenced, InUse, NotFound};
    assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    if clean {
        assert!(matches!(error.kind(), Conflict | Fenced | InUse | NotFound), "without a fault: {error}");
    }
}
