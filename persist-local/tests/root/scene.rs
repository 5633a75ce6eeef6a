//! A store on a filesystem, operated by scripts and compared with the model.

use super::model::{By, Model, Op, Volume};
use futures::TryStreamExt;
use persist_core::{
    AttachOptions, CreateOptions, DetachOptions, ErrorKind, Node, NodeId, OpenMode, OpenOptions, Result,
    SnapshotName, SnapshotOptions, Source, StoreUrl, SyncOptions, VolumeName, VolumeStore, Workload,
    attachment::{AdoptOptions, AttachmentFilter},
    care::{PruneMode, PruneOptions, VerifyOptions},
    holder::BootId,
    snapshot::{DeleteSnapshotOptions, Replaced, RestoreOptions, SnapshotKind},
    tree::TreePath,
    volume::{DeleteOptions, Import, ListOptions, SnapshotsAlong, Trash},
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Opens the store at `root` as a node that is always the same.
pub async fn open(root: &Path) -> Result<Arc<dyn VolumeStore>> {
    let node = Node::new(NodeId::new("node")?, BootId::new("boot")?);
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node);
    persist_local::open(&StoreUrl::local(root)?, options).await
}

/// Does `op` in the store at `root`; a repeat of it is the same.
pub async fn perform(root: &Path, store: &Arc<dyn VolumeStore>, op: &Op) -> Result<()> {
    match op {
        Op::Create { volume } => drop(store.create(&vol(volume), CreateOptions::default()).await?),
        Op::Import { volume, from, by, .. } => {
            let import = if *by == By::Move { Import::Move } else { Import::Copy };
            let source = Source::Directory { path: beside(root, from), import };
            drop(store.create(&vol(volume), CreateOptions::default().with_source(source)).await?);
        }
        Op::Touch { volume } => attach_and_detach(store, volume, writer()).await?,
        Op::Mount { volume } => {
            make_target(root, volume);
            attach_and_detach(store, volume, writer().with_target(target(root, volume))).await?;
        }
        Op::Adopt { volume } => adopt(root, store, volume).await?,
        Op::Write { volume, value } => write(store, volume, *value).await?,
        Op::Snapshot { volume, snapshot } => {
            drop(store.snapshot(&vol(volume), &snap(snapshot), SnapshotOptions::default()).await?);
        }
        Op::Restore { volume, snapshot } => {
            let options = RestoreOptions::default().with_replaced(Replaced::Discard);
            drop(store.restore(&vol(volume), &snap(snapshot), options).await?);
        }
        Op::DeleteSnapshot { volume, snapshot } => {
            let options = DeleteSnapshotOptions::default();
            store.delete_snapshot(&vol(volume), &snap(snapshot), options).await?;
        }
        Op::Clone { volume, snapshot, to } => {
            let source = Source::Snapshot { volume: vol(volume), snapshot: snap(snapshot) };
            drop(store.create(&vol(to), CreateOptions::default().with_source(source)).await?);
        }
        Op::Delete { volume } => {
            let options =
                DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete).with_trash(Trash::Bypass);
            drop(store.delete(&vol(volume), options).await?);
        }
        Op::Prune => drop(store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await?),
    }
    Ok(())
}

async fn attach_and_detach(store: &Arc<dyn VolumeStore>, volume: &str, options: AttachOptions) -> Result<()> {
    let attachment = store.attach(&vol(volume), options).await?;
    store.detach(&attachment.id, DetachOptions::default()).await.map(drop)
}

/// Attaches by another opening of the store, which lets go.
async fn adopt(root: &Path, store: &Arc<dyn VolumeStore>, volume: &str) -> Result<()> {
    let first = open(root).await?;
    let record = first.attach(&vol(volume), writer()).await?.record().clone();
    first.close().await?;
    let adopted = store.adopt(&record, AdoptOptions::default()).await?;
    store.detach(&adopted.id, DetachOptions::default()).await.map(drop)
}

