//! A snapshot, beside the bare ioctl of btrfs and its fsyncs.

use super::{fsync, median, volume};
use persist_core::{
    AttachOptions, Capabilities, DetachOptions, Result, SnapshotName, SnapshotOptions, VolumeStore, Workload,
    linux::{Writes, btrfs},
};
use persist_local::LocalStore;
use std::{path::Path, time::Instant};

const ROUNDS: u32 = 30;

pub(crate) async fn measure(store: &LocalStore, scratch: &Path) -> Result<()> {
    if !store.info().capabilities.contains(Capabilities::INSTANT_SNAPSHOTS) {
        println!("snapshot: no instant snapshots here; give a directory on btrfs");
        return Ok(());
    }
    let name = volume(store, "snapshot").await?;
    let attachment =
        store.attach(&name, AttachOptions::default().with_workload(Workload::new("bench")?)).await?;
    let bare_root = scratch.join("bare");
    btrfs::create_subvolume(&bare_root)?;
    let before = store.fsyncs();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        std::fs::write(attachment.path().join("file"), round.to_le_bytes()).unwrap();
        let start = Instant::now();
        store.snapshot(&name, &SnapshotName::new(format!("s{round}"))?, SnapshotOptions::default()).await?;
        ours.push(start.elapsed());
        std::fs::write(bare_root.join("file"), round.to_le_bytes()).unwrap();
        let start = Instant::now();
        btrfs::snapshot(&bare_root, &scratch.join(format!("bare{round}")), Writes::Refused)?;
        rustix::fs::syncfs(std::fs::File::open(scratch).unwrap()).unwrap();
        bare.push(start.elapsed());
    }
    store.detach(&attachment.id, DetachOptions::default()).await?;
    let fsyncs = u32::try_from(store.fsyncs() - before).unwrap().div_ceil(ROUNDS);
    let (ours, bare) = (median(ours), median(bare) + fsync(scratch) * fsyncs);
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    println!(
        "btrfs snapshot: {ours:?}, the bare ioctl with a flush and {fsyncs} fsyncs {bare:?}, ratio {ratio:.2} (goal: 1.5)"
    );
    Ok(())
}
