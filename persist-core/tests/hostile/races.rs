//! A directory is exchanged with a link to the outside, again and again, while the engine works in it.

use crate::sentinel::Ground;
use futures::TryStreamExt;
use persist_core::{
    Error, ErrorKind,
    progress::Meter,
    tree::{
        ApplyOptions, Aspects, CopyOptions, DirectoryTree, Entry, OnLoss, Root, TreeSource, Unreadable,
        apply, compare_directories, copy,
    },
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

/// How often the engine runs under each race, and how often things are exchanged at most in one run.
const RUNS: u32 = 5;
const EXCHANGES_MAX: u32 = 20_000;

/// Exchanges `dir/victim` with a link to the sentinel, as soon as it is there; puts it back when stopped.
struct Exchanger {
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u32>>,
    begun: Arc<AtomicU32>,
}

impl Exchanger {
    fn start(dir: &Path, outside: &Path) -> Self {
        let (end, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (stop, count) = (Arc::clone(&end), Arc::clone(&begun));
        let evil = outside.with_file_name("evil");
        symlink(outside.join("victim"), &evil).unwrap();
        let victim = dir.join("victim");
        let thread = std::thread::spawn(move || {
            let mut exchanged = 0;
            while !stop.load(SeqCst) && exchanged < EXCHANGES_MAX {
                match renameat_with(CWD, &evil, CWD, &victim, RenameFlags::EXCHANGE) {
                    Ok(()) => exchanged += 1,
                    Err(_) => std::thread::yield_now(),
                }
                count.store(exchanged, SeqCst);
            }
            if exchanged % 2 == 1 {
                renameat_with(CWD, &evil, CWD, &victim, RenameFlags::EXCHANGE).unwrap();
            }
            fs::remove_file(&evil).unwrap();
            exchanged
        });
        Self { end, thread: Some(thread), begun }
    }

    fn wait_until_it_runs(&self) {
        while self.begun.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
    }

    fn stop(mut self) -> u32 {
        self.end.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn plant(root: &Path) {
    fs::create_dir_all(root.join("victim/sub")).unwrap();
    for n in 0..100 {
        for dir in ["", "victim", "victim/sub"] {
            fs::write(root.join(dir).join(format!("f{n}")), "inside").unwrap();
        }
    }
}

/// What a tree that changes under the engine may answer; everything else is our bug.
fn is_honest(error: &Error) -> bool {
    use ErrorKind::{Conflict, Corrupt, Denied, Invalid, NotFound, Unsupported};
    matches!(error.kind(), Conflict | Corrupt | Denied | Invalid | NotFound | Unsupported)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_exchanged_under_the_reader_gives_nothing_of_the_outside() {
    let ground = Ground::new();
    plant(&ground.source());
    let mut exchanged = 0;
    for _ in 0..RUNS {
        let target = ground.empty_target();
        let exchanger = Exchanger::start(&ground.source(), &ground.outside());
        exchanger.wait_until_it_runs();
        let tree = DirectoryTree::open(&ground.source()).unwrap().with_losses(OnLoss::Report);
        let options = ApplyOptions::default().with_unreadable(Unreadable::Report);
        let applied = apply(Arc::new(tree), &target, options).await;
        exchanged += exchanger.stop();
        if let Err(error) = applied {
            assert!(is_honest(&error), "{error}");
        }
        ground.check("a source exchanged under apply");
    }
    assert!(exchanged > RUNS, "only {exchanged} exchanges");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_exchanged_under_the_writer_leads_nowhere() {
    let ground = Ground::new();
    plant(&ground.source());
    let source = Arc::new(DirectoryTree::open(&ground.source()).unwrap());
    let mut exchanged = 0;
    for _ in 0..RUNS {
        let target = ground.empty_target();
        let exchanger = Exchanger::start(&target, &ground.outside());
        let applied = apply(source.clone(), &target, ApplyOptions::default()).await;
        exchanged += exchanger.stop();
        if let Err(error) = applied {
            assert!(is_honest(&error), "{error}");
        }
        ground.check("a target exchanged under apply");
    }
    assert!(exchanged > 0, "nothing was ever exchanged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_under_exchange_sees_the_link_or_the_directory_and_nothing_behind_it() {
    let ground = Ground::new();
    plant(&ground.source());
    plant(&ground.target());
    for _ in 0..RUNS {
        let exchanger = Exchanger::start(&ground.source(), &ground.outside());
        exchanger.wait_until_it_runs();
        let changes =
            compare_directories(&ground.source(), &ground.target(), Aspects::STAT, &Meter::default());
        let tree = DirectoryTree::open(&ground.source()).unwrap().with_losses(OnLoss::Report);
        let entries: Result<Vec<Entry>, _> = tree.entries(None).try_collect().await;
        exchanger.stop();
        assert!(changes.as_ref().err().is_none_or(is_honest), "{changes:?}");
        assert!(entries.as_ref().err().is_none_or(is_honest), "{entries:?}");
        let secret = u64::try_from(crate::sentinel::SECRET.len()).unwrap();
        for entry in entries.unwrap_or_default() {
            assert_ne!(entry.size(), secret, "{} was seen outside", entry.path);
        }
        ground.check("exchanged under a comparison");
    }
}

#[test]
fn a_source_or_target_that_is_exchanged_under_a_copy_leads_nowhere() {
    let ground = Ground::new();
    plant(&ground.source());
    let mut exchanged = 0;
    for run in 0..2 * RUNS {
        let target = ground.empty_target();
        let exchanger = match run % 2 {
            0 => Exchanger::start(&ground.source(), &ground.outside()),
            _ => Exchanger::start(&target, &ground.outside()),
        };
        let roots = [ground.source(), target].map(|path| Root::open(&path).unwrap());
        let options = CopyOptions::default().with_unreadable(Unreadable::Report);
        let copied = copy(&roots[0], &roots[1], &options, &Meter::default());
        exchanged += exchanger.stop();
        assert!(copied.as_ref().err().is_none_or(is_honest), "{copied:?}");
        ground.check("exchanged under a copy");
    }
    assert!(exchanged > RUNS, "only {exchanged} exchanges");
}
