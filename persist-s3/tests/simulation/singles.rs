//! Each kind of fault at each request of what every volume goes through: no outcome is wrong, and a repeat succeeds.

use super::{
    crowd,
    faults::KINDS,
    node::{self, Life, Node, attach_over, workload},
    tree,
};
use fastrand::Rng;
use futures::TryStreamExt;
use persist_core::{
    Attachment, CreateOptions, ErrorKind, Result, SnapshotName, Takeover, VolumeName, VolumeStore,
    snapshot::SnapshotKind, volume::ListOptions,
};
use persist_s3_server::{Fault, ObjectKind, Rule, Seen, Server, Verb};
use tempfile::TempDir;

/// How often what a fault has failed is begun again: there is one fault, and it may end a session that the next
/// call finds ended.
const REPEATS: usize = 4;

/// Runs of each scenario, of some thousand that there are; `PERSIST_SINGLES` says another number, or `all`.
const RUNS: usize = 8;

/// Runs on one ground: each leaves a volume there.
const RUNS_IN_ONE: usize = 64;

/// What is disturbed.
#[derive(Debug, Clone, Copy)]
enum Scenario {
    Create,
    Sync,
    Restore,
    Salvage,
}

#[test]
fn no_single_fault_at_any_request_makes_a_wrong_outcome() {
    let all = [Scenario::Create, Scenario::Sync, Scenario::Restore, Scenario::Salvage];
    let wanted = match std::env::var("PERSIST_SINGLES").as_deref() {
        Ok("all") => usize::MAX,
        Ok(text) => text.parse().unwrap(),
        Err(_) => RUNS,
    };
    let mut ground = Ground::new();
    let requests = all.map(|scenario| ground.requests(scenario));
    let chosen = requests.iter().enumerate().flat_map(|(at, requests)| {
        let points = requests * KINDS.len();
        // Not a multiple of the kinds, so that each of them is met.
        let apart = (points / wanted / KINDS.len() * KINDS.len() + 1).min(points);
        (0..points).step_by(apart).map(move |point| (at, point))
    });
    let fired = crowd::shared(chosen, RUNS_IN_ONE, |work| disturbed(&all, work));
    for (at, scenario) in all.iter().enumerate() {
        let of = fired.iter().flatten().filter(|one| one.0 == at).map(|one| one.1);
        let (runs, fired) = of.fold((0, 0), |(runs, all), fired| (runs + 1, all + fired));
        println!("{scenario:?}: {} requests, {runs} runs, {fired} faults fired", requests[at]);
        assert!(fired > 0, "no fault of {scenario:?} ever fired");
    }
}

/// Disturbs what it is given; which scenario that was, and how often the fault fired.
fn disturbed(all: &[Scenario], work: &mut dyn Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    let mut ground = Ground::new();
    work.map(|(at, point)| (at, ground.disturbed(all[at], point / KINDS.len(), point % KINDS.len())))
        .collect()
}

/// Found by seed 146: a list that knows nothing of what was just uploaded has all of it uploaded again.
#[test]
fn a_salvage_that_was_uploaded_again_is_opened_by_the_name_that_it_is_listed_by() {
    let mut ground = Ground::new();
    let of_commits = |seen: &Seen| seen.verb == Verb::List && seen.kind == ObjectKind::Commit;
    ground.server.faults().add(Rule::once("list stale", Fault::StaleList(STALE), of_commits).times(2));
    let (name, expected) = ground.run(Scenario::Salvage);
    assert_ne!(ground.server.faults().fired().len(), 0, "no list was stale");
    ground.server.faults().clear();
    ground.judge(Scenario::Salvage, &name, expected);
}

/// A detach that fails once nothing is shown any more keeps the lease: the next user of the volume ends it.
#[test]
fn a_detach_that_failed_after_it_took_the_tree_away_leaves_no_lease_for_ever() {
    let ground = Ground::new();
    let commits = |seen: &Seen| seen.verb == Verb::Get && seen.kind == ObjectKind::Commit;
    let (mut failed, mut skip) = (0, 0);
    // Every read of a commit's object, until there is none left to fail.
    loop {
        let a = ground.nodes[0].life.as_ref().unwrap();
        let name = VolumeName::new(format!("v{skip}")).unwrap();
        create(a, &name);
        let attachment = a.run(attach_over(&a.store, &name)).unwrap();
        write(&attachment, 1);
        a.run(a.store.sync(&attachment.id, Default::default())).unwrap();
        // Twice: what has changed on its way is asked for once more.
        let flipped = Rule::once("bit flipped", Fault::FlippedBit(1), commits).skip(skip).times(2);
        ground.server.faults().add(flipped);
        let detached = a.run(a.store.detach(&attachment.id, Default::default()));
        let fired = ground.server.faults().fired().len();
        ground.server.faults().clear();
        failed += u32::from(detached.is_err());
        keep(a, &name, 2);
        let attachments: Vec<_> = a.run(a.store.attachments(Default::default()).try_collect()).unwrap();
        assert_eq!(attachments, [], "held for ever");
        let b = ground.nodes[1].life.as_ref().unwrap();
        let attachment = b.run(b.store.attach(&name, workload(Takeover::Never))).unwrap();
        assert_eq!(tree::value_at(attachment.path()), 2);
        b.run(b.store.detach(&attachment.id, Default::default())).unwrap();
        skip += 1;
        if fired == 0 {
            break;
        }
    }
    assert!(failed > 0, "no detach failed");
}

/// Changes of the bucket that such a list does not know: those of an upload.
const STALE: usize = 8;

/// A bucket and two nodes.
struct Ground {
    server: Server,
    nodes: [Node; 2],
    /// Where the nodes' files are, as long as they live.
    _directory: TempDir,
    runs: u32,
}

