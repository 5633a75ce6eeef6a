//! The process that is killed: writes, syncs, takes snapshots, detaches and attaches again, and says after each
//! step what was acknowledged.

use super::{
    scene::{self, vol},
    tree,
};
use persist_core::{
    Attachment, ErrorKind, Liveness, Result, SnapshotName, SyncOptions, VolumeName, VolumeStore,
};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
};

/// The first argument of a child.
pub const MARK: &str = "--as-child";

/// Every so many steps there is a snapshot, or a detach if there are any; prime to each other, so that they meet
/// all else.
const SNAPSHOT_EVERY: u64 = 3;
pub const DETACH_EVERY: u64 = 4;

/// For a writer that stays attached.
pub const NEVER: u64 = u64::MAX;

/// How an argument says that only others can prove the workload dead.
const EXTERNAL: &str = "external";

/// What a child said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The volume is attached, and its tree is this one.
    Attached(u64),
    /// This tree was written.
    Written(u64),
    /// This tree was acknowledged.
    Synced(u64),
    /// A snapshot of this tree was acknowledged.
    Snapped(u64),
    /// The final sync of this tree, the release and the removal of the copy were acknowledged.
    Detached(u64),
    /// Somebody else has the volume; this tree was refused.
    Fenced(u64),
    /// The script is at its end.
    Ended,
}

/// What a child is told to do.
#[derive(Debug, Clone)]
pub struct Orders {
    pub url: String,
    pub nodes: PathBuf,
    pub node: &'static str,
    pub volume: String,
    /// What proves it dead.
    pub liveness: Liveness,
    /// The number of the first tree.
    pub first: u64,
    /// Trees.
    pub steps: u64,
    /// So often the final sync of a detach keeps one.
    pub detach_every: u64,
}

impl Orders {
    /// Starts a child.
    pub fn start(&self) -> Child {
        let liveness = if self.liveness == Liveness::External { EXTERNAL } else { "process" };
        Command::new(std::env::current_exe().unwrap())
            .args([MARK, &self.url, self.nodes.to_str().unwrap(), self.node, &self.volume])
            .arg(liveness)
            .args([self.first, self.steps, self.detach_every].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn of(mut words: impl Iterator<Item = String>) -> Self {
        let mut next = || words.next().unwrap();
        let (url, nodes) = (next(), PathBuf::from(next()));
        let (node, volume) = (&*next().leak(), next());
        let liveness = if next() == EXTERNAL { Liveness::External } else { Liveness::Process(None) };
        let mut number = || next().parse().unwrap();
        let (first, steps, detach_every) = (number(), number(), number());
        Self { url, nodes, node, volume, liveness, first, steps, detach_every }
    }
}

/// Everything a child says until it ends.
pub fn listen(child: &mut Child) -> impl Iterator<Item = Said> + use<> {
    let out: ChildStdout = child.stdout.take().unwrap();
    BufReader::new(out).lines().map_while(|line| said(&line.ok()?))
}

/// The child itself. An error is told on its standard error, and by its exit status.
pub fn main(words: impl Iterator<Item = String>) -> ExitCode {
    let orders = Orders::of(words);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(act(&orders)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("child: {error}");
            ExitCode::from(3)
        }
    }
}

async fn act(orders: &Orders) -> Result<()> {
    let store = scene::open(&orders.url, &orders.nodes, orders.node).await?;
    let volume = vol(&orders.volume);
    let mut attachment = attached(&store, orders).await?;
    for value in orders.first..orders.first + orders.steps {
        write(attachment.path(), value).await?;
        say("written", value);
        if value.is_multiple_of(orders.detach_every) {
            store.detach(&attachment.id, Default::default()).await?;
            say("detached", value);
            attachment = attached(&store, orders).await?;
            continue;
        }
        match keep(&store, &volume, &attachment, value).await {
            Err(error) if error.kind() == ErrorKind::Fenced => {
                return fenced(&store, &attachment, value).await;
            }
            kept => kept?,
        }
    }
    say("ended", 0);
    Ok(())
}

async fn keep(
    store: &dyn VolumeStore,
    volume: &VolumeName,
    attachment: &Attachment,
    value: u64,
) -> Result<()> {
    store.sync(&attachment.id, SyncOptions::default()).await?;
    say("synced", value);
    if value.is_multiple_of(SNAPSHOT_EVERY) {
        store.snapshot(volume, &snapshot_of(value), Default::default()).await?;
        say("snapped", value);
    }
    Ok(())
}

/// The name of the snapshot of a tree.
pub fn snapshot_of(value: u64) -> SnapshotName {
    SnapshotName::new(format!("s{value}")).unwrap()
}

async fn attached(store: &dyn VolumeStore, orders: &Orders) -> Result<Attachment> {
    let attachment = store.attach(&vol(&orders.volume), scene::workload(orders.liveness.clone())).await?;
    say("attached", tree::value_at(attachment.path()));
    Ok(attachment)
}

/// A writer that lost its place lets go; what it wrote must be a salvage by then.
async fn fenced(store: &dyn VolumeStore, attachment: &Attachment, value: u64) -> Result<()> {
    store.detach(&attachment.id, Default::default()).await?;
    say("fenced", value);
    store.close().await
}

async fn write(root: &Path, value: u64) -> Result<()> {
    let root = root.to_owned();
    let planted = tokio::task::spawn_blocking(move || tree::plant(&root, value)).await;
    planted.unwrap().map_err(scene::as_error)
}

/// One write a line: what was said before a kill arrives whole.
fn say(word: &str, value: u64) {
    std::io::stdout().write_all(format!("{word} {value}\n").as_bytes()).unwrap();
}

fn said(line: &str) -> Option<Said> {
    let (word, value) = line.split_once(' ')?;
    let value = value.parse().ok()?;
    Some(match word {
        "attached" => Said::Attached(value),
        "written" => Said::Written(value),
        "synced" => Said::Synced(value),
        "snapped" => Said::Snapped(value),
        "detached" => Said::Detached(value),
        "fenced" => Said::Fenced(value),
        "ended" => Said::Ended,
        _ => return None,
    })
}
