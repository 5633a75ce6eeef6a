//! What the local store costs beyond what the kernel asks for: each figure beside its peer, in one run.
//!
//! `cargo bench -p persist-local --bench store -- DIRECTORY [PART...]`, parts `attach`, `snapshot`, `scale`,
//! `io`. The directory decides the filesystem; without one, a temporary directory.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod attach;
mod io;
mod scale;
mod snapshot;

use persist_core::{
    CreateOptions, Node, NodeId, OpenMode, OpenOptions, Result, StoreUrl, VolumeName, VolumeStore,
    holder::BootId,
};
use persist_local::LocalStore;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// The parts, in the order in which they run.
const PARTS: [&str; 4] = ["attach", "snapshot", "scale", "io"];

fn main() -> Result<()> {
    // Cargo's own `--bench` is not ours.
    let words: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (parts, places): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| PARTS.contains(&word.as_str()));
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let place = places.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let scratch = tempfile::Builder::new().prefix("persist-bench-").tempdir_in(place).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let local = open(&scratch.path().join("store")).await?;
        let store: Arc<dyn VolumeStore> = Arc::new(local.clone());
        println!("{}: {}", store.info().characteristics.filesystem, store.info().capabilities);
        if asked("attach") {
            attach::measure(&local, scratch.path()).await?;
        }
        if asked("snapshot") {
            snapshot::measure(&local, scratch.path()).await?;
        }
        if asked("scale") {
            scale::measure(&store).await?;
        }
        if asked("io") {
            io::measure(&store, scratch.path()).await?;
        }
        store.close().await
    })
}

async fn open(root: &Path) -> Result<LocalStore> {
    let node = Node::new(NodeId::new("bench")?, BootId::new("bench")?);
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node);
    persist_local::open_local(&StoreUrl::local(root)?, options).await
}

/// A new empty volume.
async fn volume(store: &impl VolumeStore, name: &str) -> Result<VolumeName> {
    let name = VolumeName::new(name)?;
    store.create(&name, CreateOptions::default()).await?;
    Ok(name)
}

/// The median of a figure.
fn median(mut figures: Vec<Duration>) -> Duration {
    figures.sort();
    figures[figures.len() / 2]
}

/// How long the fsync of one small new file takes here.
fn fsync(directory: &Path) -> Duration {
    let path = directory.join("probe");
    let figures = (0..50).map(|n: u32| {
        let file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut &file, &n.to_le_bytes()).unwrap();
        let start = Instant::now();
        file.sync_all().unwrap();
        start.elapsed()
    });
    median(figures.collect())
}