impl Ground {
    fn new() -> Self {
        // A workspace is refused in memory, which a temporary directory may be.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (server, mut nodes) = (node::server(), ["a", "b"].map(Node::new));
        nodes.iter_mut().for_each(|node| node.open(&server, directory.path()).unwrap());
        Self { server, nodes, _directory: directory, runs: 0 }
    }

    /// How many requests a scenario makes that nothing disturbs.
    fn requests(&mut self, scenario: Scenario) -> usize {
        self.server.log().reset();
        let (name, expected) = self.run(scenario);
        let requests = self.server.log().counts().values().map(|count| count.requests).sum::<u64>();
        self.judge(scenario, &name, expected);
        usize::try_from(requests).unwrap()
    }

    /// Runs `scenario` with one fault; returns how often it fired.
    fn disturbed(&mut self, scenario: Scenario, request: usize, kind: usize) -> usize {
        let (what, make) = KINDS[kind];
        let fault = make(&mut Rng::with_seed(request as u64));
        println!("{scenario:?}: {what} at request {request}");
        self.server.faults().add(Rule::once(what, fault, |_| true).skip(u32::try_from(request).unwrap()));
        let (name, expected) = self.run(scenario);
        let fired = self.server.faults().fired().len();
        self.server.faults().clear();
        self.judge(scenario, &name, expected);
        fired
    }

    /// Runs a scenario on a volume of its own; returns which tree the volume must have then.
    fn run(&mut self, scenario: Scenario) -> (VolumeName, u64) {
        self.runs += 1;
        let name = VolumeName::new(format!("v{}", self.runs)).unwrap();
        let [a, b] = self.nodes.each_ref().map(|node| node.life.as_ref().unwrap());
        create(a, &name);
        let expected = match scenario {
            Scenario::Create => 0,
            Scenario::Sync => keep(a, &name, 1),
            Scenario::Restore => {
                let kept = keep(a, &name, 1);
                snapshot(a, &name);
                keep(a, &name, 2);
                restore(a, &name);
                kept
            }
            Scenario::Salvage => salvage(a, b, &name),
        };
        (name, expected)
    }

    /// What the other node finds, which meets no fault.
    fn judge(&self, scenario: Scenario, name: &VolumeName, expected: u64) {
        let b = self.nodes[1].life.as_ref().unwrap();
        b.run(async {
            let attachment = attach_over(&b.store, name).await.unwrap();
            assert_eq!(tree::value_at(attachment.path()), expected, "{scenario:?}");
            b.store.detach(&attachment.id, Default::default()).await.unwrap();
            if let Scenario::Salvage = scenario {
                assert!(salvages(&b.store, name).await.contains(&2), "the work of the fenced writer is lost");
            }
        });
    }
}

fn create(on: &Life, name: &VolumeName) {
    again(on, "create", async || on.store.create(name, CreateOptions::default()).await.map(drop));
}

/// Attaches, writes, syncs and detaches.
fn keep(on: &Life, name: &VolumeName, value: u64) -> u64 {
    again(on, "keep", async || {
        let attachment = attach_over(&on.store, name).await?;
        write(&attachment, value);
        on.store.sync(&attachment.id, Default::default()).await?;
        on.store.detach(&attachment.id, Default::default()).await.map(drop)
    });
    value
}

fn snapshot(on: &Life, name: &VolumeName) {
    let snapshot = SnapshotName::new("s").unwrap();
    again(on, "snapshot", async || on.store.snapshot(name, &snapshot, Default::default()).await.map(drop));
}

fn restore(on: &Life, name: &VolumeName) {
    let snapshot = SnapshotName::new("s").unwrap();
    again(on, "restore", async || on.store.restore(name, &snapshot, Default::default()).await.map(drop));
}

/// The second node takes over what the first one still writes.
fn salvage(first: &Life, second: &Life, name: &VolumeName) -> u64 {
    let mut fenced = None;
    again(first, "hold", async || {
        let attachment = attach_over(&first.store, name).await?;
        write(&attachment, 1);
        first.store.sync(&attachment.id, Default::default()).await?;
        Ok(())
    });
    again(first, "write", async || {
        let attachment = first.store.attach(name, workload(Takeover::Never)).await?;
        write(&attachment, 2);
        fenced = Some(attachment);
        Ok(())
    });
    keep(second, name, 3);
    let fenced = fenced.unwrap();
    let synced = first.run(first.store.sync(&fenced.id, Default::default()));
    assert!(synced.is_err(), "a fenced writer has committed");
    again(first, "let go", async || first.store.detach(&fenced.id, Default::default()).await.map(drop));
    // What could not be saved by then is saved before the tree is replaced.
    again(first, "come back", async || {
        let attachment = attach_over(&first.store, name).await?;
        first.store.detach(&attachment.id, Default::default()).await.map(drop)
    });
    3
}

async fn salvages(store: &dyn VolumeStore, name: &VolumeName) -> Vec<u64> {
    let listed: Vec<_> = store.snapshots(name, ListOptions::default()).try_collect().await.unwrap();
    let mut values = Vec::new();
    for record in listed.iter().filter(|record| record.kind == SnapshotKind::Salvage) {
        values.push(tree::value_of(store, name, &record.name).await.unwrap());
    }
    values
}

fn write(attachment: &Attachment, value: u64) {
    tree::plant(attachment.path(), value).unwrap();
}

/// Does `call` until it succeeds.
fn again(on: &Life, what: &str, mut call: impl AsyncFnMut() -> Result<()>) {
    let mut failed = Vec::new();
    for _ in 0..REPEATS {
        match on.run(call()) {
            Ok(()) => return,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error}");
                failed.push(error.to_string());
            }
        }
    }
    panic!("{what} fails again and again: {failed:#?}");
}
