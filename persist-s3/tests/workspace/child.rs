//! What a process does with a workspace until it is killed, and what the next one finds.

use super::commit::Commit;
use futures::TryStreamExt;
use persist_core::{
    Epoch, Node, NodeId, SyncOptions, VolumeId, VolumeName,
    clock::Environment,
    holder::BootId,
    progress::{CallOptions, Meter},
    tree::{Aspects, CompareOptions, DirectoryTree, compare},
};
use persist_s3::{
    head::{
        names::UniqueName,
        record::{CommitName, Digest, Head},
        recovery::{Recovery, Tree as Dirt},
    },
    workspace::{
        Workspace, Workspaces,
        hydrate::known,
        record::{Of, Row, RowWriter, merge},
        scan::{Change, Now, Read, ScanOptions, Tree, What},
        state::Hydrated,
    },
};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// The first argument of a child.
pub const MARK: &str = "--as-child";

/// Where everything of one run is.
pub struct Scene {
    pub root: PathBuf,
}

pub fn volume() -> VolumeId {
    VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap()
}

pub fn commit(seq: u64) -> CommitName {
    CommitName { seq, epoch: Epoch::new(1), hash: Digest::of(&seq.to_le_bytes()) }
}

impl Scene {
    pub fn tree(&self, seq: u64) -> PathBuf {
        self.root.join(format!("commit-{seq}"))
    }

    pub async fn serve(&self) -> Workspace {
        let node = Node::new(NodeId::new("host").unwrap(), BootId::new("boot").unwrap());
        let directory = self.root.join("workspaces");
        let spaces = Workspaces::open(&directory, Some(node), Environment::default()).await.unwrap();
        spaces.serve(&volume()).await.unwrap()
    }

    pub async fn hydrate(&self, workspace: &Workspace, seq: u64) {
        let tree = Commit::of(&self.tree(seq));
        workspace.hydrate(Some(commit(seq)), tree, &Meter::default()).await.unwrap();
    }

    /// The head at commit `seq`.
    pub fn head(&self, seq: u64) -> Head {
        let name = VolumeName::new("v").unwrap();
        let mut head = Head::new(volume(), name, UniqueName::of(Epoch::ZERO, 0, b""), 1).unwrap();
        head.commit = Some(commit(seq));
        head
    }

    /// What becomes of the workspace if the head is at commit `seq`.
    pub async fn settle(&self, workspace: &Workspace, seq: u64) -> Recovery {
        workspace.settle(&self.head(seq)).await.unwrap()
    }

    /// Fails unless the tree is commit `seq`, to the byte.
    pub async fn assert_is(&self, workspace: &Workspace, seq: u64) {
        let live = workspace.live(&CallOptions::default()).await.unwrap();
        let [wanted, found] =
            [&*self.tree(seq), live.path()].map(|at| Arc::new(DirectoryTree::open(at).unwrap()));
        let options = CompareOptions::exact().with_aspects(Aspects::all().difference(Aspects::HOLES));
        let differ: Vec<_> = compare(wanted, found, options).try_collect().await.unwrap();
        assert_eq!(differ, []);
        assert_eq!(workspace.state().hydrated, Hydrated::Whole);
    }

    /// Commits the live tree as `seq`; the paths that were read.
    pub async fn commit(&self, workspace: &Workspace, base: u64, seq: u64) -> Vec<String> {
        let (rows, drafts, of) =
            (workspace.rows().await.unwrap(), workspace.drafts().to_owned(), workspace.of());
        let base = Commit::of(&self.tree(base));
        let read = move |tree: Tree| async move {
            tokio::task::spawn_blocking(move || {
                let (mut changed, mut own) = (Vec::new(), RowWriter::new(&drafts, of.clone())?);
                let scanned = tree.scan(
                    known(rows, &*base),
                    (&drafts, of.clone()),
                    &ScanOptions::default(),
                    &mut |change| {
                        changed.push(change.path.to_string());
                        row(&tree, change).into_iter().try_for_each(|row| own.push(row))
                    },
                )?;
                let next = Of { base: Some(commit(seq)), ..of };
                Ok((changed, merge(&drafts, next, &scanned.carried, &own.finish()?)?, scanned.totals))
            })
            .await
            .unwrap()
        };
        let (changed, record, totals) = workspace.cut(SyncOptions::default(), read).await.unwrap().value;
        workspace.offer(commit(seq), record, totals).await.unwrap();
        workspace.accepted(Dirt::Dirty).await.unwrap();
        changed
    }
}

fn row(tree: &Tree, change: Change) -> Option<Row> {
    let now = match change.what {
        What::Added { now }
        | What::Content { now, .. }
        | What::Metadata { now, .. }
        | What::Replaced { now, .. } => now,
        _ => return None,
    };
    match now {
        Now::Other { .. } => Some(Row::new(change.path.clone(), now.applied()?, tree.stamp(), vec![1])),
        Now::File { link, .. } => match tree.read_file(&change.path, link, |_| Ok(())).unwrap() {
            Read::Done { file, stability, .. } => Some(file.row(tree, stability, vec![1])),
            Read::Gone => None,
        },
    }
}

/// The child itself: `SCRIPT ROOT`.
pub fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let (script, root) = (words.next().unwrap(), PathBuf::from(words.next().unwrap()));
    let scene = Scene { root };
    let runtime = work_on_one_thread();
    match script.as_str() {
        "hydrate" => runtime.block_on(async { scene.hydrate(&scene.serve().await, 2).await }),
        "commit" => runtime.block_on(async {
            let workspace = scene.serve().await;
            workspace.allow_writes(Epoch::new(2)).await.unwrap();
            let live = workspace.live(&CallOptions::default()).await.unwrap();
            std::fs::write(live.path().join("work"), "work").unwrap();
            scene.commit(&workspace, 1, 2).await;
        }),
        "scan" => scan(&scene.root),
        other => panic!("{other}"),
    }
    ExitCode::SUCCESS
}

/// Scans the tree of a [`counts`](super::counts) run by its record.
fn scan(root: &Path) {
    let of = Of { volume: volume(), base: None };
    let rows = persist_s3::workspace::record::Rows::open(&root.join("stat"), &of).unwrap();
    let stamp = persist_s3::workspace::record::Stamp::now(root).unwrap();
    let tree = Tree::open(&root.join("tree"), stamp).unwrap();
    let known = rows.unwrap().map(|row| row.map(persist_s3::workspace::scan::Known::Row));
    let scanned =
        tree.scan(known, (root, of), &ScanOptions::default(), &mut |change| panic!("{change:?}")).unwrap();
    assert!(scanned.losses.is_empty());
}

/// A runtime on which all file work is done by one thread: strace(1) counts the calls of each thread apart, and a
/// number is to mean the same call each time.
fn work_on_one_thread() -> tokio::runtime::Runtime {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(FEW_DESCRIPTORS), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap()
}

/// With so few, the tree engine works on the thread that calls it.
const FEW_DESCRIPTORS: u64 = 47;
