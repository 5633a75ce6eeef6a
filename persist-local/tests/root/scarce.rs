//! A filesystem that is really full, and a process that really has no descriptor left.

use super::{
    Planned,
    child::{self, FEW_DESCRIPTORS},
    filesystem::{Filesystem, Kind, run, text},
    injected::{run::Run, script_of_all},
    model::Op,
    scene,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use libtest_mimic::Failed;
use persist_core::{
    CreateOptions, ErrorKind, Result, Source, VolumeName, VolumeStore,
    tree::{DirectoryTree, Entry, TreePath, TreeSource, TreeTotals},
    volume::Import,
};
use std::{fs, ops::Range, path::Path, sync::Arc};

/// The least with which the program itself starts: its standard streams and what its runtime waits with.
const LEAST_DESCRIPTORS: u64 = 8;

/// Filesystems that are made this small, and files of 1 MiB that are too much for each.
const SMALL: [(Kind, &str, usize); 3] =
    [(Kind::Ext4, "24M", 24), (Kind::Tmpfs, "16M", 16), (Kind::Btrfs, "128M", 128)];

pub fn trials() -> Vec<Planned> {
    let full = SMALL.map(|(kind, size, files)| {
        let name = format!("a_tree_that_does_not_fit_leaves_nothing_on_{}", kind.word());
        let tools = [kind.tools(), if kind == Kind::Btrfs { &["btrfs"] } else { &[] }].concat();
        Planned::new("scarce", name, &tools, move || full(kind, size, files))
    });
    let few = Planned::new(
        "scarce",
        "every_number_of_descriptors_is_enough_or_refused_whole",
        Kind::Ext4.tools(),
        descriptors,
    );
    full.into_iter().chain([few]).collect()
}

/// Each number, so that they run out at each place where one is opened.
fn descriptors() -> Result<(), Failed> {
    let filesystem = Filesystem::new(Kind::Ext4, "1G");
    let ops = script_of_all();
    let script = filesystem.path().join("script");
    child::store_script(&script, &ops);
    let mut ended = Vec::new();
    for few in LEAST_DESCRIPTORS..=FEW_DESCRIPTORS {
        let run = Run::new(filesystem.path().join(format!("run{few}")), &script, &ops)?;
        ended.push(run.with_descriptors(few).map_err(|e| format!("{few} descriptors: {}", super::said(e)))?);
    }
    println!(
        "done with {} of {} numbers of descriptors",
        ended.iter().filter(|done| **done).count(),
        ended.len()
    );
    match (ended.first(), ended.last()) {
        (Some(false), Some(true)) => Ok(()),
        _ => Err("the fewest must be refused, and the most be enough".into()),
    }
}

fn full(kind: Kind, size: &str, files: usize) -> Result<(), Failed> {
    let filesystem = Filesystem::new(kind, size);
    let sources = tempfile::tempdir()?;
    for n in 0..files {
        // What does not compress: btrfs may be told to.
        let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(1 << 20).collect();
        fs::write(sources.path().join(format!("f{n}")), bytes)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(does_not_fit(&filesystem, sources.path())).map_err(Into::into)
}

async fn does_not_fit(filesystem: &Filesystem, large: &Path) -> Result<()> {
    let root = &filesystem.path().join("store");
    let store = scene::open(root).await?;
    let kept = |value| Op::Write { volume: "kept".into(), value };
    scene::perform(root, &store, &Op::Create { volume: "kept".into() }).await?;
    scene::perform(root, &store, &kept(1)).await?;
    let tree = || DirectoryTree::open(large);
    let sources = [
        Source::Directory { path: large.to_owned(), import: Import::Copy },
        Source::Tree(Arc::new(tree()?)),
        Source::Tree(Arc::new(Streamed(tree()?))),
    ];
    let before = scene::observe(&store).await?;
    for source in sources {
        let name = VolumeName::new("large")?;
        let options = CreateOptions::default().with_source(source);
        let error = store.create(&name, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted, "{error}");
        settle(filesystem);
        assert_eq!(scene::observe(&store).await?, before, "something moved");
        // The space is free again: what is there can be written, and the next one is refused by itself.
        scene::check_sound(&store).await?;
        scene::perform(root, &store, &kept(1)).await?;
    }
    store.close().await
}

/// Waits for what btrfs does in the background: a removed subvolume gives its space back later.
fn settle(filesystem: &Filesystem) {
    if filesystem.kind == Kind::Btrfs {
        run("btrfs", &["subvolume", "sync", text(filesystem.path())]);
    }
}

/// A tree that is read as a stream, as one of another host is.
#[derive(Debug)]
struct Streamed(DirectoryTree);

#[async_trait]
impl TreeSource for Streamed {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        self.0.entries(after)
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        self.0.entry(path).await
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.0.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        self.0.totals()
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}
