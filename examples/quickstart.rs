//! The main job, in seconds and without privilege: a volume outlives the processes that use it.
//!
//! ```text
//! cargo run --example quickstart                          an empty volume
//! cargo run --example quickstart -- PATH                  a volume made from the tree at PATH
//! cargo run --example quickstart -- [PATH] --store DIR    the store in DIR instead of the temporary directory
//! ```
//!
//! Two child processes share a volume, as two terminals would; both are killed with -9; a third one finds
//! what they wrote. Then a snapshot, a destructive change, a restore and a clone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use persist::attachment::Attachment;
use persist::progress::{Meter, Phase, Progress};
use persist::tree::{Aspects, TreeTotals, compare_directories};
use persist::volume::{DeleteOptions, Import, SnapshotsAlong, Trash};
use persist::{
    Access, AttachOptions, BindOptions, Capabilities, CreateOptions, DetachOptions, Liveness, OpenMode,
    OpenOptions, SnapshotName, SnapshotOptions, Source, StoreInfo, StoreUrl, Survives, VolumeName,
    VolumeStore, VolumeStoreExt, Workload, snapshot::RestoreOptions,
};
use std::{
    ffi::OsString,
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Instant,
};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;
type Store = Arc<dyn VolumeStore>;

const USAGE: &str = "usage: quickstart [PATH] [--store DIR]";

/// What the command line asks for.
#[derive(Default)]
struct Job {
    tree: Option<PathBuf>,
    store: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or("?")).collect();
    let done = match words[..] {
        // Not for people: the tour starts itself again as a terminal.
        ["--terminal", work, url] => terminal(work, url).await,
        _ => match parse(args) {
            Some(job) => tour(job).await,
            None => Err(USAGE.into()),
        },
    };
    done.map_or_else(
        |error| {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn parse(args: Vec<OsString>) -> Option<Job> {
    let (mut job, mut args) = (Job::default(), args.into_iter());
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--store") => job.store = Some(args.next()?.into()),
            Some(flag) if flag.starts_with('-') => return None,
            _ if job.tree.is_none() => job.tree = Some(arg.into()),
            _ => return None,
        }
    }
    Some(job)
}

async fn tour(job: Job) -> Outcome {
    // A temporary store is removed again if something fails, and so leaves nothing behind.
    let temporary = tempfile::Builder::new().prefix("persist-quickstart-").tempdir()?;
    let directory = match &job.store {
        Some(path) => std::path::absolute(path)?,
        None => temporary.path().to_owned(),
    };
    let url = StoreUrl::local(&directory)?.to_string();
    println!("1. A store: {url}");
    let store = open(&url, OpenMode::CreateIfMissing).await?;
    show_promises(&store.info());

    let volume = VolumeName::new("shop")?;
    println!("\n2. A volume: {volume}");
    create(&store, &volume, job.tree.as_deref()).await?;

    println!("\n3. Two terminals, one volume");
    two_terminals(&url).await?;

    println!("\n4. Snapshot, accident, restore, clone");
    let copy = accident(&store, &volume).await?;
    if job.tree.is_some() && job.store.is_none() {
        return remove(&store, &[volume, copy]).await;
    }
    store.close().await?;
    if job.store.is_none() {
        let _kept = temporary.keep();
    }
    println!("\nLook at it:  cargo run --example inspect -- '{url}'");
    println!("Remove it:   rm -r '{}'", directory.display());
    Ok(())
}

async fn open(url: &str, mode: OpenMode) -> Outcome<Store> {
    let options = OpenOptions::default().with_mode(mode).with_node(persist::this_host()?);
    Ok(persist::open_with(url, options).await?)
}

/// Prints what this opened store promises, and what is lost when.
fn show_promises(info: &StoreInfo) {
    let facts = &info.characteristics;
    println!("   it is on     {}", facts.filesystem);
    println!("   it can       {}", info.capabilities);
    println!("   it cannot    {}", Capabilities::all().difference(info.capabilities));
    let lost = "everything that was written is gone";
    let (process, crash, host) = match facts.survives {
        Survives::Nothing => (lost, lost, lost),
        Survives::Process => ("nothing is lost", lost, lost),
        Survives::HostCrash => ("nothing is lost", "nothing that was synced is lost", lost),
        _ => ("nothing is lost", "nothing that was synced is lost", "nothing that was synced is lost"),
    };
    println!("   if a process dies           {process}");
    println!("   if this host loses power    {crash}");
    println!("   if this host is destroyed   {host}");
    for remark in &facts.remarks {
        println!("   note: {remark}");
    }
}

