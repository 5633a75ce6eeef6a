//! The plugin under a real Docker daemon.
//!
//! `PERSIST_REQUIRE=docker cargo test -p docker-volume-plugin --test docker` runs it; without, it is ignored,
//! so that the plain test command starts no daemon.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test ends where its ground gives way"
)]

mod buckets;
mod containers;
mod ground;
mod killed;
mod program;

use libtest_mimic::Arguments;
use runtimes::Planned;
use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [containers::trials(), killed::trials(), buckets::trials()];
    let trials = trials.into_iter().flatten().map(Planned::into_trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
