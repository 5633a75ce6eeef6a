//! Real kills: writers in processes of their own, on a server in a process of its own whose objects are in files.
//!
//! `PERSIST_KILLS` says how many random kills there are, and `PERSIST_SEED` which ones.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod child;
mod known;
mod paused;
mod random;
mod requests;
mod scene;
mod server;
mod tree;

use libtest_mimic::Arguments;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some(child::MARK) => return child::main(words),
        Some(scene::MARK) => return scene::server(words),
        _ => {}
    }
    let trials = [random::trials(), requests::trials(), paused::trials(), server::trials()];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// How much of everything there is: `plain` in the plain test command, more where `PERSIST_KILLS` says how many
/// kills at random there are.
fn kills(plain: usize) -> usize {
    std::env::var("PERSIST_KILLS").map_or(plain, |text| text.parse().unwrap())
}
