//! Attach and detach, beside the calls by which they make things last.

use super::{median, volume};
use persist_core::{AttachOptions, DetachOptions, Result, VolumeStore, Workload};
use persist_local::LocalStore;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: u32 = 200;

pub(crate) async fn measure(store: &LocalStore, scratch: &Path) -> Result<()> {
    let name = volume(store, "attach").await?;
    let mut figures = Vec::new();
    let before = store.fsyncs();
    for _ in 0..ROUNDS {
        let options = AttachOptions::default().with_workload(Workload::new("bench")?);
        let start = Instant::now();
        let attachment = store.attach(&name, options).await?;
        store.detach(&attachment.id, DetachOptions::default()).await?;
        figures.push(start.elapsed());
    }
    let fsyncs = u32::try_from(store.fsyncs() - before).unwrap().div_ceil(ROUNDS);
    let (pair, bare) = (median(figures), same_calls(scratch, fsyncs));
    let beyond = pair.saturating_sub(bare);
    println!(
        "attach + detach: {pair:?}, {fsyncs} fsyncs and 1 syncfs alone {bare:?}, beyond them {beyond:?} (goal: under 2 ms)"
    );
    Ok(())
}

/// How long the calls of one attach and detach take by themselves: small new files and their directory in turn,
/// and the filesystem once.
fn same_calls(scratch: &Path, fsyncs: u32) -> Duration {
    let place = scratch.join("calls");
    fs::create_dir_all(&place).unwrap();
    let directory = File::open(&place).unwrap();
    let figures = (0..ROUNDS).map(|round| {
        let start = Instant::now();
        for n in 0..fsyncs {
            if n % 2 == 0 {
                let mut file = File::create_new(place.join(format!("{round}-{n}"))).unwrap();
                file.write_all(b"a small record").unwrap();
                file.sync_all().unwrap();
            } else {
                directory.sync_all().unwrap();
            }
        }
        rustix::fs::syncfs(&directory).unwrap();
        start.elapsed()
    });
    median(figures.collect())
}
