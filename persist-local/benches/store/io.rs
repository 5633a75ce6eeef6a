//! Attached I/O beside the raw filesystem, by fio(1).

use super::volume;
use persist_core::{
    AttachOptions, DetachOptions, Result, VolumeStore, Workload, linux::mountinfo::MountTable,
};
use std::{path::Path, process::Command, sync::Arc};

/// Pairs of runs.
const ROUNDS: usize = 5;

pub(crate) async fn measure(store: &Arc<dyn VolumeStore>, scratch: &Path) -> Result<()> {
    let name = volume(store, "io").await?;
    let attachment =
        store.attach(&name, AttachOptions::default().with_workload(Workload::new("bench")?)).await?;
    let raw = scratch.join("raw");
    std::fs::create_dir_all(&raw).unwrap();
    let table = MountTable::read()?;
    let device = |path: &Path| {
        table
            .mounts()
            .iter()
            .filter(|m| path.starts_with(&m.at))
            .max_by_key(|m| m.at.as_os_str().len())
            .map(|m| m.device.clone())
    };
    println!(
        "the attached path is on device {:?}, the raw directory on {:?}",
        device(attachment.path()),
        device(&raw)
    );
    for pattern in ["write", "randread"] {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            // A pair at a time: what else the machine does meets both.
            let Some((attached, bare)) = fio(attachment.path(), pattern).zip(fio(&raw, pattern)) else {
                break;
            };
            ratios.push(attached / bare);
            ours.push(attached);
            theirs.push(bare);
        }
        match (middle(ours), middle(theirs), middle(ratios)) {
            (Some(ours), Some(theirs), Some(ratio)) => println!(
                "fio {pattern}: attached {ours:.0} KiB/s, raw {theirs:.0} KiB/s, median ratio of {ROUNDS} pairs {ratio:.2} (goal: 1)"
            ),
            _ => println!("fio {pattern}: not measured; install fio"),
        }
    }
    store.detach(&attachment.id, DetachOptions::default()).await?;
    Ok(())
}

/// Kilobytes a second of one run.
fn fio(directory: &Path, pattern: &str) -> Option<f64> {
    let words = [
        "--name=x",
        "--size=64M",
        "--bs=64k",
        "--ioengine=psync",
        "--end_fsync=1",
        "--output-format=terse",
        "--terse-version=3",
    ];
    let output = Command::new("fio")
        .args(words)
        .arg(format!("--rw={pattern}"))
        .arg("--directory")
        .arg(directory)
        .output()
        .ok()?;
    let line = String::from_utf8(output.stdout).ok()?;
    // Terse version 3: field 7 is the read bandwidth, field 48 the write bandwidth, in KiB/s (fio(1)).
    let field = if pattern.contains("read") { 6 } else { 47 };
    line.split(';').nth(field)?.parse().ok()
}

fn middle(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}
