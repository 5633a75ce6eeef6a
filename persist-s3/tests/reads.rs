//! What a sync reads of a volume. Alone in its process, whose reads the kernel counts.

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub, reason = "a test crate")]

mod subject;

use persist_core::{
    AttachOptions, CreateOptions, Node, NodeId, VolumeName, VolumeStore, conformance::Subject, holder::BootId,
};
use std::fs;
use subject::OnServer;

const FILES: usize = 2_000;
const FILE_BYTES: usize = 16 << 10;

/// Each commit leaves what the next one compares with, not only the one that the volume was attached at.
#[tokio::test]
async fn every_sync_reads_only_what_was_written_since_the_one_before() {
    let bucket = OnServer::new();
    let store =
        bucket.open(Node::new(NodeId::new("a").unwrap(), BootId::new("boot").unwrap())).await.unwrap();
    let name = VolumeName::new("volume").unwrap();
    store.create(&name, CreateOptions::default()).await.unwrap();
    let attachment = store.attach(&name, AttachOptions::default()).await.unwrap();
    for n in 0..FILES {
        fs::write(attachment.path().join(n.to_string()), content(n)).unwrap();
    }
    let all = (FILES * FILE_BYTES) as u64;
    let mut before = read();
    for round in 0..5 {
        store.sync(&attachment.id, Default::default()).await.unwrap();
        let now = read();
        match round {
            0 => assert!(now - before >= all, "the kernel counts other reads: {}", now - before),
            // What was written in the last ticks before a cut is read once more: here that may be all.
            1 => {}
            // The record of what was seen, a few times.
            _ => assert!(now - before < all / 4, "{} bytes were read in round {round}", now - before),
        }
        fs::write(attachment.path().join("7"), content(round * 1_000_000)).unwrap();
        before = read();
    }
}

/// 16 KiB that are those of no other number.
fn content(n: usize) -> String {
    format!("{n:016}").repeat(FILE_BYTES / 16)
}

/// Bytes that this process has read by now: proc(5), `/proc/self/io`, `rchar`.
fn read() -> u64 {
    let counts = fs::read_to_string("/proc/self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}
