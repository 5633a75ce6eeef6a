//! What a volume takes in its bucket, and that it gets back what it no longer needs.

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub, reason = "a test crate")]

mod subject;

use persist_core::{
    AttachOptions, Attachment, CreateOptions, DetachOptions, Node, NodeId, VolumeName, VolumeStore,
    attachment::LocalCopy,
    care::{PruneMode, PruneOptions, VerifyOptions},
    conformance::Subject,
    holder::BootId,
};
use std::{fs, os::unix::fs::FileExt, path::Path, sync::Arc};
use subject::OnServer;

/// Of content that does not compress; more than a commit keeps in its own object.
const LARGE: usize = 8 << 20;

/// Commits after which the older ones are not kept any more.
const ROUNDS: u64 = 10;

struct Bench {
    bucket: OnServer,
    volume: VolumeName,
}

impl Bench {
    fn new() -> Self {
        Self { bucket: OnServer::new(), volume: VolumeName::new("volume").unwrap() }
    }

    async fn open(&self, node: &str) -> Arc<dyn VolumeStore> {
        let node = Node::new(NodeId::new(node).unwrap(), BootId::new("boot").unwrap());
        self.bucket.open(node).await.unwrap()
    }

    async fn attached(&self, store: &Arc<dyn VolumeStore>) -> Attachment {
        store.attach(&self.volume, AttachOptions::default()).await.unwrap()
    }

    /// A new volume, attached.
    async fn begun(&self) -> (Arc<dyn VolumeStore>, Attachment) {
        let store = self.open("a").await;
        store.create(&self.volume, CreateOptions::default()).await.unwrap();
        let attachment = self.attached(&store).await;
        (store, attachment)
    }

    /// A volume that holds nothing of the large file any more which an old commit of it has.
    async fn rewritten(&self) -> (Arc<dyn VolumeStore>, Attachment) {
        let (store, attachment) = self.begun().await;
        for (seed, name) in [(1, "large"), (2, "kept")] {
            fs::write(attachment.path().join(name), noise(seed, LARGE)).unwrap();
            store.sync(&attachment.id, Default::default()).await.unwrap();
        }
        fs::remove_file(attachment.path().join("large")).unwrap();
        change(&store, &attachment, ROUNDS).await;
        (store, attachment)
    }

    /// Bytes of all objects.
    fn stored(&self) -> usize {
        let server = &self.bucket.server;
        let sizes = server.keys(subject::BUCKET, "");
        sizes.iter().map(|key| server.object(subject::BUCKET, key).unwrap().map_or(0, |o| o.len())).sum()
    }

    /// Another node finds what is there.
    async fn check(&self, value: u64) {
        let other = self.open("b").await;
        let attachment = self.attached(&other).await;
        assert_eq!(fs::read(attachment.path().join("kept")).unwrap(), noise(2, LARGE));
        assert_eq!(fs::read_to_string(attachment.path().join("value")).unwrap(), value.to_string());
        assert!(!attachment.path().join("large").exists());
        other.detach(&attachment.id, Default::default()).await.unwrap();
        let verified = other.verify(VerifyOptions::default()).await.unwrap();
        assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    }
}

async fn change(store: &Arc<dyn VolumeStore>, attachment: &Attachment, rounds: u64) {
    for value in 1..=rounds {
        fs::write(attachment.path().join("value"), value.to_string()).unwrap();
        store.sync(&attachment.id, Default::default()).await.unwrap();
    }
}

async fn prune(store: &Arc<dyn VolumeStore>) -> u64 {
    let report = store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report.bytes
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect()
}

#[tokio::test]
async fn what_a_volume_has_left_behind_goes_while_it_is_written() {
    let bench = Bench::new();
    let (store, attachment) = bench.rewritten().await;
    assert!(bench.stored() > 2 * LARGE);
    prune(&store).await;
    change(&store, &attachment, ROUNDS).await;
    assert!(prune(&store).await >= LARGE as u64);
    assert!(bench.stored() < LARGE + LARGE / 4, "{} bytes are left", bench.stored());
    store.detach(&attachment.id, Default::default()).await.unwrap();
    bench.check(ROUNDS).await;
}

#[tokio::test]
async fn what_a_volume_has_left_behind_goes_while_nobody_has_it() {
    let bench = Bench::new();
    let (store, attachment) = bench.rewritten().await;
    store.detach(&attachment.id, Default::default()).await.unwrap();
    prune(&bench.open("pruner").await).await;
    let attachment = bench.attached(&store).await;
    change(&store, &attachment, ROUNDS).await;
    store.detach(&attachment.id, Default::default()).await.unwrap();
    assert!(prune(&bench.open("pruner").await).await >= LARGE as u64);
    assert!(bench.stored() < LARGE + LARGE / 4, "{} bytes are left", bench.stored());
    bench.check(ROUNDS).await;
}

