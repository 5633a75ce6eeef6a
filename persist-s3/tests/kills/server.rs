//! kill -9 of the server while a commit is under way: the client finds out what became of it.

use super::{
    child::snapshot_of,
    scene::{self, Scene, vol},
    tree,
};
use libtest_mimic::{Failed, Trial};
use persist_core::{AttachmentId, CreateOptions, ErrorKind, Liveness, Result, VolumeStore};
use std::time::Duration;

/// Kills in the plain test command.
const KILLS: usize = 4;

/// Of the random kills that `PERSIST_KILLS` asks for, so many come to one of a server.
const RANDOM_FOR_ONE: usize = 20;

/// A commit takes about this long.
const LATER_MICROS: u64 = 150_000;

/// How often a sync is repeated that has failed: each repeat meets a server that lives.
const REPEATS: usize = 3;

pub fn trials() -> Vec<Trial> {
    let kills = super::kills(KILLS * RANDOM_FOR_ONE) / RANDOM_FOR_ONE;
    let name = format!("server::a_commit_outlives_{kills}_kills_of_the_server");
    vec![Trial::test(name, move || killed(kills as u64))]
}

fn killed(kills: u64) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(commit_meanwhile(kills))?;
    Ok(())
}

async fn commit_meanwhile(kills: u64) -> Result<()> {
    let (scene, volume) = (Scene::new(), vol("v"));
    let mut server = scene.serve(None);
    let writer = scene::open(server.url(), &scene.nodes(), "writer").await?;
    let looker = scene::open(server.url(), &scene.nodes(), "looker").await?;
    writer.create(&volume, CreateOptions::default()).await?;
    let attachment = writer.attach(&volume, scene::workload(Liveness::External)).await?;
    let mut random = fastrand::Rng::with_seed(1);
    for value in 1..=kills {
        tree::plant(attachment.path(), value).map_err(scene::as_error)?;
        let (store, id) = (writer.clone(), attachment.id.clone());
        let syncing = tokio::spawn(async move { sync(&store, &id).await });
        // The moment of the kill is what is random here; nothing waits for anything.
        tokio::time::sleep(Duration::from_micros(random.u64(0..LATER_MICROS))).await;
        server.kill();
        server = scene.serve(Some(&server));
        syncing.await.unwrap()?;
        writer.snapshot(&volume, &snapshot_of(value), Default::default()).await?;
        assert_eq!(tree::value_of(&looker, &volume, &snapshot_of(value)).await?, value);
    }
    writer.detach(&attachment.id, Default::default()).await?;
    let attachment = looker.attach(&volume, scene::workload(Liveness::External)).await?;
    assert_eq!(tree::value_at(attachment.path()), kills);
    looker.detach(&attachment.id, Default::default()).await?;
    let verified = looker.verify(Default::default()).await?;
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    Ok(())
}

/// Syncs, and repeats what failed because nobody answered: a repeat is the same.
async fn sync(store: &dyn VolumeStore, id: &AttachmentId) -> Result<()> {
    for _ in 0..REPEATS {
        match store.sync(id, Default::default()).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            done => return done.map(drop),
        }
    }
    store.sync(id, Default::default()).await.map(drop)
}
