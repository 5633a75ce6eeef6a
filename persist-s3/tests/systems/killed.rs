//! kill -9 of a gateway while a writer commits through it: another node looks through another gateway.

use super::{place::Place, program::free_port, service::Service, suite::Suite, tree};
use libtest_mimic::Trial;
use persist_core::{
    AttachOptions, Attachment, AttachmentId, CreateOptions, ErrorKind, Node, NodeId, Result, SnapshotName,
    SyncOptions, VolumeName, VolumeStore, holder::BootId, quiesce::SyncReport,
};
use persist_s3::S3Store;
use std::{path::Path, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

const KILLS: u64 = 6;

/// A kill comes at any moment of the first two commits or so that follow a start.
const LATER_MICROS: u64 = 500_000;

/// Only a hang is that slow.
const HANG: Duration = Duration::from_secs(120);

const PREFIX: &str = "killed";

pub fn trials(suite: &Suite) -> Vec<Trial> {
    let name = format!("killed::what_sync_acknowledged_is_there_after_each_of_{KILLS}_kills");
    vec![suite.trial(&name, |service| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(killed(service)).unwrap();
    })]
}

/// What the writer has done: trees, by their numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    written: u64,
    acknowledged: u64,
    /// Syncs that failed because nobody answered.
    failed: u64,
}

/// What the writer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Sync, and wait for as long as it takes.
    GoOn,
    /// The gateway stays away: drop the sync that waits for it, and try again with less patience.
    NobodyIsThere,
    /// This tree is the last one.
    Stop,
}

/// The writer, and how to talk with it.
struct Writer {
    done: watch::Receiver<Done>,
    tell: watch::Sender<Told>,
    writing: JoinHandle<Result<()>>,
}

async fn killed(service: &Service) -> Result<()> {
    let (place, cluster) = (Place::new(), service.cluster.as_ref().unwrap());
    let port = free_port();
    let mut gateway = cluster.gateway(port);
    let store = opened(service, &place, &gateway.url, "writer").await?;
    let looker = opened(service, &place, &service.endpoint, "looker").await?;
    let volume = VolumeName::new("v")?;
    store.create(&volume, CreateOptions::default()).await?;
    let attachment = store.attach(&volume, AttachOptions::default()).await?;
    let writer = Writer::start(&store, &attachment);
    let mut random = fastrand::Rng::with_seed(1);
    for kill in 1..=KILLS {
        // The moment of the kill is what is random here; nothing waits for anything.
        tokio::time::sleep(Duration::from_micros(random.u64(0..LATER_MICROS))).await;
        drop(gateway);
        let written = look(&writer, (&looker, &volume), kill).await?;
        if kill.is_multiple_of(2) {
            writer.fail().await;
        }
        gateway = tokio::task::block_in_place(|| cluster.gateway(port));
        writer.tell.send_replace(Told::GoOn);
        // The tree that was under way when the gateway died, and one that was begun after it.
        writer.heard(|done| done.acknowledged > written).await;
    }
    let last = writer.stop().await?;
    store.detach(&attachment.id, Default::default()).await?;
    let attachment = looker.attach(&volume, AttachOptions::default()).await?;
    assert_eq!(tree::value_at(attachment.path()), last);
    looker.detach(&attachment.id, Default::default()).await?;
    let verified = looker.verify(Default::default()).await?;
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    drop(gateway);
    Ok(())
}

/// What another node finds while the gateway is gone: nothing older than what was acknowledged before. Gives the
/// tree that was written last.
async fn look(writer: &Writer, (looker, volume): (&S3Store, &VolumeName), kill: u64) -> Result<u64> {
    let acknowledged = writer.done.borrow().acknowledged;
    let name = SnapshotName::new(format!("s{kill}"))?;
    looker.snapshot(volume, &name, Default::default()).await?;
    let found = tree::value_of(looker, volume, &name).await?;
    let written = writer.done.borrow().written;
    assert!((acknowledged..=written).contains(&found), "{found}, not {acknowledged} to {written}");
    Ok(written)
}

impl Writer {
    fn start(store: &S3Store, attachment: &Attachment) -> Self {
        let (tell, mut told) = watch::channel(Told::GoOn);
        let (say, done) = watch::channel(Done::default());
        let (store, id, root) = (store.clone(), attachment.id.clone(), attachment.path().to_owned());
        let writing = tokio::spawn(async move {
            while *told.borrow() != Told::Stop {
                let value = say.borrow().written + 1;
                plant(&root, value).await;
                say.send_modify(|done| done.written = value);
                while !synced(&store, &id, &mut told).await? {
                    say.send_modify(|done| done.failed += 1);
                }
                say.send_modify(|done| done.acknowledged = value);
            }
            Ok(())
        });
        Self { done, tell, writing }
    }

    /// Has a sync fail, while the gateway is gone.
    async fn fail(&self) {
        let before = self.done.borrow().failed;
        self.tell.send_replace(Told::NobodyIsThere);
        self.heard(|done| done.failed > before).await;
    }

    async fn heard(&self, what: impl FnMut(&Done) -> bool) {
        let mut done = self.done.clone();
        let heard = tokio::time::timeout(HANG, done.wait_for(what)).await;
        heard.expect("the writer goes on").expect("the writer lives");
    }

    async fn stop(self) -> Result<u64> {
        self.tell.send_replace(Told::Stop);
        self.writing.await.unwrap()?;
        let done = *self.done.borrow();
        assert_eq!(done.acknowledged, done.written);
        Ok(done.written)
    }
}

/// Syncs. `false` if it failed because nobody answered.
async fn synced(store: &S3Store, id: &AttachmentId, told: &mut watch::Receiver<Told>) -> Result<bool> {
    if *told.borrow() != Told::NobodyIsThere {
        let dropped = told.wait_for(|told| *told == Told::NobodyIsThere);
        tokio::select! {
            ended = store.sync(id, SyncOptions::default()) => return answered(ended),
            _ = dropped => {}
        }
    }
    let mut options = SyncOptions::default();
    options.call.deadline = Some(Duration::from_secs(1));
    answered(store.sync(id, options).await)
}

fn answered(ended: Result<SyncReport>) -> Result<bool> {
    match ended {
        Err(error) if error.kind() == ErrorKind::Unavailable => Ok(false),
        ended => ended.map(|_| true),
    }
}

async fn plant(root: &Path, value: u64) {
    let root = root.to_owned();
    tokio::task::spawn_blocking(move || tree::plant(&root, value)).await.unwrap().unwrap();
}

async fn opened(service: &Service, place: &Place, endpoint: &str, node: &str) -> Result<S3Store> {
    let mut config = place.config(service.config(PREFIX), node);
    config.endpoint = Some(endpoint.to_owned());
    let node = Node::new(NodeId::new(node)?, BootId::new("boot")?);
    S3Store::open(config, place.options(node, service.options())).await
}
