//! What the tests of this module share, and the promises of opening, serving and remembering.

mod commit;

pub(super) use commit::Commit;

use super::{
    state::{Hydrated, Shown},
    *,
};
use crate::head::{
    names::UniqueName,
    record::{CommitName, Digest, Head},
    recovery::{Recovery, Tree},
};
use persist_core::{
    Access, AttachmentId, AttachmentRecord, Epoch, ErrorKind, Holder, Liveness, NodeId, VolumeName, Workload,
    clock::SystemEnvironment, holder::BootId, progress::Meter, tree::TreeTotals,
};
use std::{os::unix::fs::PermissionsExt, path::PathBuf, process::Command};
use tempfile::TempDir;

/// A workspace directory on some filesystem; unmounted when dropped.
pub(super) struct Bench {
    pub(super) dir: TempDir,
    mounted: Option<PathBuf>,
}

impl Bench {
    pub(super) fn plain() -> Self {
        // Not on tmpfs, which is refused; the target directory of the build is not.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../target").unwrap();
        Self { dir, mounted: None }
    }

    /// A fresh btrfs; `None`, and said, where none can be made.
    pub(super) fn btrfs() -> Option<Self> {
        let mut bench = Self::plain();
        let (image, at) = (bench.dir.path().join("image"), bench.dir.path().join("at"));
        fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        let done = |command: &mut Command| command.output().is_ok_and(|done| done.status.success());
        if !rustix::process::geteuid().is_root()
            || !done(Command::new("mkfs.btrfs").arg("-q").arg(&image))
            || !done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))
        {
            eprintln!("skipped: no btrfs can be made and mounted here");
            return None;
        }
        bench.mounted = Some(at);
        Some(bench)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.mounted.as_deref().unwrap_or(self.dir.path()).join("workspaces")
    }

    pub(super) async fn open(&self) -> Workspaces {
        let node = Node::new(NodeId::new("host").unwrap(), BootId::new("boot").unwrap());
        Workspaces::open(&self.path(), Some(node), Environment::default()).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(at) = &self.mounted {
            let _ = Command::new("umount").arg("-l").arg(at).status();
        }
    }
}

pub(super) fn volume() -> VolumeId {
    VolumeId::mint(&SystemEnvironment, &SystemEnvironment)
}

pub(super) fn commit(seq: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(1), hash: Digest::of(&seq.to_le_bytes()) }
}

pub(super) fn head(volume: &VolumeId, at: Option<CommitName>) -> Head {
    let mut head =
        Head::new(volume.clone(), VolumeName::new("v").unwrap(), UniqueName::of(Epoch::ZERO, 0, b""), 1)
            .unwrap();
    head.commit = at;
    head
}

#[tokio::test]
async fn two_may_open_a_directory_and_one_serves_a_workspace() {
    let bench = Bench::plain();
    let (one, other) = (bench.open().await, bench.open().await);
    let (a, b) = (volume(), volume());
    let served = one.serve(&a).await.unwrap();
    let refused = other.serve(&a).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InUse);
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    other.serve(&b).await.unwrap();
    drop(served);
    other.serve(&a).await.unwrap();
    let mut wanted = [a, b];
    wanted.sort();
    assert_eq!(one.list().await.unwrap(), wanted);
}

