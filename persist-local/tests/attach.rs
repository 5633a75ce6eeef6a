//! Attaching on a real filesystem: mounts of the kernel, and holders that are killed.
//! What needs privilege says that it was skipped as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test ends where its ground gives way"
)]

use persist_core::{
    Access, AttachOptions, AttachmentRecord, CreateOptions, DetachOptions, ErrorKind, Lifetime, OpenMode,
    OpenOptions, SnapshotName, SnapshotOptions, StoreUrl, VolumeName, VolumeSpec, VolumeStore, Workload,
    attachment::{AdoptOptions, Mounted, RefreshOptions},
    linux::process::this_host,
    snapshot::Outcome,
};
use persist_local::open;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

async fn store(dir: &TempDir) -> Arc<dyn VolumeStore> {
    store_at(&dir.path().join("store")).await
}

async fn store_at(root: &Path) -> Arc<dyn VolumeStore> {
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(this_host().unwrap());
    Arc::new(open(&StoreUrl::local(root).unwrap(), options).await.unwrap())
}

fn v() -> VolumeName {
    VolumeName::new("v").unwrap()
}

fn by(workload: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(workload).unwrap())
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: mounting needs root");
    }
    root
}

/// The options of the mount at `path`; `None` if there is none.
fn mount_at(path: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == path.to_str())?;
    Some(line.split(' ').nth(5).unwrap().to_owned())
}

fn directory(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().canonicalize().unwrap().join(name);
    fs::create_dir(&path).unwrap();
    path
}

async fn snapshot(store: &Arc<dyn VolumeStore>, name: &str) -> SnapshotName {
    let name = SnapshotName::new(name).unwrap();
    store.snapshot(&v(), &name, SnapshotOptions::default()).await.unwrap();
    name
}

#[tokio::test]
async fn a_mount_at_the_target_shows_the_volume_under_its_policy() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, target) = (store(&dir).await, directory(&dir, "target"));
    store.create(&v(), CreateOptions::default()).await.unwrap();
    let one = store.attach(&v(), by("a").with_target(&target)).await.unwrap();
    assert_eq!((one.path(), one.report().mounted), (target.as_path(), Mounted::ReadWrite));
    fs::write(target.join("f"), "x").unwrap();
    let options = mount_at(&target).unwrap();
    assert!(options.contains("rw") && options.contains("nosuid") && options.contains("nodev"), "{options}");
    let open = fs::File::open(target.join("f")).unwrap();
    assert_eq!(store.detach(&one.id, DetachOptions::default()).await.unwrap_err().kind(), ErrorKind::InUse);
    drop(open);
    store.detach(&one.id, DetachOptions::default()).await.unwrap();
    assert_eq!((mount_at(&target), fs::read_dir(&target).unwrap().count()), (None, 0));
    let again = store.attach(&v(), by("a")).await.unwrap();
    assert_eq!(fs::read_to_string(again.path().join("f")).unwrap(), "x");
}

#[tokio::test]
async fn a_reader_cannot_write_and_is_moved_on() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, target) = (store(&dir).await, directory(&dir, "target"));
    store.create(&v(), CreateOptions::default()).await.unwrap();
    let writer = store.attach(&v(), by("w")).await.unwrap();
    fs::write(writer.path().join("f"), "one").unwrap();
    let first = snapshot(&store, "s1").await;
    let read_only = |workload| by(workload).with_access(Access::ReadOnly);
    let pinned = store.attach(&v(), read_only("p").with_snapshot(first.clone())).await.unwrap();
    let there = store.attach(&v(), read_only("t").with_snapshot(first).with_target(&target)).await.unwrap();
    let live = store.attach(&v(), read_only("l")).await.unwrap();
    fs::write(writer.path().join("f"), "two").unwrap();
    for (reader, content) in [(&pinned, "one"), (&there, "one"), (&live, "two")] {
        assert_eq!(fs::read_to_string(reader.path().join("f")).unwrap(), content);
        let refused = fs::write(reader.path().join("f"), "scribbled").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(reader.report().mounted, Mounted::ReadOnly);
    }
    snapshot(&store, "s2").await;
    for reader in [&pinned, &there] {
        let newer = store.refresh(&reader.id, RefreshOptions::default()).await.unwrap();
        assert_eq!((newer.outcome, newer.path != reader.path()), (Outcome::Done, true));
        assert_eq!(fs::read_to_string(newer.path.join("f")).unwrap(), "two");
        assert_eq!(fs::read_to_string(reader.path().join("f")).unwrap(), "one", "the older tree stays");
        assert!(fs::write(newer.path.join("f"), "scribbled").is_err());
    }
    for reader in [pinned, there, live] {
        store.detach(&reader.id, DetachOptions::default()).await.unwrap();
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(dir.path().to_str().unwrap()), "a mount is left: {table}");
}

