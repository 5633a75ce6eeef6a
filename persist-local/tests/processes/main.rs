//! Processes: several at once on one store, and each operation repeated after its process was killed.
//!
//! The tests start this very program again as their children: `processes child SCRIPT STORE`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

mod child;
mod killed;
mod scene;
mod together;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, mark, script, store] = &arguments[..]
        && mark == "child"
    {
        child::run(script, std::path::Path::new(store));
        return;
    }
    let mut trials: Vec<Trial> = Vec::new();
    for (name, test) in killed::TESTS.iter().chain(together::TESTS) {
        trials.push(Trial::test(*name, || {
            test();
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
