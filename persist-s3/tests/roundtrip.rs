//! A volume goes through a bucket to another node, and what that costs in requests.

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub, reason = "a test crate")]

mod subject;

use persist_core::{
    AttachOptions, Attachment, DetachOptions, Node, NodeId, SnapshotName, SnapshotOptions, Source,
    VolumeName, VolumeStore,
    attachment::{DetachReport, LocalCopy},
    care::{PruneMode, PruneOptions},
    conformance::Subject,
    holder::BootId,
    tree::{
        TreePath,
        sample::{Planted, Row, describe, differences, plant, unlock},
    },
    volume::CreateOptions,
};
use persist_s3_server::{Broken, Fault, ObjectKind, Rule, Seen, Verb};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};
use subject::{BUCKET, OnServer};

/// A bucket, and one volume of it.
struct Bench {
    bucket: OnServer,
    volume: VolumeName,
}

/// Requests by verb and kind of object.
type Requests = BTreeMap<(Verb, ObjectKind), u64>;

impl Bench {
    fn new() -> Self {
        Self { bucket: OnServer::new(), volume: VolumeName::new("volume").unwrap() }
    }

    async fn open(&self, node: &str) -> Arc<dyn VolumeStore> {
        let node = Node::new(NodeId::new(node).unwrap(), BootId::new("boot").unwrap());
        self.bucket.open(node).await.unwrap()
    }

    /// The volume, new and attached on node `a`.
    async fn attached(&self) -> (Arc<dyn VolumeStore>, Attachment) {
        let store = self.open("a").await;
        store.create(&self.volume, CreateOptions::default()).await.unwrap();
        let attachment = self.attach(&store).await;
        (store, attachment)
    }

    async fn attach(&self, store: &Arc<dyn VolumeStore>) -> Attachment {
        store.attach(&self.volume, AttachOptions::default()).await.unwrap()
    }

    /// The volume with `files` small files, detached; a store on node `a`.
    async fn with_files(&self, files: usize) -> Arc<dyn VolumeStore> {
        let (store, attachment) = self.attached().await;
        write_files(attachment.path(), files);
        detach(&store, &attachment, LocalCopy::Remove).await;
        store
    }

    fn forget(&self) {
        self.bucket.server.log().reset();
    }

    /// What was asked since the last [`forget`](Self::forget).
    fn asked(&self) -> Requests {
        let counts = self.bucket.server.log().counts();
        counts.into_iter().map(|(what, count)| (what, count.requests)).collect()
    }

    /// Requests of a verb on any of these kinds.
    fn of(&self, verb: Verb, kinds: &[ObjectKind]) -> u64 {
        kinds.iter().map(|kind| self.bucket.server.log().count(verb, *kind).requests).sum()
    }

    fn total(&self, verb: Verb) -> u64 {
        self.bucket.server.log().total(verb).requests
    }
}

async fn detach(store: &Arc<dyn VolumeStore>, attachment: &Attachment, copy: LocalCopy) -> DetachReport {
    let options = DetachOptions::default().with_local_copy(copy);
    let report = store.detach(&attachment.id, options).await.unwrap();
    assert_eq!(report.left, Vec::<String>::new());
    report
}

/// Files of 4 KiB, a hundred in a directory.
fn write_files(root: &Path, files: usize) {
    for n in 0..files {
        let directory = root.join(format!("{}", n / 100));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(format!("{n}")), content(n)).unwrap();
    }
}

/// 4 KiB that are those of no other number.
fn content(n: usize) -> String {
    format!("{n:08}").repeat(512)
}

#[tokio::test]
async fn what_a_tree_holds_is_the_same_on_another_node() {
    let bench = Bench::new();
    let (a, attachment) = bench.attached().await;
    let root = attachment.path().to_owned();
    let planted = plant(&root, Row::ALL).unwrap();
    assert!(planted.iter().filter(|(_, what)| *what == Planted::Here).count() > Row::ALL.len() / 2);
    let before = describe(&root).unwrap();
    // What the kernel lets nobody remove would be left on the first node.
    let report = a.detach(&attachment.id, DetachOptions::default()).await.unwrap();
    assert_eq!(report.left, Vec::<String>::new());
    assert!(!root.exists(), "the copy is still on the first node");

    let b = bench.open("b").await;
    let attachment = bench.attach(&b).await;
    assert_eq!(attachment.report().remarks, Vec::<String>::new());
    let after = describe(attachment.path()).unwrap();
    assert!(before.len() > 100, "a poor sample");
    assert_eq!(differences(&before, &after, &[]), Vec::<String>::new());
    unlock(attachment.path()).unwrap();
}

#[tokio::test]
async fn ten_changed_files_of_many_are_two_puts_and_no_list() {
    let bench = Bench::new();
    let (store, attachment) = bench.attached().await;
    write_files(attachment.path(), 2_000);
    store.sync(&attachment.id, Default::default()).await.unwrap();
    for n in (0..2_000).step_by(200) {
        let at = attachment.path().join(format!("{}/{n}", n / 100));
        fs::write(at, content(n + 1_000_000)).unwrap();
    }
    bench.forget();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let asked = bench.asked();
    assert_eq!(bench.total(Verb::Put), 2, "{asked:?}");
    assert_eq!(asked.get(&(Verb::Put, ObjectKind::Commit)), Some(&1), "{asked:?}");
    assert_eq!(asked.get(&(Verb::Put, ObjectKind::Head)), Some(&1), "{asked:?}");
    assert_eq!(bench.total(Verb::List), 0, "{asked:?}");
}

