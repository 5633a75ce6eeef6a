//! What calls cost the server, counted by the kernel's client (`/proc/self/mountstats`).

use super::{block, shell};
use libtest_mimic::Trial;
use persist_core::{
    AttachOptions, OpenMode, OpenOptions, VolumeStore, Workload, linux::process::this_host,
    volume::ListOptions,
};
use std::{collections::BTreeMap, sync::Arc};

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 3] = [
        ("an_attach_on_a_mounted_export_takes_a_bounded_number_of_round_trips", attach),
        ("a_snapshot_on_4_2_transfers_no_data", snapshot),
        ("listing_volumes_does_not_look_at_their_data", list),
    ];
    super::planned(&tests)
}

/// What the client has asked of the server behind a mount, and the bytes of files that went over the wire.
#[derive(Debug)]
struct Counted {
    operations: BTreeMap<String, u64>,
    bytes: u64,
}

impl Counted {
    fn now(at: &str) -> Self {
        let all = std::fs::read_to_string("/proc/self/mountstats").unwrap();
        let of = all.split("device ").find(|part| part.contains(&format!(" mounted on {at} with "))).unwrap();
        let mut counted = Self { operations: BTreeMap::new(), bytes: 0 };
        let mut in_operations = false;
        for line in of.lines().map(str::trim) {
            in_operations |= line == "per-op statistics";
            let mut words = line.split_whitespace();
            match words.next() {
                Some("bytes:") => {
                    // Of eight numbers the fifth and sixth: read from and written to the server.
                    counted.bytes = words.skip(4).take(2).map(|word| word.parse::<u64>().unwrap()).sum();
                }
                Some(name) if in_operations && name.ends_with(':') => {
                    let count = words.next().unwrap().parse().unwrap();
                    counted.operations.insert(name.trim_end_matches(':').to_owned(), count);
                }
                _ => {}
            }
        }
        counted
    }

    fn since(self, before: &Self) -> Self {
        let less = |(name, count): (String, u64)| {
            let count = count - before.operations.get(&name).copied().unwrap_or(0);
            (count > 0).then_some((name, count))
        };
        Self {
            operations: self.operations.into_iter().filter_map(less).collect(),
            bytes: self.bytes - before.bytes,
        }
    }

    fn total(&self) -> u64 {
        self.operations.values().sum()
    }
}

async fn open(directory: &str) -> Arc<dyn VolumeStore> {
    let url = format!("nfs+mounted:///m42/{directory}?patience=600").parse().unwrap();
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(this_host().unwrap());
    persist_nfs::open(&url, options).await.unwrap()
}

fn workload(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(name).unwrap())
}

/// What is seen, 57 on Linux 6.1, and a few more: half of them fetch the attributes of directories, so that no
/// decision rests on what the client remembers. Ten would be better.
const ATTACH_MAX: u64 = 64;

fn attach() {
    block(async {
        let store = open("k/attach").await;
        let name = "v".parse().unwrap();
        store.create(&name, Default::default()).await.unwrap();
        let first = store.attach(&name, workload("first")).await.unwrap();
        store.detach(&first.id, Default::default()).await.unwrap();
        let before = Counted::now("/m42");
        let attachment = store.attach(&name, workload("second")).await.unwrap();
        let counted = Counted::now("/m42").since(&before);
        println!("attach: {} round trips: {:?}", counted.total(), counted.operations);
        assert!(counted.total() <= ATTACH_MAX, "{counted:?}");
        store.detach(&attachment.id, Default::default()).await.unwrap();
        store.close().await.unwrap();
    });
}

fn snapshot() {
    block(async {
        let store = open("k/snapshot").await;
        let name = "v".parse().unwrap();
        store.create(&name, Default::default()).await.unwrap();
        let attachment = store.attach(&name, workload("w")).await.unwrap();
        std::fs::write(attachment.path().join("f"), vec![7; 16 << 20]).unwrap();
        store.sync(&attachment.id, Default::default()).await.unwrap();
        let before = Counted::now("/m42");
        store.snapshot(&name, &"s".parse().unwrap(), Default::default()).await.unwrap();
        let counted = Counted::now("/m42").since(&before);
        println!("snapshot of 16 MiB: {counted:?}");
        assert!(counted.operations.get("CLONE").is_some_and(|count| *count >= 1), "{counted:?}");
        // Records are written: some hundred bytes each.
        assert!(counted.bytes < 1 << 16, "{counted:?}");
        store.close().await.unwrap();
    });
    let found = shell("find /srv/k/snapshot -type f -size 16384k | wc -l");
    assert_eq!(found.trim(), "2", "the file and its clone");
}

const VOLUMES: u64 = 20;

fn list() {
    block(async {
        let store = open("k/list").await;
        for n in 0..VOLUMES {
            store.create(&format!("v{n}").parse().unwrap(), Default::default()).await.unwrap();
        }
        let empty = listed(&store).await;
        // At the server, so that this host has seen nothing of it.
        shell(
            "for t in /srv/k/list/volumes/*/data/*; do mkdir $t/d; for n in 1 2 3 4 5; do echo x >$t/d/$n; done; done",
        );
        let full = listed(&store).await;
        println!("list of {VOLUMES}: {empty} round trips, with data {full}");
        assert!(full <= empty, "{full} round trips with data, {empty} without");
        store.close().await.unwrap();
    });
}

/// Round trips of one listing.
async fn listed(store: &Arc<dyn VolumeStore>) -> u64 {
    use futures::TryStreamExt;
    // The first one fills the client's caches.
    let mut counts = Vec::new();
    for _ in 0..2 {
        let before = Counted::now("/m42");
        let found: Vec<_> = store.list(ListOptions::default()).try_collect().await.unwrap();
        assert_eq!(found.len() as u64, VOLUMES);
        counts.push(Counted::now("/m42").since(&before).total());
    }
    counts[1]
}
