//! What calls cost the server, counted by the kernel's client (`/proc/self/mountstats`).

use super::{block, shell};
use futures::TryStreamExt;
use libtest_mimic::Trial;
use persist_core::{
    AttachOptions, OpenMode, OpenOptions, VolumeStore, Workload, linux::process::this_host,
    volume::ListOptions,
};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 4] = [
        ("an_attach_on_a_mounted_export_takes_a_bounded_number_of_round_trips", attach),
        ("a_snapshot_on_4_2_transfers_no_data", snapshot),
        ("listing_volumes_does_not_look_at_their_data", list),
        ("listing_many_volumes_costs_as_much_for_each_of_them", many),
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
        let all = fs::read_to_string("/proc/self/mountstats").unwrap();
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

/// What is seen, 37 on Linux 6.1, and a few more for what the server may ask back of its delegations. Eighteen publish two
/// records (open, write, link, close, unlink, and the look at what is there then), ten are the two locks, and the rest
/// fetches the attributes of directories, so that no decision rests on what the client remembers.
const ATTACH_MAX: u64 = 40;

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
        fs::write(attachment.path().join("f"), vec![7; 16 << 20]).unwrap();
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

/// So many that a cost for each would show; ten thousand take an emulated machine minutes.
const MANY: u64 = 1000;

/// What is seen, 22 on Linux 6.1 by a client that has seen none of them before, and a few more. Of each volume its name, its
/// record and its epochs are looked at: a directory each, found, asked whether it may be read, and listed; and a
/// file of the first two, opened, read and closed.
const EACH_MAX: u64 = 25;

fn many() {
    block(async {
        let store = open("k/many").await;
        let made = store.create(&"v0".parse().unwrap(), Default::default()).await.unwrap();
        plant(Path::new("/srv/k/many"), &made.volume.id.to_string(), MANY - 1);
        let before = Counted::now("/m42");
        let found: Vec<_> = store.list(ListOptions::default()).try_collect().await.unwrap();
        let counted = Counted::now("/m42").since(&before);
        println!("list of {MANY}: {} round trips: {:?}", counted.total(), counted.operations);
        assert_eq!(found.len() as u64, MANY);
        assert!(counted.total() <= MANY * EACH_MAX, "{counted:?}");
        let before = Counted::now("/m42");
        let first = ListOptions::default().with_limit(1_usize);
        let found: Vec<_> = store.list(first).try_collect().await.unwrap();
        let counted = Counted::now("/m42").since(&before);
        println!("the first of {MANY}: {} round trips: {:?}", counted.total(), counted.operations);
        assert_eq!(found.len(), 1);
        assert!(counted.total() <= MANY / 10, "{counted:?}");
        store.close().await.unwrap();
    });
}

/// Makes `count` volumes at the server as the one with this id: through the store it would take half an hour.
fn plant(store: &Path, id: &str, count: u64) {
    let (volumes, names) = (store.join("volumes"), store.join("names"));
    let named = fs::read_to_string(names.join("v0/1")).unwrap();
    let record = fs::read_to_string(volumes.join(id).join("records/1")).unwrap();
    for n in 1..=count {
        let (name, other) = (format!("v{n}"), format!("{}{n:012x}", &id[..24]));
        let (name_at, at) = (names.join(&name), volumes.join(&other));
        fs::create_dir(&name_at).unwrap();
        fs::write(name_at.join("1"), named.replace(id, &other)).unwrap();
        for part in ["records", "data", "snapshots", "attachments", "served", "views", "epochs", "intents"] {
            fs::create_dir_all(at.join(part)).unwrap();
        }
        let record = record.replace(id, &other).replace("\"v0\"", &format!("\"{name}\""));
        fs::write(at.join("records/1"), record).unwrap();
    }
}

/// Round trips of one listing.
async fn listed(store: &Arc<dyn VolumeStore>) -> u64 {
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
