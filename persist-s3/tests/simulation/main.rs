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

mod crowd;
mod faults;
mod life;
mod lived;
mod node;
mod singles;
mod tally;
#[path = "../kills/tree.rs"]
mod tree;
mod truth;

use life::World;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tally::Tally;

/// Seeds in the plain test command; in so many everything happens that is to happen.
const SEEDS: u64 = 40;

/// Lives in one world: each leaves the head of its volume, which every later prune reads.
const LIVES: usize = 16;

#[test]
fn whatever_fails_nothing_acknowledged_is_lost_and_nobody_fenced_commits() {
    let number = |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (first, count) = (number("PERSIST_SEED", 1), number("PERSIST_SEEDS", SEEDS));
    let mut tally = Tally::default();
    crowd::shared(first..first + count, LIVES, lives).into_iter().for_each(|lived| tally.add(lived));
    println!("{count} seeds from {first}: {tally:?}");
    // One life that is lived again need not meet them all.
    if count >= SEEDS {
        assert_eq!(tally.never_happened(), Vec::<&str>::new(), "what never happened");
    }
}

/// Lives seed after seed in one world.
fn lives(seeds: &mut dyn Iterator<Item = u64>) -> Tally {
    let mut world = World::new();
    for seed in seeds {
        let lived = catch_unwind(AssertUnwindSafe(|| world.live(seed)));
        if let Err(broken) = lived {
            eprintln!("PERSIST_SEED={seed} PERSIST_SEEDS=1 lives it again:\n{}", world.told.join("\n"));
            resume_unwind(broken);
        }
    }
    world.tally
}
