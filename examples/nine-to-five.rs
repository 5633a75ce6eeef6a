//! A machine that exists from nine to five. In the evening it detaches, and nothing of the volume is on it; in
//! the morning another machine attaches, and goes on.
//!
//! ```text
//! cargo run --features s3 --example nine-to-five               a bucket in this process
//! cargo run --features s3 --example nine-to-five -- URL        s3://bucket/prefix?..., credentials by AWS_...
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

mod bucket;

use bucket::{Bucket, Outcome};
use persist::volume::{DeleteOptions, Trash};
use persist::{AttachOptions, BindOptions, Liveness, SyncPolicy, VolumeName, VolumeStoreExt};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// What is made on the first day: files of 4 KiB, a thousand of them.
const FILES: usize = 1_000;

#[tokio::main]
async fn main() {
    if let Err(error) = days().await {
        eprintln!("nine-to-five: {error}");
        std::process::exit(1);
    }
}

async fn days() -> Outcome {
    let bucket = Bucket::from_arguments()?;
    let volume = VolumeName::new("nine-to-five")?;
    println!("The store {}", bucket.url());

    day(&bucket, "monday", &volume, first_day).await?;
    day(&bucket, "tuesday", &volume, another_day).await?;
    day(&bucket, "wednesday", &volume, another_day).await?;

    let store = bucket.open("cleaner").await?;
    store.delete(&volume, DeleteOptions::default().with_trash(Trash::Bypass)).await?;
    Ok(store.close().await?)
}

/// One day of a machine that was not there the day before.
async fn day(
    bucket: &Bucket,
    machine: &str,
    volume: &VolumeName,
    work: impl Fn(&Path) -> Outcome<String>,
) -> Outcome {
    let store = bucket.open(machine).await?;
    bucket.moved();

    let started = Instant::now();
    // Synced by itself every five minutes: what a machine that dies at noon may lose.
    let attach = AttachOptions::default()
        .with_liveness(Liveness::Process(None))
        .with_sync(SyncPolicy::Every(Duration::from_secs(300)));
    let bound = store.bind(volume, BindOptions::default().with_attach(attach)).await?;
    println!("\n{machine}, nine o'clock: attached in {:.2?}", started.elapsed());
    println!("  {}", bucket.moved());

    println!("  {}", work(bound.path())?);

    let started = Instant::now();
    let report = bound.detach().await?;
    println!("{machine}, five o'clock: detached in {:.2?}", started.elapsed());
    println!("  {}", bucket.moved());
    for left in &report.left {
        println!("  left: {left}");
    }
    let left = files_below(&bucket.directory_of(machine), "document-")?;
    println!("  documents left on this machine: {left}");
    if left > 0 {
        return Err("the machine is not empty".into());
    }
    Ok(store.close().await?)
}

fn first_day(root: &Path) -> Outcome<String> {
    for n in 0..FILES {
        fs::write(root.join(format!("document-{n}")), format!("{n:04}").repeat(1024))?;
    }
    fs::write(root.join("log"), "monday\n")?;
    Ok(format!("wrote {FILES} documents"))
}

fn another_day(root: &Path) -> Outcome<String> {
    let there = files_below(root, "document-")?;
    if there != FILES {
        return Err(format!("{there} of {FILES} documents are there").into());
    }
    let mut log = fs::read_to_string(root.join("log"))?;
    log.push_str("another day\n");
    fs::write(root.join("log"), &log)?;
    fs::write(root.join("document-7"), format!("changed, line {}", log.lines().count()))?;
    Ok(format!("found all {there} documents, changed one and the log"))
}

/// How many files there are below a directory whose names contain a word.
fn files_below(directory: &Path, containing: &str) -> Outcome<usize> {
    let mut found = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found += files_below(&entry.path(), containing)?;
        } else if entry.file_name().to_string_lossy().contains(containing) {
            found += 1;
        }
    }
    Ok(found)
}