#[tokio::test]
async fn a_volume_that_lives_as_long_as_its_attachments_ends_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    let spec = VolumeSpec::default().with_lifetime(Lifetime::Attachment);
    store.create(&v(), CreateOptions::default().with_spec(spec)).await.unwrap();
    let shared = |workload| by(workload).with_access(Access::SharedOnNode);
    let one = store.attach(&v(), shared("1")).await.unwrap();
    let two = store.attach(&v(), shared("2")).await.unwrap();
    let first = store.detach(&one.id, DetachOptions::default()).await.unwrap();
    assert_eq!((first.ended, store.get(&v()).await.is_ok()), (None, true));
    let last = store.detach(&two.id, DetachOptions::default()).await.unwrap();
    assert_eq!((last.ended, last.left), (Some(Lifetime::Attachment), vec![]));
    assert_eq!(store.get(&v()).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!two.path().exists());
}

/// A process of its own that attaches `v` as `workload` and then waits to be killed.
struct Other {
    child: Child,
    record: AttachmentRecord,
}

impl Other {
    fn attach(root: &Path, workload: &str, target: Option<&Path>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "other_process", "--nocapture"])
            .env("PERSIST_TEST_STORE", root)
            .env("PERSIST_TEST_WORKLOAD", workload)
            .env("PERSIST_TEST_TARGET", target.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map(Result::unwrap).find(|line| line.contains("attached: ")).unwrap();
        let record = serde_json::from_str(said.split_once("attached: ").unwrap().1).unwrap();
        Self { child, record }
    }

    fn kill(mut self) -> AttachmentRecord {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.record
    }
}

/// No test of its own: what [`Other`] runs.
#[tokio::test]
async fn other_process() {
    let Some(root) = std::env::var_os("PERSIST_TEST_STORE") else { return };
    let store = store_at(Path::new(&root)).await;
    let mut options = AttachOptions::default();
    let workload = std::env::var_os("PERSIST_TEST_WORKLOAD").unwrap().into_string().unwrap();
    if !workload.is_empty() {
        options = options.with_workload(Workload::new(workload).unwrap());
    }
    let target = PathBuf::from(std::env::var_os("PERSIST_TEST_TARGET").unwrap());
    if target != Path::new("") {
        options = options.with_target(target);
    }
    let attachment = store.attach(&v(), options).await.unwrap();
    println!("attached: {}", serde_json::to_string(attachment.record()).unwrap());
    std::io::stdin().lines().for_each(drop);
}

#[tokio::test]
async fn a_killed_process_makes_room_and_a_live_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    store.create(&v(), CreateOptions::default()).await.unwrap();
    let target = rustix::process::geteuid().is_root().then(|| directory(&dir, "target"));
    let other = Other::attach(&dir.path().join("store"), "", target.as_deref());
    let refused = store.attach(&v(), AttachOptions::default()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.holders()[0].pid), (ErrorKind::InUse, Some(other.child.id())));
    let lost = other.kill();
    let mine = store.attach(&v(), AttachOptions::default()).await.unwrap();
    assert_eq!(mine.report().replaced, [(lost.id, lost.epoch)]);
    assert!(mine.epoch > lost.epoch && target.is_none_or(|target| mount_at(&target).is_none()));
}

#[tokio::test]
async fn an_agent_that_was_killed_never_loses_the_volume_of_its_workload() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir).await;
    store.create(&v(), CreateOptions::default()).await.unwrap();
    let target = rustix::process::geteuid().is_root().then(|| directory(&dir, "target"));
    let other = Other::attach(&dir.path().join("store"), "container-1", target.as_deref());
    let refused = store.adopt(&other.record, AdoptOptions::default()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.holders()[0].pid), (ErrorKind::InUse, Some(other.child.id())));
    let record = other.kill();
    assert_eq!(store.attach(&v(), by("container-2")).await.unwrap_err().kind(), ErrorKind::InUse);
    let adopted = store.adopt(&record, AdoptOptions::default()).await.unwrap();
    assert_eq!(adopted.id, record.id);
    assert!(adopted.epoch > record.epoch && target.is_none_or(|target| mount_at(&target).is_some()));
    store.detach(&adopted.id, DetachOptions::default()).await.unwrap();
}
