//! Attach and detach, beyond their fsyncs.

use super::{fsync, median, volume};
use persist_core::{AttachOptions, DetachOptions, Result, SyncPolicy, VolumeStore, Workload};
use persist_local::LocalStore;
use std::{path::Path, time::Instant};

const ROUNDS: u32 = 200;

pub(crate) async fn measure(store: &LocalStore, scratch: &Path) -> Result<()> {
    let name = volume(store, "attach").await?;
    let mut figures = Vec::new();
    let before = store.fsyncs();
    for _ in 0..ROUNDS {
        let options =
            AttachOptions::default().with_workload(Workload::new("bench")?).with_sync(SyncPolicy::Manual);
        let start = Instant::now();
        let attachment = store.attach(&name, options).await?;
        store.detach(&attachment.id, DetachOptions::default()).await?;
        figures.push(start.elapsed());
    }
    let fsyncs = u32::try_from(store.fsyncs() - before).unwrap().div_ceil(ROUNDS);
    let (pair, bare) = (median(figures), fsync(scratch) * fsyncs);
    let beyond = pair.saturating_sub(bare);
    println!(
        "attach + detach: {pair:?}, of which {fsyncs} fsyncs {bare:?}, beyond them {beyond:?} (goal: under 2 ms)"
    );
    Ok(())
}
