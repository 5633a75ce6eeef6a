//! A store and the children that work on it.

use persist_core::{
    AttachOptions, Attachment, Node, NodeId, OpenMode, OpenOptions, Result, SnapshotName, StoreUrl,
    VolumeName, VolumeStore, Workload, holder::BootId,
};
use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

pub type Store = Arc<dyn VolumeStore>;

/// Opens the store at `root` as the one node of these tests.
pub async fn open(root: &Path) -> Store {
    let node = Node::new(NodeId::new("host").unwrap(), BootId::new("boot-1").unwrap());
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node);
    persist_local::open(&StoreUrl::local(root).unwrap(), options).await.unwrap()
}

/// A store in a temporary directory.
pub struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Starts a child that runs `script` on the store.
    pub fn child(&self, script: &str) -> Running {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", script])
            .arg(self.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        Running { child, lines, input }
    }
}

/// A child process that is killed at the latest when it is dropped.
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Running {
    /// The next line that it says; `None` once it has ended.
    pub fn hears(&mut self) -> Option<String> {
        self.lines.next().map(Result::unwrap)
    }

    /// Lets it go on: see [`wait_for_word`].
    pub fn tell(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9; whatever it was doing.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// kill -9 after it has said so many lines; gives the last one.
    pub fn kill_after(mut self, lines: usize) -> String {
        let mut last = String::new();
        for _ in 0..lines {
            last = self.hears().expect("the child ended too early");
        }
        self.child.kill().unwrap();
        // What it said before it was killed counts: it was acknowledged.
        while let Some(Ok(line)) = self.lines.next() {
            last = line;
        }
        self.child.wait().unwrap();
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: says a line to the parent, at once.
pub fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// In a child: waits until the parent tells it to go on.
pub fn wait_for_word() {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap() == 0 {
        std::process::exit(0);
    }
}

/// Runs `future` on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn volume(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}

pub fn named(name: &str) -> SnapshotName {
    SnapshotName::new(name).unwrap()
}

/// For a workload that only a vouch declares dead.
pub fn holder(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(name).unwrap())
}

pub async fn attached(store: &Store, name: &str) -> Attachment {
    store.attach(&volume(name), holder("w")).await.unwrap()
}

/// Files of a volume: enough of them that a kill meets one half copied.
const FILES: usize = 40;

/// Writes the tree number `n` at `path`, in place of what is there.
pub fn write_tree(path: &Path, n: usize) {
    for file in 0..FILES {
        fs::write(path.join(format!("file-{file}")), content(n, file)).unwrap();
    }
}

/// Which tree is at `path`; panics if it is not one whole tree.
pub fn tree_at(path: &Path) -> usize {
    let first = fs::read_to_string(path.join("file-0")).unwrap();
    let n = first.split(' ').next().unwrap().parse().unwrap();
    for file in 0..FILES {
        let found = fs::read_to_string(path.join(format!("file-{file}"))).unwrap();
        assert!(found == content(n, file), "file {file} is not of tree {n}");
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), FILES);
    n
}

fn content(n: usize, file: usize) -> String {
    format!("{n} {file} ").repeat(2000)
}
