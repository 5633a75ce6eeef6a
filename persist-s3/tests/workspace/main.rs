//! A workspace in other processes: killed at each system call by which anything changes, and counted. Needs strace(1);
//! without it the trials are left out, and say so.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod child;
mod counts;
mod kills;

#[path = "../../src/workspace/tests/commit.rs"]
mod commit;

use libtest_mimic::{Arguments, Trial};
use persist_s3::workspace::hydrate;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(child::MARK) {
        return child::main(words);
    }
    let strace = Command::new("strace").arg("-V").output().is_ok_and(|done| done.status.success());
    if !strace {
        eprintln!("left out: strace is not here");
    }
    let trials: Vec<Trial> = kills::trials().into_iter().chain(counts::trials()).collect();
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(!strace)).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
