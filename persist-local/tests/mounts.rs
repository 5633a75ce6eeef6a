//! Attachments of a local store where the kernel enforces them: mounts, readers, mapped owners, targets.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails by a panic and says what it skips"
)]

use persist_core::{
    Access, AttachOptions, Attachment, Capabilities, CreateOptions, DetachOptions, ErrorKind, OpenMode,
    OpenOptions, SnapshotName, SnapshotOptions, StoreUrl, VolumeName, VolumeStore,
    attachment::{IdMapping, MountPolicy, Mounted, Permission},
    linux::{
        mountinfo::{Mount, MountTable},
        process::this_host,
    },
};
use persist_local::open;
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

/// A store with one volume, opened as this host.
struct Bench {
    dir: TempDir,
    store: Arc<dyn VolumeStore>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = StoreUrl::local(&dir.path().join("store")).unwrap();
        let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
        let store = open(&url, options.with_node(this_host().unwrap())).await.unwrap();
        store.create(&volume(), CreateOptions::default()).await.unwrap();
        Self { dir, store }
    }

    /// `None`, and said, where this process may not mount.
    async fn with_mounts() -> Option<Self> {
        let bench = Self::new().await;
        let mounts = bench.store.info().capabilities.contains(Capabilities::MOUNTS);
        if !mounts {
            eprintln!("skipped: {}", bench.store.info().characteristics.remarks.join("; "));
        }
        mounts.then_some(bench)
    }

    fn target(&self, name: &str) -> PathBuf {
        let target = self.dir.path().canonicalize().unwrap().join(name);
        fs::create_dir(&target).unwrap();
        target
    }

    async fn attach(&self, options: AttachOptions) -> persist_core::Result<Attachment> {
        self.store.attach(&volume(), options).await
    }

    async fn detach(&self, attachment: &Attachment) {
        self.store.detach(&attachment.id, DetachOptions::default()).await.unwrap();
    }

    /// The mounts in and beside the store.
    fn mounts(&self) -> Vec<Mount> {
        let root = self.dir.path().canonicalize().unwrap();
        let table = MountTable::read().unwrap();
        table.mounts().iter().filter(|mount| mount.at.starts_with(&root)).cloned().collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for mount in self.mounts().iter().rev() {
            let _ = rustix::mount::unmount(&mount.at, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

fn volume() -> VolumeName {
    VolumeName::new("shop").unwrap()
}

fn workload(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(persist_core::Workload::new(name).unwrap())
}

fn refused_as_read_only(result: io::Result<()>) {
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
}

#[tokio::test]
async fn a_writer_and_live_readers_share_the_files_and_only_the_writer_writes() {
    let Some(bench) = Bench::with_mounts().await else { return };
    let target = bench.target("reader");
    let writer = bench.attach(workload("writer")).await.unwrap();
    fs::write(writer.path().join("hello"), "world").unwrap();
    let at_target = workload("reader").with_access(Access::ReadOnly).with_target(target.clone());
    let inside = workload("another").with_access(Access::ReadOnly);
    let mut readers = Vec::new();
    for options in [at_target, inside] {
        let reader = bench.attach(options).await.unwrap();
        assert_eq!(reader.report().mounted, Mounted::ReadOnly);
        assert_eq!(fs::read_to_string(reader.path().join("hello")).unwrap(), "world");
        refused_as_read_only(fs::write(reader.path().join("hello"), "x"));
        refused_as_read_only(fs::write(reader.path().join("new"), "x"));
        readers.push(reader);
    }
    assert_eq!(readers[0].path(), target);
    fs::write(writer.path().join("hello"), "again").unwrap();
    assert_eq!(fs::read_to_string(readers[1].path().join("hello")).unwrap(), "again");
    for attachment in readers.iter().chain([&writer]) {
        bench.detach(attachment).await;
    }
    assert_eq!((bench.mounts(), target.read_dir().unwrap().count()), (vec![], 0));
}

#[tokio::test]
async fn a_mount_at_a_target_has_the_policy_and_is_the_same_filesystem() {
    let Some(bench) = Bench::with_mounts().await else { return };
    let target = bench.target("target");
    let policy = MountPolicy::default().with_execute(Permission::Denied);
    let options = workload("w").with_target(target.clone()).with_policy(policy);
    let attachment = bench.attach(options).await.unwrap();
    assert_eq!((attachment.path(), attachment.report().mounted), (target.as_path(), Mounted::ReadWrite));
    let table = MountTable::read().unwrap();
    let (mount, store) = (table.at(&target).unwrap(), table.covering(bench.dir.path()).unwrap());
    assert_eq!((&mount.device, &mount.filesystem), (&store.device, &store.filesystem));
    for word in ["nosuid", "nodev", "noexec"] {
        assert!(mount.has(word), "{word}: {mount:?}");
    }
    fs::copy("/bin/true", target.join("true")).unwrap();
    let run = std::process::Command::new(target.join("true")).status();
    assert_eq!(run.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    bench.detach(&attachment).await;
    assert_eq!(bench.mounts(), []);
}

#[tokio::test]
async fn owners_are_mapped_for_a_workload() {
    let Some(bench) = Bench::with_mounts().await else { return };
    if !bench.store.info().capabilities.contains(Capabilities::ID_MAP) {
        eprintln!("skipped: owners cannot be mapped here");
        return;
    }
    let target = bench.target("target");
    let map = vec![IdMapping { on_volume: 0, on_mount: 100_000, count: 65_536 }];
    let policy = MountPolicy::default().with_id_map(map);
    let attachment =
        bench.attach(workload("w").with_target(target.clone()).with_policy(policy)).await.unwrap();
    assert_eq!(fs::metadata(&target).unwrap().uid(), 100_000);
    // The mount has no id for the host's root: as in a container, its own root (100000) writes.
    assert!(fs::write(target.join("file"), "x").is_err());
    chown(&target, Some(100_005), None).unwrap();
    bench.detach(&attachment).await;
    let plain = bench.attach(workload("w")).await.unwrap();
    assert_eq!(fs::metadata(plain.path()).unwrap().uid(), 5);
}

#[tokio::test]
async fn a_hostile_target_is_refused_and_the_volume_stays_free() {
    let Some(bench) = Bench::with_mounts().await else { return };
    let (good, full) = (bench.target("good"), bench.target("full"));
    fs::create_dir(full.join("theirs")).unwrap();
    std::os::unix::fs::symlink(&good, bench.dir.path().join("link")).unwrap();
    fs::write(bench.dir.path().join("file"), "x").unwrap();
    let inside = bench.store.info().location.trim_start_matches("local://").to_owned() + "/volumes";
    for target in [
        bench.dir.path().join("link"),
        bench.dir.path().join("file"),
        bench.dir.path().join("missing"),
        full.clone(),
        PathBuf::from(inside),
        PathBuf::from("/"),
    ] {
        let error = bench.attach(workload("w").with_target(target.clone())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{target:?}: {error}");
    }
    assert_eq!(bench.mounts(), []);
    let attachment = bench.attach(workload("other").with_target(good)).await.unwrap();
    bench.detach(&attachment).await;
}

#[tokio::test]
async fn a_pinned_reader_sees_its_snapshot_and_cannot_change_it() {
    let bench = Bench::new().await;
    let writer = bench.attach(workload("writer")).await.unwrap();
    fs::write(writer.path().join("hello"), "before").unwrap();
    let name = SnapshotName::new("s1").unwrap();
    bench.store.snapshot(&volume(), &name, SnapshotOptions::default()).await.unwrap();
    fs::write(writer.path().join("hello"), "after").unwrap();
    let pinned = || workload("reader").with_access(Access::ReadOnly).with_snapshot(name.clone());
    let reader = bench.attach(pinned()).await.unwrap();
    let seen = |path: &Path| fs::read_to_string(path.join("hello")).unwrap();
    assert_eq!(seen(reader.path()), "before");
    // Without a mount the reader has a copy of its own: on btrfs a sealed one, elsewhere one that it may
    // spoil for itself alone.
    let written = fs::write(reader.path().join("hello"), "spoilt");
    assert!(written.is_err() || reader.report().mounted == Mounted::No);
    bench.detach(&reader).await;
    let again = bench.attach(pinned()).await.unwrap();
    assert_eq!(seen(again.path()), "before");
}
