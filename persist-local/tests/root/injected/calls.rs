//! The system calls of a script, by the trace that strace(1) wrote of a run.

use libtest_mimic::Failed;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One call of a script: the so-many-th of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub number: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.number)
    }
}

/// The calls of a script that can be refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub changes: Vec<Call>,
    pub looks: Vec<Call>,
}

/// By which anything changes, or is made to last. `openat` is one where it makes a file.
const CHANGES: [&str; 34] = [
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "write",
    "pwrite64",
    "ftruncate",
    "fallocate",
    "fsync",
    "fdatasync",
    "syncfs",
    "ioctl",
    "copy_file_range",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "utimensat",
    "fsetxattr",
    "open_tree",
    "mount_setattr",
    "move_mount",
    "umount2",
];

/// By which it only looks. fstat(2) and close(2) are left out: they do not fail on a good descriptor.
const LOOKS: [&str; 9] =
    ["openat", "openat2", "read", "pread64", "getdents64", "statx", "newfstatat", "readlink", "flock"];

/// The calls to trace.
pub fn traced() -> String {
    CHANGES.into_iter().chain(LOOKS).collect::<Vec<_>>().join(",")
}

impl Calls {
    /// The calls of the one thread that does file work, as `trace` tells. strace(1) counts the calls of each
    /// thread apart: those are left out that another thread would meet first, as the program starts.
    pub fn parse(trace: &str) -> Result<Self, Failed> {
        let worker = worker(trace)?;
        let mut counts = BTreeMap::<_, usize>::new();
        for (_, name, _) in trace.lines().filter_map(begun).filter(|(thread, ..)| *thread != worker) {
            *counts.entry(name).or_default() += 1;
        }
        let others = std::mem::take(&mut counts);
        let mut calls = Self::default();
        for (_, name, line) in trace.lines().filter_map(begun).filter(|(thread, ..)| *thread == worker) {
            let number = counts.entry(name).or_default();
            *number += 1;
            if *number <= others.get(name).copied().unwrap_or(0) {
                continue;
            }
            let kind = if changes(name, line) { &mut calls.changes } else { &mut calls.looks };
            kind.push(Call { name: name.into(), number: *number });
        }
        Ok(calls)
    }
}

/// The one thread that changes anything.
fn worker(trace: &str) -> Result<&str, Failed> {
    let changing = trace.lines().filter_map(begun).filter(|(_, name, line)| changes(name, line));
    let threads: BTreeSet<_> = changing.map(|(thread, ..)| thread).collect();
    match threads.first() {
        Some(thread) if threads.len() == 1 => Ok(thread),
        _ => Err(format!("not one thread changes things, but {threads:?}").into()),
    }
}

fn changes(name: &str, line: &str) -> bool {
    CHANGES.contains(&name) || line.contains("O_CREAT")
}

/// The thread, the name and the line of a call that begins on this line.
fn begun(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_').then_some((thread, name, line))
}