/// Takes up what was mounted when its process went, and detaches it.
async fn take_mounts_away(root: &Path, store: &Arc<dyn VolumeStore>) -> Result<()> {
    let left: Vec<_> = store.attachments(AttachmentFilter::default()).try_collect().await?;
    for record in left.iter().filter(|record| record.target.is_some()) {
        make_target(root, record.volume_name.as_str());
        let adopted = store.adopt(record, AdoptOptions::default()).await?;
        let _whole = value_at(adopted.path());
        store.detach(&adopted.id, DetachOptions::default()).await?;
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = target(root, "");
    assert!(!table.contains(mounts.to_str().unwrap()), "a mount is left:\n{table}");
    Ok(())
}

/// What the store really holds.
pub async fn observe(store: &Arc<dyn VolumeStore>) -> Result<Model> {
    let mut model = Model::default();
    let volumes: Vec<_> = store.list(ListOptions::default()).try_collect().await?;
    for volume in volumes {
        let mut held = Volume::default();
        let snapshots: Vec<_> = store.snapshots(&volume.name, ListOptions::default()).try_collect().await?;
        for record in snapshots.iter().filter(|s| s.kind == SnapshotKind::Named) {
            held.snapshots
                .insert(record.name.to_string(), value_of_snapshot(store, &volume.name, &record.name).await?);
        }
        let attachment = store.attach(&volume.name, writer()).await?;
        held.value = value_at(attachment.path());
        store.detach(&attachment.id, DetachOptions::default()).await?;
        model.volumes.insert(volume.name.to_string(), held);
    }
    Ok(model)
}

/// Prunes until nothing is left over. What another trial has just forked holds our descriptors until its exec, and so
/// locks that we have given up (fork(2), flock(2)): what they are for is left to a later prune.
const PRUNES_MAX: usize = 100;

/// Nothing is wrong with the store, and nothing is left over once it was pruned.
pub async fn check_sound(store: &Arc<dyn VolumeStore>) -> Result<()> {
    let mut left = Vec::new();
    for _ in 0..PRUNES_MAX {
        store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await?;
        left = store.prune(PruneOptions::default()).await?.items;
        if left.is_empty() {
            break;
        }
    }
    assert!(left.is_empty(), "left over after a prune: {left:?}");
    let verified = store.verify(VerifyOptions::default()).await?;
    assert!(verified.faults.is_empty(), "faults: {:?}", verified.faults);
    Ok(())
}

/// After an interruption in `op`: the store is as before or after it, a repeat succeeds, and nothing is
/// left over. Returns the state, which is the one after `op`.
pub async fn check_interrupted(root: &Path, before: &Model, op: Option<&Op>) -> Result<Model> {
    let store = open(root).await?;
    take_mounts_away(root, &store).await?;
    let seen = observe(&store).await?;
    let after = op.map_or_else(|| before.clone(), |op| before.after(op));
    assert!(seen == *before || seen == after, "interrupted in {op:?}\nbefore {before:#?}\nseen {seen:#?}");
    if let Some(op) = op {
        perform(root, &store, op).await?;
        let repeated = observe(&store).await?;
        assert_eq!(repeated, after, "after the repeat of {op:?}");
    }
    check_sound(&store).await?;
    store.close().await?;
    if let Some(Op::Import { from, value, by: By::Copy, .. }) = op {
        assert_eq!(value_at(&beside(root, from)), *value, "a source that was copied");
    }
    Ok(after)
}

fn beside(root: &Path, path: &Path) -> PathBuf {
    root.with_file_name(path)
}

/// Makes the directory where a volume is mounted: a power cut may have taken it.
pub fn make_target(root: &Path, volume: &str) {
    let target = target(root, volume);
    if !target.exists() {
        fs::create_dir_all(target).unwrap();
    }
}

/// Where a volume is mounted.
fn target(root: &Path, volume: &str) -> PathBuf {
    root.with_extension("mounts").join(volume)
}

fn vol(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

fn snap(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

/// One workload that outlives our processes: each new one takes up what the last one left.
fn writer() -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new("script").unwrap())
}

async fn write(store: &Arc<dyn VolumeStore>, volume: &str, value: u64) -> Result<()> {
    let attachment = store.attach(&vol(volume), writer()).await?;
    plant_on_a_thread(attachment.path(), value).await?;
    store.sync(&attachment.id, SyncOptions::default()).await?;
    store.detach(&attachment.id, DetachOptions::default()).await?;
    Ok(())
}

/// Where the store does its own file work: of the calls of one thread each has a number, for strace(1).
async fn plant_on_a_thread(root: &Path, value: u64) -> Result<()> {
    let root = root.to_owned();
    let planted = tokio::task::spawn_blocking(move || plant(&root, value)).await;
    planted.unwrap().map_err(as_error)
}

fn as_error(error: std::io::Error) -> persist_core::Error {
    persist_core::Error::new(ErrorKind::Unavailable, "the script could not write").with_source(error)
}

/// Writes the tree of `value` beside the one that is there, switches to it, and removes the other.
pub fn plant(root: &Path, value: u64) -> std::io::Result<()> {
    let (dir, link) = (root.join(format!("d{value}")), root.join("next"));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir(&dir)?;
    fs::write(dir.join("small"), content(value, 100))?;
    fs::write(dir.join("large"), content(value, 300_000))?;
    fs::hard_link(dir.join("small"), dir.join("linked"))?;
    let _ = fs::remove_file(&link);
    symlink(format!("d{value}"), &link)?;
    fs::rename(&link, root.join("current"))?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path() != dir {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The value of the tree at `root`, all of which must be there.
fn value_at(root: &Path) -> u64 {
    let Ok(target) = fs::read_link(root.join("current")) else { return 0 };
    let value = target.to_str().and_then(|text| text.strip_prefix('d')).unwrap().parse().unwrap();
    let dir = root.join(target);
    assert_eq!(fs::read(dir.join("large")).unwrap(), content(value, 300_000), "large of {value}");
    assert_eq!(fs::read(dir.join("linked")).unwrap(), content(value, 100), "linked of {value}");
    value
}

async fn value_of_snapshot(
    store: &Arc<dyn VolumeStore>,
    volume: &VolumeName,
    name: &SnapshotName,
) -> Result<u64> {
    let tree = store.open_snapshot(volume, name).await?;
    let current = TreePath::new("current")?;
    let Some(entry) = tree.entry(&current).await? else { return Ok(0) };
    let persist_core::tree::EntryKind::Symlink { target } = entry.kind else {
        panic!("current is {:?}", entry.kind)
    };
    let dir = String::from_utf8(target).unwrap();
    let value = dir.strip_prefix('d').unwrap().parse().unwrap();
    for (file, size) in [("large", 300_000), ("small", 100), ("linked", 100)] {
        let path = TreePath::new(format!("{dir}/{file}"))?;
        let bytes = tree.read(&path, 0..u64::MAX).await?;
        assert_eq!(bytes, content(value, size), "{file} of {value} in {name}");
    }
    Ok(value)
}

fn content(value: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    while bytes.len() < size {
        writeln!(bytes, "{value} at {}", bytes.len()).unwrap();
    }
    bytes.truncate(size);
    bytes
}