#[tokio::test]
async fn a_workspace_directory_is_closed_to_others_and_one_in_memory_is_refused_without_a_trace() {
    let bench = Bench::plain();
    let spaces = bench.open().await;
    for path in [bench.path(), bench.path().join("near"), bench.path().join("work")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700, "{path:?}");
    }
    spaces.close().await.unwrap();
    fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let open =
        |at: PathBuf| async move { Workspaces::open(&at, None, Environment::default()).await.unwrap_err() };
    assert_eq!(open(bench.path()).await.kind(), ErrorKind::Denied);
    assert_eq!(open("relative".into()).await.kind(), ErrorKind::Invalid);
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let error = open(memory.path().join("w")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(fs::read_dir(memory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_workspace_remembers_is_there_after_its_process() {
    let bench = Bench::plain();
    let spaces = bench.open().await;
    let id = volume();
    let workspace = spaces.serve(&id).await.unwrap();
    assert_eq!(workspace.state().hydrated, Hydrated::Partly);
    assert!(workspace.allow_writes(Epoch::new(1)).await.is_err(), "nothing is there to be written");
    fs::create_dir(bench.dir.path().join("c")).unwrap();
    workspace
        .hydrate(Some(commit(1)), Commit::of(&bench.dir.path().join("c")), &Meter::default())
        .await
        .unwrap();
    workspace.allow_writes(Epoch::new(5)).await.unwrap();
    let holder = Holder::new(
        Node::new(NodeId::new("host").unwrap(), BootId::new("boot").unwrap()),
        Workload::new("w").unwrap(),
        Liveness::External,
    );
    let [far, near] = [(); 2].map(|()| AttachmentId::mint(&SystemEnvironment, &SystemEnvironment));
    let now = bench.open().await.0.environment.clock.now();
    let of = (id.clone(), VolumeName::new("v").unwrap());
    let record = AttachmentRecord::new(far.clone(), of, holder, Access::ReadWrite, Epoch::new(5), now);
    let shown = Shown { record, near };
    workspace.show(shown.clone()).await.unwrap();
    drop(workspace);

    let again = spaces.serve(&id).await.unwrap();
    let state = again.state();
    assert_eq!((state.base.clone(), state.tree, state.epoch), (Some(commit(1)), Tree::Dirty, Epoch::new(5)));
    assert_eq!(again.shown().await.unwrap(), [shown]);
    assert!(again.rows().await.unwrap().is_some());
    again.forget(&far).await.unwrap();
    again.forget(&far).await.unwrap();
    assert_eq!(again.shown().await.unwrap(), []);
    assert_eq!(again.settle(&head(&id, Some(commit(1)))).await.unwrap(), Recovery::Keep);
    assert_eq!(again.settle(&head(&id, Some(commit(2)))).await.unwrap(), Recovery::SalvageThenHydrate);
    again.salvaged().await.unwrap();
    assert_eq!(again.settle(&head(&id, Some(commit(2)))).await.unwrap(), Recovery::Hydrate);
}

#[tokio::test]
async fn a_commit_that_was_offered_before_a_kill_counts_with_its_record_if_the_head_has_it() {
    for accepted in [true, false] {
        let bench = Bench::plain();
        let spaces = bench.open().await;
        let id = volume();
        let workspace = spaces.serve(&id).await.unwrap();
        fs::create_dir(bench.dir.path().join("c")).unwrap();
        let tree = Commit::of(&bench.dir.path().join("c"));
        workspace.hydrate(Some(commit(1)), tree, &Meter::default()).await.unwrap();
        workspace.allow_writes(Epoch::new(2)).await.unwrap();
        // What it is a record of is known once the commit has its name.
        let record = record::RowWriter::new(workspace.drafts(), workspace.of()).unwrap().finish().unwrap();
        workspace.offer(commit(2), record, TreeTotals::default()).await.unwrap();
        drop(workspace);

        let again = spaces.serve(&id).await.unwrap();
        let at = if accepted { commit(2) } else { commit(1) };
        assert_eq!(again.settle(&head(&id, Some(at.clone()))).await.unwrap(), Recovery::Keep);
        assert_eq!((again.state().base, again.state().offered), (Some(at.clone()), None));
        assert_eq!(again.rows().await.unwrap().unwrap().count(), usize::from(!accepted));
        let left: Vec<_> = fs::read_dir(again.drafts()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("next-")), "{left:?}");
    }
}

#[tokio::test]
async fn records_that_cannot_be_read_are_left_as_they_are() {
    let bench = Bench::plain();
    let spaces = bench.open().await;
    let id = volume();
    drop(spaces.serve(&id).await.unwrap());
    let at = bench.path().join("work").join(id.to_string()).join("state/1");
    fs::write(&at, "{").unwrap();
    assert_eq!(spaces.serve(&id).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read_to_string(at).unwrap(), "{");
}
