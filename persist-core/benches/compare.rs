//! Compares an unchanged tree with its copy, beside `find -printf`, interleaved, and prints ratios.
//!
//! `cargo bench -p persist-core --features tree --bench compare -- [SOURCE] [WORK DIRECTORY] [ROUNDS]`; by
//! default the Rust toolchain's own directory, the build directory, and nine rounds.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people who measure")]

use futures::StreamExt;
use persist_core::{
    progress::Meter,
    tree::{
        Aspects, CompareContent, CompareOptions, CopyOptions, DirectoryTree, RemoveOptions, Trust, compare,
        compare_directories, copy_tree, remove_tree,
    },
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

/// A way to look at two trees; ends the program if it finds a difference.
type Way = fn(before: &Path, after: &Path);

const WAYS: &[(&str, Way)] = &[
    ("find -printf, one tree", |before, _| find(&[before])),
    ("find -printf, both", |before, after| find(&[before, after])),
    ("compare_directories", by_stat),
    ("compare, every entry", by_entries),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let source = arguments.first().map_or_else(sysroot, PathBuf::from);
    let work = arguments.get(1).map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let rounds = arguments.get(2).map_or(9, |text| text.parse().unwrap());
    let place = work.join(format!("persist-compare-{}", std::process::id()));
    let [before, after] = ["before", "after"].map(|name| place.join(name));
    std::fs::create_dir_all(&place).unwrap();
    let options = CopyOptions::default().with_trust(Trust::Faithful);
    copy_tree(&source, &before, &options, &Meter::default()).unwrap();
    let copied = copy_tree(&before, &after, &options, &Meter::default()).unwrap();
    println!("{}: {} entries, {rounds} rounds", source.display(), copied.totals.files);
    measure(rounds, &before, &after);
    remove_tree(&place, &RemoveOptions::default(), &Meter::default()).unwrap();
}

fn sysroot() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn measure(rounds: usize, before: &Path, after: &Path) {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); WAYS.len()];
    for _ in 0..rounds {
        for ((_, way), times) in WAYS.iter().zip(&mut times) {
            let start = Instant::now();
            way(before, after);
            times.push(start.elapsed());
        }
    }
    let medians: Vec<Duration> = times.iter_mut().map(|times| median(times)).collect();
    for ((name, _), median) in WAYS.iter().zip(&medians) {
        println!("{name:<24} {median:>8.2?}  {:.2}x", median.as_secs_f64() / medians[0].as_secs_f64());
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn find(trees: &[&Path]) {
    for tree in trees {
        let status =
            Command::new("sh").args(["-c", "find \"$0\" -printf '%s %T@\\n' >/dev/null"]).arg(tree).status();
        assert!(status.unwrap().success());
    }
}

fn by_stat(before: &Path, after: &Path) {
    let changes = compare_directories(before, after, Aspects::STAT, &Meter::default()).unwrap();
    assert!(changes.is_empty(), "{changes:?}");
}

fn by_entries(before: &Path, after: &Path) {
    let open = |path| Arc::new(DirectoryTree::open(path).unwrap());
    let options = CompareOptions::default().with_content(CompareContent::Stat);
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let changes = runtime.block_on(compare(open(before), open(after), options).count());
    assert_eq!(changes, 0);
}
