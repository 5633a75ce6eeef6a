//! A tree into a bucket and out again, beside the tools that people would use instead, on the same server.
//!
//! `cargo bench -p persist-s3 --bench peers -- [PART...] [SOURCE] [WORK DIRECTORY] [ROUNDS]`; the parts are `tree`,
//! `database` and `memory`, all by default. The tree is the Rust toolchain's own directory, the work directory the build
//! directory, and there are three rounds, unless told otherwise.
//!
//! The server is the one of the tests, as a process with its objects in files: it makes each object durable, which
//! a tool that writes an object a file pays most. Tools take turns in each phase, and ratios are of medians: of
//! the time that passed, and of the processor time of the tool, which says more on a busy machine.
//!
//! persist's volume is encrypted, as restic's repository always is. Its writer is attached when the clock starts,
//! as a writer is; a peer starts as a process. Its hydrate begins with the opening of the store on a node that has
//! nothing.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

mod memory;
mod node;
mod server;
mod spent;
mod tools;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const PARTS: [&str; 3] = ["tree", "database", "memory"];

fn main() -> ExitCode {
    // Cargo's own `--bench` is not ours.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some(server::MARK) => return server::main(&words[1..]),
        Some(node::MARK) => return node::main(&words[1..]),
        _ => {}
    }
    let (parts, rest): (Vec<_>, Vec<_>) = words.into_iter().partition(|w| PARTS.contains(&w.as_str()));
    let asked = |part: &str| parts.is_empty() || parts.iter().any(|p| p == part);
    let source = rest.first().map_or_else(sysroot, PathBuf::from);
    let work = rest.get(1).map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let rounds = rest.get(2).map_or(3, |text| text.parse().unwrap());
    let scratch = tempfile::Builder::new().prefix("persist-peers-").tempdir_in(work).unwrap();
    if asked("tree") {
        tree::measure(&source, scratch.path(), rounds);
    }
    if asked("database") {
        tree::database(scratch.path(), rounds);
    }
    if asked("memory") {
        memory::measure(scratch.path());
    }
    ExitCode::SUCCESS
}

fn sysroot() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Runs a shell script that is no part of a measurement.
fn shell(script: &str, from: &Path, to: &Path) {
    let status = Command::new("sh").args(["-ec", script]).arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{script}");
}