async fn create(store: &Store, volume: &VolumeName, tree: Option<&Path>) -> Outcome {
    let source = match tree {
        Some(path) => Source::Directory { path: std::path::absolute(path)?, import: Import::Copy },
        None => Source::Empty,
    };
    let started = Instant::now();
    let options = CreateOptions::default().with_source(source).with_progress(show_progress);
    let report = shown(store.create(volume, options)).await?;
    match (tree, report.imported) {
        (Some(path), Some(totals)) => println!("   imported {}: {}", path.display(), took(totals, started)),
        _ => println!("   {:?}, id {}", report.outcome, report.volume.id),
    }
    for remark in &report.remarks {
        println!("   note: {remark}");
    }
    Ok(())
}

/// What a terminal does: binds the volume and works on it, until it is killed or its work is done.
async fn terminal(work: &str, url: &str) -> Outcome {
    let store = open(url, OpenMode::Existing).await?;
    let third = work == "third";
    let access = if third { Access::ReadWrite } else { Access::SharedOnNode };
    // The process is the workload: when it is gone, the volume is free.
    let attach = AttachOptions::default()
        .with_access(access)
        .with_workload(Workload::new(work)?)
        .with_liveness(Liveness::Process(None));
    let volume = store.bind(&VolumeName::new("shop")?, BindOptions::default().with_attach(attach)).await?;
    let hello = volume.path().join("hello");
    if work == "first" {
        fs::write(&hello, "world")?;
        volume.sync().await?;
        println!("wrote `world` to {}", hello.display());
    } else {
        println!("reads `{}`{}", fs::read_to_string(&hello)?, replaced(volume.attachment()));
    }
    if third {
        volume.detach().await?;
        return Ok(());
    }
    std::future::pending().await
}

fn replaced(attachment: &Attachment) -> String {
    match attachment.report().replaced.len() {
        0 => String::new(),
        dead => format!(", and took the place of {dead} dead holders"),
    }
}

async fn two_terminals(url: &str) -> Outcome {
    let mut first = Terminal::start("first", url)?;
    first.show().await?;
    let mut second = Terminal::start("second", url)?;
    second.show().await?;
    for terminal in [&mut first, &mut second] {
        // Kill is SIGKILL: neither of them detaches, syncs or cleans up.
        terminal.child.kill().await?;
    }
    println!("   both are killed with -9");
    let mut third = Terminal::start("third", url)?;
    third.show().await?;
    let ended = third.child.wait().await?;
    if ended.success() { Ok(()) } else { Err(format!("the third terminal failed: {ended}").into()) }
}

