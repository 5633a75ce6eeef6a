//! What needs S3 services that others wrote.
//!
//! `PERSIST_REQUIRE=moto,ceph cargo test -p persist-s3 --test systems` runs the suites that it names, all of
//! which must be able to: without their programs they fail. A suite that is not named is ignored, so that the
//! plain test command starts no server; `-- --ignored` runs it.
//!
//! | Suite | Programs | Where from |
//! |---|---|---|
//! | `moto` | `moto_server` | PyPI `moto[server]` |
//! | `ceph` | `ceph-mon`, `ceph-osd`, `radosgw`, `ceph`, `radosgw-admin`, `monmaptool` | Debian |

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

mod ceph;
mod client;
mod moto;
mod program;
mod service;

use client::Test;
use libtest_mimic::{Arguments, Failed, Trial};
use service::Service;
use std::{
    process::ExitCode,
    sync::{Arc, OnceLock},
};

fn main() -> ExitCode {
    let signed = [client::TESTS, client::SIGNED].concat();
    let trials = [
        suite("moto", moto::PROGRAMS, moto::started, client::TESTS),
        suite("ceph", ceph::PROGRAMS, ceph::started, &signed),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit_code()
}

/// The tests of one service, which is started by the first of them that runs, and stopped behind the last.
fn suite(name: &'static str, programs: &[&str], start: fn() -> Service, tests: &[Test]) -> Vec<Trial> {
    let service = Arc::new(OnceLock::new());
    let missing = program::missing(programs).map(|program| format!("needs {program}"));
    let trials = tests.iter().map(|&(test, run)| {
        let service = Arc::clone(&service);
        let run = move || {
            run(service.get_or_init(|| service::ready(start())));
            Ok(())
        };
        planned(name, test, missing.as_deref(), run)
    });
    trials.collect()
}

fn planned(
    suite: &str,
    test: &str,
    missing: Option<&str>,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = format!("{suite}::{test}");
    match (missing.map(str::to_owned), required(suite)) {
        (None, true) => Trial::test(name, run),
        (None, false) => Trial::test(format!("{name} (not in PERSIST_REQUIRE)"), run).with_ignored_flag(true),
        (Some(why), true) => Trial::test(name, move || Err(format!("required, but {why}").into())),
        (Some(why), false) => Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true),
    }
}

fn required(suite: &str) -> bool {
    std::env::var("PERSIST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == suite))
}
