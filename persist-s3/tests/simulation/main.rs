//! Nodes on a bucket that fails: seeded lives with an invariant after each step, and every single fault.
//!
//! The verbs of a seed, and which of its requests fail how, are the same each time. Files are real and threads
//! work on them, so the order of requests *within* a verb may differ. `PERSIST_SEEDS` says how many seeds there
//! are, `PERSIST_SEED` which is the first, `PERSIST_SINGLES` how many single faults of each scenario are tried.

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

mod faults;
mod life;
mod node;
mod singles;
#[path = "../kills/tree.rs"]
mod tree;
mod truth;

use life::World;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Seeds in the plain test command.
const SEEDS: u64 = 40;

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_nobody_fenced_commits() {
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let first = number("PERSIST_SEED", 1);
    let mut world = World::new();
    for seed in first..first + number("PERSIST_SEEDS", SEEDS) {
        let lived = catch_unwind(AssertUnwindSafe(|| world.live(seed)));
        if let Err(broken) = lived {
            eprintln!("PERSIST_SEED={seed} PERSIST_SEEDS=1 lives it again:\n{}", world.told.join("\n"));
            resume_unwind(broken);
        }
    }
    println!("{}", world.summary());
    // One life that is lived again need not meet them all.
    if std::env::var_os("PERSIST_SEED").is_none() {
        assert_eq!(world.never_happened(), Vec::<&str>::new(), "what never happened");
    }
}