/// A prune moves the head to a commit of the same tree; a copy on some node is one of that.
#[tokio::test]
async fn what_was_not_synced_is_still_there_after_another_node_has_pruned() {
    let bench = Bench::new();
    let (store, attachment) = bench.rewritten().await;
    store.detach(&attachment.id, DetachOptions::default().with_local_copy(LocalCopy::Keep)).await.unwrap();
    let manual = AttachOptions::default().with_sync(persist_core::quiesce::SyncPolicy::Manual);
    let attachment = store.attach(&bench.volume, manual).await.unwrap();
    fs::write(attachment.path().join("value"), "not synced").unwrap();
    store.detach(&attachment.id, Default::default()).await.unwrap();
    prune(&bench.open("pruner").await).await;
    let attachment = bench.attached(&store).await;
    assert_eq!(fs::read_to_string(attachment.path().join("value")).unwrap(), "not synced");
    assert_eq!(fs::read(Path::new(attachment.path()).join("kept")).unwrap(), noise(2, LARGE));
}

/// A page of a database: PostgreSQL's.
const PAGE: u64 = 8 << 10;

/// What one page may cost: the block that it is in, of 128 KiB, and what is small.
const ONE_BLOCK: usize = 160 << 10;

#[tokio::test]
async fn a_page_of_a_database_costs_its_block_also_where_it_fills_a_hole() {
    let bench = Bench::new();
    let (store, attachment) = bench.begun().await;
    let file = fs::File::create(attachment.path().join("pages")).unwrap();
    let content = noise(3, LARGE);
    // The second quarter is a hole.
    let (front, back) = (LARGE / 4, LARGE / 2);
    file.write_all_at(&content[..front], 0).unwrap();
    file.write_all_at(&content[back..], back as u64).unwrap();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let page = noise(4, PAGE as usize);
    for at in [5 * PAGE, front as u64 + 7 * PAGE, (LARGE as u64) - PAGE] {
        let before = bench.stored();
        file.write_all_at(&page, at).unwrap();
        store.sync(&attachment.id, Default::default()).await.unwrap();
        let cost = bench.stored() - before;
        assert!((PAGE as usize..ONE_BLOCK).contains(&cost), "{cost} bytes for the page at {at}");
    }
    let written = fs::read(attachment.path().join("pages")).unwrap();
    store.detach(&attachment.id, Default::default()).await.unwrap();
    let attachment = bench.attached(&bench.open("b").await).await;
    assert!(fs::read(attachment.path().join("pages")).unwrap() == written, "another node reads other pages");
}

/// More than two packs of their own.
const FILES: u64 = 80;
const FILE_BYTES: usize = 1 << 20;

/// In both of them.
const LEFT: [u64; 4] = [5, 20, 35, 50];

#[tokio::test]
async fn a_pack_of_which_little_is_left_is_stored_again_and_goes() {
    let bench = Bench::new();
    let (store, attachment) = bench.begun().await;
    let path = |n: u64| attachment.path().join(n.to_string());
    for n in 0..FILES {
        fs::write(path(n), noise(n, FILE_BYTES)).unwrap();
    }
    store.sync(&attachment.id, Default::default()).await.unwrap();
    (0..FILES).filter(|n| !LEFT.contains(n)).for_each(|n| fs::remove_file(path(n)).unwrap());
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let full = bench.stored();
    prune(&store).await;
    // What is left is stored once more, and nothing else is.
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let again = bench.stored() - full;
    let left = LEFT.len() * FILE_BYTES;
    assert!((left..left + left / 4).contains(&again), "{again} bytes were stored again");
    // The packs are left, and listed by commits that are kept until others came after them.
    prune(&store).await;
    change(&store, &attachment, ROUNDS).await;
    prune(&store).await;
    assert!(bench.stored() < left + left / 4, "{} bytes are left", bench.stored());
    let quiet = bench.stored();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    assert!(bench.stored() < quiet + FILE_BYTES / 4, "what is dense is stored again");
    store.detach(&attachment.id, Default::default()).await.unwrap();
    let other = bench.open("b").await;
    let attachment = bench.attached(&other).await;
    for n in LEFT {
        let bytes = fs::read(attachment.path().join(n.to_string())).unwrap();
        assert!(bytes == noise(n, FILE_BYTES), "file {n} is another one");
    }
    let verified = other.verify(VerifyOptions::default()).await.unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
}
