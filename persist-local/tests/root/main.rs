//! What needs root: the store on real filesystems, killed, cut off from power, and lied to by the kernel.
//!
//! `PERSIST_REQUIRE=conformance,counts,injected,kills,power,scarce cargo test -p persist-local --test root` runs the
//! suites that it names, all of which must be able to: without root, or without a tool, they fail. A suite that
//! is not named is ignored, also by root, so that the plain test command mounts nothing; `-- --ignored` runs it.

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
mod conformance;
mod counts;
mod filesystem;
mod injected;
mod kills;
mod model;
mod power;
mod raw;
mod scarce;
mod scene;
mod subject;

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(child::MARK) {
        return child::main(words);
    }
    // The longest first: behind them nothing would fill the other processors.
    let trials = [
        injected::trials(),
        kills::trials(),
        power::trials(),
        scarce::trials(),
        counts::trials(),
        conformance::trials(),
    ];
    let trials = trials.into_iter().flatten().map(Planned::into_trial).collect();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert_with(at_once);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Trials at once, unless told otherwise: each waits for its disk half of the time.
fn at_once() -> usize {
    2 * std::thread::available_parallelism().map_or(1, Into::into)
}

/// A test, the suite it belongs to, and the programs it needs.
pub struct Planned {
    suite: &'static str,
    name: String,
    tools: Vec<&'static str>,
    run: Box<dyn FnOnce() -> Result<(), Failed> + Send>,
}

impl Planned {
    /// Plans a test of `suite`.
    pub fn new(
        suite: &'static str,
        name: impl Into<String>,
        tools: &[&'static str],
        run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Self {
        Self { suite, name: name.into(), tools: tools.to_vec(), run: Box::new(run) }
    }

    fn into_trial(self) -> Trial {
        let Self { suite, name, tools, run } = self;
        let name = format!("{suite}::{name}");
        match (missing(&tools), required(suite)) {
            (None, true) => Trial::test(name, run),
            (None, false) => {
                Trial::test(format!("{name} (not in PERSIST_REQUIRE)"), run).with_ignored_flag(true)
            }
            (Some(why), true) => Trial::test(name, move || Err(format!("required, but {why}").into())),
            (Some(why), false) => Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true),
        }
    }
}

fn missing(tools: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &str| std::env::split_paths(&paths).any(|dir| dir.join(tool).exists());
    tools.iter().find(|tool| !found(tool)).map(|tool| format!("needs {tool}"))
}

fn required(suite: &str) -> bool {
    std::env::var("PERSIST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == suite))
}

/// What a failed part of a test said.
fn said(failed: Failed) -> String {
    failed.message().unwrap_or("failed").to_owned()
}
