//! Create, get and attach while the number of volumes grows; list in bounded memory.

use super::median;
use futures::StreamExt;
use persist_core::{
    AttachOptions, CreateOptions, DetachOptions, Result, VolumeName, VolumeStore, Workload,
    volume::ListOptions,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const FEW: u32 = 1_000;
const MANY: u32 = 100_000;

/// Operations that are timed at each size.
const SAMPLES: u32 = 300;

pub(crate) async fn measure(store: &Arc<dyn VolumeStore>) -> Result<()> {
    if !store.info().characteristics.filesystem.contains("tmpfs") {
        println!("scale: {MANY} volumes are measured on tmpfs; give a directory there");
        return Ok(());
    }
    fill(store, 0, FEW).await?;
    let few = sample(store, FEW).await?;
    fill(store, FEW + SAMPLES, MANY).await?;
    let many = sample(store, MANY).await?;
    for (what, few, many) in
        [("create", few[0], many[0]), ("get", few[1], many[1]), ("attach + detach", few[2], many[2])]
    {
        println!(
            "{what}: {few:?} among {FEW} volumes, {many:?} among {MANY}, ratio {:.2} (goal: 1)",
            many.as_secs_f64() / few.as_secs_f64()
        );
    }
    let start = Instant::now();
    let listed = store.list(ListOptions::default()).count().await;
    println!(
        "list: {listed} volumes in {:?}; peak memory of this process {} MB",
        start.elapsed(),
        peak_megabytes()
    );
    Ok(())
}

async fn fill(store: &Arc<dyn VolumeStore>, from: u32, to: u32) -> Result<()> {
    for n in from..to {
        store.create(&name(n)?, CreateOptions::default()).await?;
    }
    Ok(())
}

async fn sample(store: &Arc<dyn VolumeStore>, base: u32) -> Result<[Duration; 3]> {
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    for n in base..base + SAMPLES {
        let name = name(n)?;
        let start = Instant::now();
        store.create(&name, CreateOptions::default()).await?;
        figures[0].push(start.elapsed());
        let start = Instant::now();
        store.get(&name).await?;
        figures[1].push(start.elapsed());
        let start = Instant::now();
        let attachment =
            store.attach(&name, AttachOptions::default().with_workload(Workload::new("bench")?)).await?;
        store.detach(&attachment.id, DetachOptions::default()).await?;
        figures[2].push(start.elapsed());
    }
    Ok(figures.map(median))
}

fn name(n: u32) -> Result<VolumeName> {
    VolumeName::new(format!("volume-{n}"))
}

/// `VmHWM` of proc_pid_status(5).
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() / 1024
}
