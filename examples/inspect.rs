//! What is in a store, and who holds what: any URL, opened read-only, nothing changed.
//!
//! `cargo run --example inspect -- local:///srv/volumes`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use futures::{StreamExt, stream::BoxStream};
use persist::attachment::AttachmentFilter;
use persist::care::PruneOptions;
use persist::snapshot::SnapshotRecord;
use persist::volume::{ListOptions, ListStates, Protection, VolumeState};
use persist::{AttachmentRecord, OpenMode, OpenOptions, Result, VolumeRecord, VolumeStore};
use std::{process::ExitCode, sync::Arc};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into()).collect();
    let [url] = args.as_slice() else {
        eprintln!("usage: inspect URL    (local:///srv/volumes, nfs://server/export, s3://bucket/prefix)");
        return ExitCode::FAILURE;
    };
    match inspect(url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn inspect(url: &str) -> Result<()> {
    let store = open(url).await?;
    facts(&store).await?;
    println!("\nvolumes");
    volumes(&store).await;
    println!("\nwho holds what");
    each(store.attachments(AttachmentFilter::default()), show_attachment).await;
    println!("\ntrash");
    each(store.list(ListOptions::default().with_states(ListStates::Trashed)), show_trashed).await;
    work_for_prune(&store).await?;
    store.close().await
}

async fn open(url: &str) -> Result<Arc<dyn VolumeStore>> {
    let options = OpenOptions::default().with_mode(OpenMode::ReadOnly);
    // Only an object store wants credentials: here those of Amazon's own tools.
    #[cfg(feature = "s3")]
    if url.starts_with("s3://") {
        return persist::s3::open_by_variables(&url.parse()?, options, std::env::var_os).await;
    }
    persist::open_with(url, options).await
}

async fn facts(store: &Arc<dyn VolumeStore>) -> Result<()> {
    let info = store.info();
    let facts = &info.characteristics;
    println!("{} store {} at {}", info.kind, info.id, info.location);
    println!("  on {}; {}", facts.filesystem, info.capabilities);
    println!("  acknowledged data survives: {:?} ({:?})", facts.survives, facts.survives_evidence);
    for remark in &facts.remarks {
        println!("  note: {remark}");
    }
    for health in store.health().await? {
        println!("  {:?}: {:?} {}: {}", health.view, health.status, health.reason, health.message);
    }
    Ok(())
}

async fn volumes(store: &Arc<dyn VolumeStore>) {
    let mut list = store.list(ListOptions::default());
    while let Some(volume) = list.next().await {
        match volume {
            Ok(volume) => {
                show_volume(&volume);
                each(store.snapshots(&volume.name, ListOptions::default()), show_snapshot).await;
            }
            Err(error) => println!("  unreadable: {error}"),
        }
    }
}

/// Shows the items of a listing; one that cannot be read does not end it.
async fn each<T>(mut list: BoxStream<'static, Result<T>>, show: impl Fn(&T)) {
    while let Some(item) = list.next().await {
        match item {
            Ok(item) => show(&item),
            Err(error) => println!("  unreadable: {error}"),
        }
    }
}

fn show_snapshot(snapshot: &SnapshotRecord) {
    let (kind, cut) = (snapshot.kind, snapshot.consistency);
    println!("    snapshot {}  {}  {kind:?}, {cut:?}", snapshot.name, snapshot.taken);
}

fn show_volume(volume: &VolumeRecord) {
    let spec = &volume.spec;
    print!("  {}  {}  created {}, epoch {}", volume.name, volume.id, volume.created, volume.epoch);
    if spec.protection == Protection::Protected {
        print!(", protected");
    }
    if let Some(size) = spec.size_bytes {
        print!(", at most {size} bytes");
    }
    if let Some(snapshot) = &volume.restored_from {
        print!(", restored from {snapshot}");
    }
    for (key, value) in &spec.labels {
        print!(", {key}={value:?}");
    }
    println!();
}

fn show_attachment(attachment: &AttachmentRecord) {
    let holder = &attachment.holder;
    println!(
        "  {}  {:?} since {}, epoch {}, attachment {}",
        attachment.volume_name, attachment.access, attachment.since, attachment.epoch, attachment.id
    );
    println!(
        "    by {} on node {}, boot {}, {:?}",
        holder.workload, holder.node.id, holder.node.boot, holder.liveness
    );
    if let Some(target) = &attachment.target {
        println!("    at {}", target.display());
    }
    if let Some(snapshot) = &attachment.snapshot {
        println!("    reads snapshot {snapshot}");
    }
}

fn show_trashed(volume: &VolumeRecord) {
    if let VolumeState::Trashed { since, until } = volume.state {
        println!("  {}  {}  deleted {since}, can be taken back until {until}", volume.name, volume.id);
    }
}

async fn work_for_prune(store: &Arc<dyn VolumeStore>) -> Result<()> {
    println!("\nwhat prune would do");
    let report = store.prune(PruneOptions::default()).await?;
    for item in &report.items {
        println!("  {:?}: {} ({} bytes)", item.reason, item.what, item.bytes);
    }
    for failure in &report.failures {
        println!("  failed: {}", failure.what);
    }
    println!("  {} bytes in all", report.bytes);
    Ok(())
}
