//! Copies a tree beside what everybody has: `tar | tar` and `cp -a`, interleaved, and prints ratios of the
//! medians: of the time that passed, and of the processor time, which says more on a busy machine.
//!
//! `cargo bench -p persist-core --features tree --bench tree -- [SOURCE] [WORK DIRECTORY] [ROUNDS]`;
//! by default the Rust toolchain's own directory, the build directory, and five rounds. The work directory
//! decides which filesystem is measured.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people who measure")]

use persist_core::{
    progress::Meter,
    tree::{CloneMode, CopyOptions, RemoveOptions, Trust, WalkOptions, copy_tree, remove_tree, walk},
    tree::{Root, Step},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// A way to copy `from` to `to`, which does not exist; `None` if it cannot work here.
type Way = fn(from: &Path, to: &Path) -> Option<Spent>;

/// What one run has cost.
#[derive(Debug, Clone, Copy)]
struct Spent {
    passed: Duration,
    processor: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let source = arguments.first().map_or_else(sysroot, PathBuf::from);
    let work = arguments.get(1).map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let rounds = arguments.get(2).map_or(5, |text| text.parse().unwrap());
    let place = work.join(format!("persist-bench-{}", std::process::id()));
    std::fs::create_dir_all(&place).unwrap();
    let near = bring_near(&source, &place);
    println!("{} to {}, {rounds} rounds", source.display(), place.display());
    compare("copy", rounds, &near, &place, &[("persist", copied), ("tar | tar", tar), ("cp -a", cp)]);
    compare("clone", rounds, &near, &place, &[("persist", cloned), ("cp -a --reflink", cp_clone)]);
    compare("walk", rounds, &near, &place, &[("persist", walked), ("find -printf", find)]);
    remove_tree(&place, &RemoveOptions::default(), &Meter::default()).unwrap();
}

fn sysroot() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The source on the filesystem that is measured, and in the page cache.
fn bring_near(source: &Path, place: &Path) -> PathBuf {
    let near = place.join("source");
    copied(source, &near).unwrap();
    near
}

fn compare(what: &str, rounds: usize, source: &Path, place: &Path, ways: &[(&str, Way)]) {
    let mut runs: Vec<Vec<Spent>> = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for ((_, way), runs) in ways.iter().zip(&mut runs) {
            let target = place.join("target");
            runs.extend(way(source, &target));
            remove_tree(&target, &RemoveOptions::default(), &Meter::default()).unwrap();
        }
    }
    let medians: Vec<Option<Spent>> = runs.iter().map(|runs| median(runs)).collect();
    let Some(ours) = medians.first().copied().flatten() else {
        println!("{what}: not possible on this filesystem");
        return;
    };
    let ratio = |theirs: Duration, ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    for ((name, _), median) in ways.iter().zip(&medians) {
        match median {
            Some(Spent { passed, processor }) => println!(
                "{what}: {name:<16} {passed:>8.2?} {:>5.2}x   processor {processor:>8.2?} {:>5.2}x",
                ratio(*passed, ours.passed),
                ratio(*processor, ours.processor),
            ),
            None => println!("{what}: {name:<16} failed"),
        }
    }
}

fn median(runs: &[Spent]) -> Option<Spent> {
    let middle = |pick: fn(&Spent) -> Duration| {
        let mut all: Vec<Duration> = runs.iter().map(pick).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Spent { passed: middle(|run| run.passed)?, processor: middle(|run| run.processor)? })
}

fn timed(work: impl FnOnce() -> bool) -> Option<Spent> {
    let (start, before) = (Instant::now(), processor());
    work().then(|| Spent { passed: start.elapsed(), processor: processor().saturating_sub(before) })
}

/// Processor time of this process and of the children that it waited for: fields 14 to 17 of
/// proc_pid_stat(5), in hundredths of a second.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn copied(from: &Path, to: &Path) -> Option<Spent> {
    with(CloneMode::Never, from, to)
}

fn cloned(from: &Path, to: &Path) -> Option<Spent> {
    with(CloneMode::Require, from, to)
}

fn with(clone: CloneMode, from: &Path, to: &Path) -> Option<Spent> {
    let options = CopyOptions::default().with_trust(Trust::Faithful).with_clone(clone);
    timed(|| copy_tree(from, to, &options, &Meter::default()).is_ok())
}

fn walked(from: &Path, _: &Path) -> Option<Spent> {
    let root = Root::open(from).unwrap();
    timed(|| walk(&root, &WalkOptions::default(), &Meter::default(), &|_| Ok(Step::Enter)).is_ok())
}

fn tar(from: &Path, to: &Path) -> Option<Spent> {
    std::fs::create_dir(to).unwrap();
    shell("tar -C \"$0\" -cf - . | tar -C \"$1\" -xf -", from, to)
}

fn cp(from: &Path, to: &Path) -> Option<Spent> {
    shell("cp -a --reflink=never \"$0\" \"$1\"", from, to)
}

fn cp_clone(from: &Path, to: &Path) -> Option<Spent> {
    shell("cp -a --reflink=always \"$0\" \"$1\" 2>/dev/null", from, to)
}

fn find(from: &Path, to: &Path) -> Option<Spent> {
    shell("find \"$0\" -printf '%s %T@\\n' >/dev/null", from, to)
}

fn shell(script: &str, from: &Path, to: &Path) -> Option<Spent> {
    timed(|| Command::new("sh").args(["-c", script]).arg(from).arg(to).status().unwrap().success())
}
