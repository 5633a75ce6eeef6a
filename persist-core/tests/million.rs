//! A million files in one directory, in a process of its own: memory stays below the limit.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![cfg(feature = "tree")]

use futures::TryStreamExt;
use persist_core::{
    progress::Meter,
    tree::{
        ApplyOptions, Aspects, CompareOptions, DirectoryTree, RemoveOptions, apply, compare,
        compare_directories, remove_tree,
    },
};
use std::{fs, path::Path, sync::Arc};

/// The figure of the design: peak memory under 256 MB whatever the size.
const LIMIT_KIB: u64 = 256 * 1000 * 1000 / 1024;

/// The most that this process ever had in memory (proc_pid_status(5)).
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs two million inodes in memory and a minute: run with --ignored"]
async fn a_million_files_in_one_directory_stay_below_the_memory_limit() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    fs::create_dir_all(from.join("many")).unwrap();
    fs::create_dir(&to).unwrap();
    for n in 0..1_000_000 {
        fs::File::create(from.join(format!("many/file number {n:07}"))).unwrap();
    }
    let open = |path: &Path| Arc::new(DirectoryTree::open(path).unwrap());
    let report = apply(open(&from), &to, ApplyOptions::faithful()).await.unwrap();
    println!("applied: peak {} KiB", peak_kib());
    assert_eq!(report.totals.files, 1_000_002);
    let changes = compare(open(&from), open(&to), CompareOptions::exact());
    assert_eq!(changes.try_collect::<Vec<_>>().await.unwrap(), []);
    println!("compared: peak {} KiB", peak_kib());
    let changes = compare_directories(&from, &to, Aspects::STAT, &Meter::default()).unwrap();
    assert_eq!(changes, []);
    println!("compared by stat: peak {} KiB", peak_kib());
    remove_tree(&dir.path().join("from"), &RemoveOptions::default(), &Meter::default()).unwrap();
    remove_tree(&dir.path().join("to"), &RemoveOptions::default(), &Meter::default()).unwrap();
    assert!(peak_kib() < LIMIT_KIB, "{} KiB", peak_kib());
}
