//! A writer killed at random, again and again; after each kill another node looks, and may write.

use super::{
    child::{self, Orders, Said},
    known::{Began, Known},
    scene::{self, Running, Scene, vol},
    tree,
};
use futures::TryStreamExt;
use libtest_mimic::{Failed, Trial};
use persist_core::{
    CreateOptions, Epoch, Liveness, Result, VolumeStore,
    care::{PruneMode, PruneOptions, VerifyOptions},
    snapshot::{SnapshotKind, SnapshotRecord},
    volume::ListOptions,
};
use persist_s3::S3Store;
use std::{collections::BTreeSet, time::Duration};

/// Kills in the plain test command; `PERSIST_KILLS` gives another number.
const KILLS: usize = 24;

/// Each has a server and a volume of its own.
const SCENES: usize = 4;

/// A child is killed after at most so many words, and so much later: a step takes about this long.
const WORDS_MAX: usize = 9;
const LATER_MICROS: u64 = 40_000;

/// Trees that a child is given: more than it will live for.
const STEPS: u64 = 40;

/// So often everything that nothing needs is pruned, and the rest is read.
const PRUNE_EVERY: usize = 20;

const VOLUME: &str = "v";

pub fn trials() -> Vec<Trial> {
    let kills = super::kills(KILLS) / SCENES;
    let each = (0..SCENES).map(|scene| {
        let name = format!("random::nothing_acknowledged_is_lost_over_{kills}_kills_{scene}");
        Trial::test(name, move || killed(kills, scene as u64))
    });
    each.collect()
}

fn killed(kills: usize, scene: u64) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seed = std::env::var("PERSIST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1 + scene);
    let liveness = if scene.is_multiple_of(2) { Liveness::External } else { Liveness::Process(None) };
    let mut volume = runtime.block_on(Volume::new(seed, liveness))?;
    for round in 0..kills {
        let said = volume.live_and_die();
        volume.told.push(format!("{round}: {said:?}"));
        runtime.block_on(volume.look(&said)).map_err(|e| format!("round {round}: {e}"))?;
        if round % PRUNE_EVERY == PRUNE_EVERY - 1 || round == kills - 1 {
            runtime.block_on(volume.check_sound())?;
        }
    }
    println!("{kills} kills, {} after a sync, {} salvages", volume.synced, volume.salvaged);
    Ok(())
}

/// A volume, the node whose writer is killed, and the node that looks.
struct Volume {
    server: Running,
    scene: Scene,
    liveness: Liveness,
    looker: S3Store,
    known: Known,
    /// The first number of the next life.
    next: u64,
    epoch: Epoch,
    random: fastrand::Rng,
    synced: usize,
    salvaged: usize,
    told: Vec<String>,
}

impl Volume {
    async fn new(seed: u64, liveness: Liveness) -> Result<Self> {
        let scene = Scene::new();
        let server = scene.serve(None);
        let looker = scene::open(server.url(), &scene.nodes(), "looker").await?;
        looker.create(&vol(VOLUME), CreateOptions::default()).await?;
        let (known, random) = (Known::new(), fastrand::Rng::with_seed(seed));
        let (epoch, told) = (Epoch::ZERO, Vec::new());
        let (synced, salvaged) = (0, 0);
        Ok(Self { server, scene, liveness, looker, known, next: 1, epoch, random, synced, salvaged, told })
    }

    /// Starts a writer and kills it; returns everything it said.
    fn live_and_die(&mut self) -> Vec<Said> {
        let orders = Orders {
            url: self.server.url().to_owned(),
            nodes: self.scene.nodes(),
            node: "writer",
            volume: VOLUME.to_owned(),
            liveness: self.liveness.clone(),
            first: self.next,
            steps: STEPS,
            detach_every: child::DETACH_EVERY,
        };
        let mut child = orders.start();
        let mut words = child::listen(&mut child);
        let mut said: Vec<_> = words.by_ref().take(self.random.usize(0..=WORDS_MAX)).collect();
        // The moment of the kill is what is random here; nothing waits for anything.
        std::thread::park_timeout(Duration::from_micros(self.random.u64(0..LATER_MICROS)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        said.extend(words);
        assert_eq!(status.code(), None, "the writer ended by itself: {said:?}");
        said
    }

    /// Attaches on the other node and looks, then writes or not.
    async fn look(&mut self, said: &[Said]) -> Result<()> {
        let began = self.known.lived(said, self.next);
        self.next += STEPS;
        self.synced += usize::from(said.iter().any(|word| matches!(word, Said::Synced(_))));
        let attachment = scene::attach_after_a_death(&self.looker, &vol(VOLUME)).await?;
        assert!(attachment.epoch > self.epoch, "an epoch was used twice");
        self.epoch = attachment.epoch;
        self.known.found(tree::value_at(attachment.path()));
        self.look_at_snapshots(began).await?;
        if self.random.bool() {
            tree::plant(attachment.path(), self.next).map_err(scene::as_error)?;
            self.looker.sync(&attachment.id, Default::default()).await?;
            self.known.moved(self.next);
            self.next += 1;
        }
        self.looker.detach(&attachment.id, Default::default()).await.map(drop)
    }

    async fn look_at_snapshots(&mut self, began: Began) -> Result<()> {
        let listed: Vec<SnapshotRecord> =
            self.looker.snapshots(&vol(VOLUME), ListOptions::default()).try_collect().await?;
        let (mut named, mut salvages) = (BTreeSet::new(), BTreeSet::new());
        for record in &listed {
            let value = tree::value_of(&self.looker, &vol(VOLUME), &record.name).await?;
            match record.kind {
                SnapshotKind::Salvage => drop(salvages.insert(value)),
                _ => {
                    assert_eq!(record.name, child::snapshot_of(value), "another tree than its name says");
                    named.insert(value);
                }
            }
        }
        assert!(named.is_superset(&self.known.snapshots), "{named:?} of {:?}", self.known.snapshots);
        if let Began::WithSalvageOf(trees) = began {
            let told = &self.told;
            assert!(!salvages.is_disjoint(&trees), "none of {trees:?} is a salvage: {salvages:?} {told:#?}");
            self.salvaged += 1;
        }
        // A later look need not read them again.
        for record in &listed {
            self.looker.delete_snapshot(&vol(VOLUME), &record.name, Default::default()).await?;
        }
        self.known.snapshots.clear();
        Ok(())
    }

    async fn check_sound(&self) -> Result<()> {
        let prune = PruneOptions::default().with_mode(PruneMode::Apply);
        let pruned = self.looker.prune(prune).await?;
        assert!(pruned.failures.is_empty(), "{:?}", pruned.failures);
        let verified = self.looker.verify(VerifyOptions::default()).await?;
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
        Ok(())
    }
}
