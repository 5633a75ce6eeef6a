//! Writers stopped for longer than their leases last: on waking they overwrite nothing, and their work is kept.

use super::{
    child::{self, NEVER, Orders, Said},
    scene::{self, Scene, vol},
    tree,
};
use futures::{TryStreamExt, future};
use libtest_mimic::{Failed, Trial};
use persist_core::{
    Attachment, CreateOptions, Liveness, Result, Takeover, VolumeStore, snapshot::SnapshotKind,
    volume::ListOptions,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{collections::BTreeSet, process::Child, sync::mpsc, time::Duration};

/// Writers that are stopped at once, each with a volume of its own: one wait for all.
const WRITERS: u64 = 4;

/// A writer is stopped after at most so many words, and so much later.
const WORDS_MAX: u64 = 7;
const LATER_MICROS: u64 = 30_000;

/// More than a writer comes to.
const STEPS: u64 = 10_000;

/// What the taker writes: more than any writer comes to.
const TAKERS: u64 = 1_000_000;

pub fn trials() -> Vec<Trial> {
    let name = "paused::a_writer_that_wakes_after_its_lease_overwrites_nothing_and_its_work_is_a_salvage";
    vec![Trial::test(name, paused)]
}

fn paused() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let scene = Scene::new();
    let server = scene.serve(None);
    let taker = runtime.block_on(scene::open(server.url(), &scene.nodes(), "taker"))?;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        runtime.block_on(taker.create(&vol(&format!("v{number}")), CreateOptions::default()))?;
        writers.push(Writer::stopped(&scene, server.url(), number));
    }
    let taken = writers.iter().map(|writer| writer.take(&taker));
    let taken = runtime.block_on(future::try_join_all(taken))?;
    let third = runtime.block_on(scene::open(server.url(), &scene.nodes(), "third"))?;
    for (writer, (attachment, found)) in writers.into_iter().zip(taken) {
        let volume = writer.volume.clone();
        let said = writer.wake();
        runtime.block_on(judge(&taker, &third, &volume, (attachment, found), &said))?;
    }
    Ok(())
}

struct Writer {
    volume: String,
    process: Child,
    words: mpsc::Receiver<Said>,
    said: Vec<Said>,
}

impl Writer {
    /// Starts a writer, and stops it in the middle of its work.
    fn stopped(scene: &Scene, url: &str, number: u64) -> Self {
        let orders = Orders {
            url: url.to_owned(),
            nodes: scene.nodes(),
            node: ["w0", "w1", "w2", "w3"][usize::try_from(number).unwrap()],
            volume: format!("v{number}"),
            liveness: Liveness::Process(None),
            first: 1,
            steps: STEPS,
            detach_every: NEVER,
        };
        let mut random = fastrand::Rng::with_seed(number + 1);
        let mut process = orders.start();
        let listened = child::listen(&mut process);
        let (tell, words) = mpsc::channel();
        std::thread::spawn(move || listened.for_each(|word| tell.send(word).unwrap()));
        let heard = random.u64(1..=WORDS_MAX);
        let said = (0..heard).map(|_| words.recv().unwrap()).collect();
        // The moment of the stop is what is random here; nothing waits for anything.
        std::thread::park_timeout(Duration::from_micros(random.u64(0..LATER_MICROS)));
        signal(&process, Signal::STOP);
        Self { volume: orders.volume, process, words, said }
    }

    /// Takes its volume once the lease has run out; returns what was found there.
    async fn take(&self, taker: &dyn VolumeStore) -> Result<(Attachment, u64)> {
        let options = scene::workload(Liveness::External)
            .with_takeover(Takeover::WhenExpired)
            .with_wait(Duration::from_secs(120));
        let attachment = taker.attach(&vol(&self.volume), options).await?;
        let found = tree::value_at(attachment.path());
        tree::plant(attachment.path(), TAKERS).map_err(scene::as_error)?;
        taker.sync(&attachment.id, Default::default()).await?;
        Ok((attachment, found))
    }

    /// Lets it go on to its end; returns everything it said.
    fn wake(mut self) -> Vec<Said> {
        signal(&self.process, Signal::CONT);
        self.said.extend(self.words.iter());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {:?}", self.said);
        self.said
    }
}

async fn judge(
    taker: &dyn VolumeStore,
    third: &dyn VolumeStore,
    volume: &str,
    (attachment, found): (Attachment, u64),
    said: &[Said],
) -> Result<()> {
    let volume = vol(volume);
    let Some(Said::Fenced(last)) = said.last().copied() else { panic!("it was not fenced: {said:?}") };
    let synced =
        said.iter().filter_map(|word| if let Said::Synced(value) = word { Some(*value) } else { None });
    let synced = synced.max().unwrap_or(0);
    assert!(found == synced || found == synced + 1, "{found} was found: {said:?}");
    let listed: Vec<_> = third.snapshots(&volume, ListOptions::default()).try_collect().await?;
    let mut salvages = BTreeSet::new();
    for record in listed.iter().filter(|record| record.kind == SnapshotKind::Salvage) {
        salvages.insert(tree::value_of(third, &volume, &record.name).await?);
    }
    assert!(found == last || salvages.contains(&last), "{last} is lost: {salvages:?}: {said:?}");
    taker.sync(&attachment.id, Default::default()).await?;
    taker.detach(&attachment.id, Default::default()).await?;
    let attachment = third.attach(&volume, scene::workload(Liveness::External)).await?;
    assert_eq!(tree::value_at(attachment.path()), TAKERS, "what the taker wrote");
    third.detach(&attachment.id, Default::default()).await.map(drop)
}

fn signal(process: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}