/// A child process of this program that works on the volume.
struct Terminal {
    name: &'static str,
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Terminal {
    fn start(name: &'static str, url: &str) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--terminal", name, url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let says = child.stdout.take().ok_or("the child has no output")?;
        Ok(Self { name, child, says: BufReader::new(says).lines() })
    }

    /// Waits for what it says, and shows it.
    async fn show(&mut self) -> Outcome {
        let pid = self.child.id().unwrap_or_default();
        let line = self.says.next_line().await?;
        let line = line.ok_or_else(|| format!("the {} terminal ended without a word", self.name))?;
        println!("   {:<6} (pid {pid}) {line}", self.name);
        Ok(())
    }
}

/// Loses everything, takes it back, and makes a second volume of it, which is named.
async fn accident(store: &Store, volume: &VolumeName) -> Outcome<VolumeName> {
    let good = SnapshotName::new("good")?;
    let started = Instant::now();
    let options = SnapshotOptions::default().with_progress(show_progress);
    let taken = shown(store.snapshot(volume, &good, options)).await?;
    println!("   snapshot `{good}`, {:?}, in {:.2?}", taken.record.consistency, started.elapsed());

    let bound = store.bind(volume, BindOptions::default()).await?;
    let started = Instant::now();
    let root = bound.path().to_owned();
    let lost = tokio::task::spawn_blocking(move || remove_content(&root)).await??;
    bound.detach().await?;
    println!(
        "   accident: rm -rf of everything in the volume ({lost} entries at its top) in {:.2?}",
        started.elapsed()
    );

    let started = Instant::now();
    let options = RestoreOptions::default().with_progress(show_progress);
    let restored = shown(store.restore(volume, &good, options)).await?;
    let kept = restored.replaced.map_or(String::new(), |name| format!("; what it replaced is `{name}`"));
    println!("   restored `{good}` in {:.2?}{kept}", started.elapsed());

    let copy = VolumeName::new("shop-copy")?;
    let started = Instant::now();
    let source = Source::Snapshot { volume: volume.clone(), snapshot: good.clone() };
    let options = CreateOptions::default().with_source(source).with_progress(show_progress);
    shown(store.create(&copy, options)).await?;
    println!("   clone: a second volume, `{copy}`, from the snapshot in {:.2?}", started.elapsed());
    compare(store, volume, &good, &copy).await?;
    for name in [volume, &copy] {
        let bound = store.bind(name, BindOptions::default()).await?;
        let hello = fs::read_to_string(bound.path().join("hello"))?;
        println!("   {:<9} has `{hello}` again; its bytes are in {}", name.as_str(), bound.path().display());
        store.detach(&bound.attachment().id, DetachOptions::default()).await?;
    }
    Ok(copy)
}

/// Proves that the clone is what the snapshot is: every entry with its mode, owner and time.
async fn compare(store: &Store, volume: &VolumeName, snapshot: &SnapshotName, copy: &VolumeName) -> Outcome {
    let source = store.open_snapshot(volume, snapshot).await?;
    let Some(kept) = source.directory().map(Path::to_owned) else { return Ok(()) };
    let bound = store.bind(copy, BindOptions::default()).await?;
    let cloned = bound.path().to_owned();
    let started = Instant::now();
    let work = move || compare_directories(&kept, &cloned, Aspects::STAT, &Meter::default());
    let changes = tokio::task::spawn_blocking(work).await??;
    println!("   compared snapshot and clone in {:.2?}: {} differences", started.elapsed(), changes.len());
    bound.detach().await?;
    if changes.is_empty() { Ok(()) } else { Err(format!("they differ: {:?}", changes.first()).into()) }
}

fn remove_content(root: &Path) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
        removed += 1;
    }
    Ok(removed)
}

/// Small volumes stay to be looked at; an imported tree does not stay in the temporary directory.
async fn remove(store: &Store, volumes: &[VolumeName]) -> Outcome {
    println!("\n5. Removing both volumes and what they were restored from");
    let options = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete).with_trash(Trash::Bypass);
    for volume in volumes {
        shown(store.delete(volume, options.clone().with_progress(show_progress))).await?;
    }
    store.close().await?;
    println!("   The store was temporary and is removed. Keep one with --store DIR.");
    Ok(())
}

fn took(totals: TreeTotals, started: Instant) -> String {
    let megabytes = totals.bytes / 1_000_000;
    format!("{} entries, {megabytes} MB in {:.2?}", totals.files, started.elapsed())
}

/// Waits for a call that shows its progress, and erases what that left on the line.
async fn shown<T>(call: impl Future<Output = persist::Result<T>>) -> persist::Result<T> {
    let done = call.await;
    write_over("");
    done
}

/// One line that is written over.
fn show_progress(progress: &Progress) {
    let of = |total: Option<u64>| total.map_or(String::new(), |total| format!(" of {total}"));
    let stalled = progress.stalled.map_or(String::new(), |idle| format!(", stalled for {idle:.0?}"));
    let rate = match progress.phase {
        Phase::Transfer => format!(", {} MB/s", progress.bytes_per_second / 1_000_000),
        _ => String::new(),
    };
    let line = format!(
        "{:?}: {}{} entries, {} MB{rate}{stalled}",
        progress.phase,
        progress.files,
        of(progress.total_files),
        progress.bytes / 1_000_000
    );
    write_over(&format!("   {line}"));
}

/// Replaces the line that the cursor is on; on a terminal only.
fn write_over(line: &str) {
    let mut out = std::io::stdout();
    if out.is_terminal() {
        // Control sequence: erase the line. The cursor goes back to its start for what comes next.
        let _ = write!(out, "\r\x1b[K{line}\r").and_then(|()| out.flush());
    }
}