/// A create that does not come to its name has made a volume, which nobody sees.
#[tokio::test]
async fn one_prune_removes_all_that_an_interrupted_create_has_left() {
    let bench = Bench::new();
    let store = bench.open("a").await;
    let before = bench.bucket.server.keys(BUCKET, "").len();
    let lost = |seen: &Seen| seen.verb == Verb::Put && seen.kind == ObjectKind::Name;
    let faults = bench.bucket.server.faults();
    let refused = Fault::LostRequest(Broken::Refused);
    faults.add(Rule::once("no name is written", refused, lost).times(u32::MAX));
    store.create(&bench.volume, CreateOptions::default()).await.unwrap_err();
    faults.clear();
    assert!(bench.bucket.server.keys(BUCKET, "").len() > before + 1, "the create has left nothing");
    let apply = PruneOptions::default().with_mode(PruneMode::Apply);
    let pruned = store.prune(apply).await.unwrap();
    assert!(pruned.bytes > 0, "{pruned:?} {:?}", bench.bucket.server.keys(BUCKET, ""));
    assert_eq!(store.prune(PruneOptions::default()).await.unwrap().items, []);
    // A head is never deleted.
    assert_eq!(bench.bucket.server.keys(BUCKET, "").len(), before + 1);
}

#[tokio::test]
async fn a_sync_of_nothing_new_writes_no_commit() {
    let bench = Bench::new();
    let (store, attachment) = bench.attached().await;
    write_files(attachment.path(), 200);
    store.sync(&attachment.id, Default::default()).await.unwrap();
    bench.forget();
    store.sync(&attachment.id, Default::default()).await.unwrap();
    let asked = bench.asked();
    assert_eq!(bench.of(Verb::Put, &[ObjectKind::Commit, ObjectKind::Pack]), 0, "{asked:?}");
    // The lease is confirmed by the head, which is what makes the answer true.
    assert!(bench.total(Verb::Put) <= 1, "{asked:?}");
}

#[tokio::test]
async fn one_small_file_of_a_cold_volume_is_three_gets_beside_those_of_small_records() {
    let bench = Bench::new();
    let store = bench.with_files(2_000).await;
    let name = SnapshotName::new("good").unwrap();
    store.snapshot(&bench.volume, &name, SnapshotOptions::default()).await.unwrap();
    let cold = bench.open("b").await;
    bench.forget();
    let tree = cold.open_snapshot(&bench.volume, &name).await.unwrap();
    let bytes = tree.read(&TreePath::new(&b"7/777"[..]).unwrap(), 0..4096).await.unwrap();
    assert_eq!(bytes, content(777));
    let asked = bench.asked();
    assert_eq!(bench.total(Verb::List), 0, "{asked:?}");
    // The commit's record with the first page, another page of the tree, and the frame.
    assert!(bench.of(Verb::Get, &[ObjectKind::Commit, ObjectKind::Pack]) <= 3, "{asked:?}");
    // Name, snapshot, keys, and the head before and after the pin.
    let records = [ObjectKind::Name, ObjectKind::Pin, ObjectKind::Format, ObjectKind::Head];
    assert!(bench.of(Verb::Get, &records) <= 5, "{asked:?}");
    assert_eq!(bench.total(Verb::Put), 1, "{asked:?}");
}

#[tokio::test]
async fn attaching_an_unchanged_warm_volume_again_is_three_requests() {
    let bench = Bench::new();
    let (store, attachment) = bench.attached().await;
    write_files(attachment.path(), 200);
    detach(&store, &attachment, LocalCopy::Keep).await;
    store.close().await.unwrap();
    let again = bench.open("a").await;
    bench.forget();
    let attachment = bench.attach(&again).await;
    let asked = bench.asked();
    assert_eq!(fs::read_to_string(attachment.path().join("1/123")).unwrap(), content(123));
    // The name and the head, and the head as it is taken.
    let one = |verb, kind| ((verb, kind), 1);
    let three = [
        one(Verb::Get, ObjectKind::Name),
        one(Verb::Get, ObjectKind::Head),
        one(Verb::Put, ObjectKind::Head),
    ];
    assert_eq!(asked, Requests::from(three));
}

/// What a snapshot, and a volume from it, ask of the bucket for a volume with `files` files; and the bytes
/// that went either way.
async fn cost_of_naming(files: usize) -> ([Requests; 2], u64) {
    let bench = Bench::new();
    let store = bench.with_files(files).await;
    let name = SnapshotName::new("good").unwrap();
    bench.forget();
    store.snapshot(&bench.volume, &name, SnapshotOptions::default()).await.unwrap();
    let snapshot = bench.asked();
    let mut bytes = bytes(&bench);
    bench.forget();
    let source = Source::Snapshot { volume: bench.volume.clone(), snapshot: name };
    let fork = VolumeName::new("fork").unwrap();
    store.create(&fork, CreateOptions::default().with_source(source)).await.unwrap();
    bytes += self::bytes(&bench);
    let asked = bench.asked();
    let attachment = store.attach(&fork, AttachOptions::default()).await.unwrap();
    assert_eq!(fs::read_to_string(attachment.path().join("0/7")).unwrap(), content(7));
    ([snapshot, asked], bytes)
}

fn bytes(bench: &Bench) -> u64 {
    bench.bucket.server.log().counts().values().map(|count| count.received + count.sent).sum()
}

#[tokio::test]
async fn a_snapshot_and_a_fork_cost_the_same_for_a_volume_of_any_size() {
    let (small, few) = cost_of_naming(1_000).await;
    let (large, many) = cost_of_naming(2_000).await;
    assert_eq!(small, large);
    // Of a commit the end is read, 64 KiB at a time.
    assert!(many < few + (64 << 10), "{few} bytes for a thousand files, {many} for two thousand");
}
