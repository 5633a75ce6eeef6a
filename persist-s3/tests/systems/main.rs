//! What needs S3 services that others wrote: the clients, every promise of the contract, access policies, and kills of
//! a gateway.
//!
//! `PERSIST_REQUIRE=moto,ceph cargo test -p persist-s3 --test systems` runs the suites that it names, all of
//! which must be able to: without their programs they fail. A suite that is not named is ignored, so that the
//! plain test command starts no server; `-- --ignored` runs it.
//!
//! | Suite | Programs | Where from |
//! |---|---|---|
//! | `moto` | `moto_server`, and the `python3` beside it | PyPI `moto[server]` |
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
mod contract;
mod killed;
mod moto;
#[path = "../subject/place.rs"]
mod place;
mod policies;
mod program;
mod service;
mod suite;
#[path = "../kills/tree.rs"]
mod tree;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use suite::Suite;

/// Trials at once, unless told otherwise: each waits for its service most of the time.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let moto = Suite::new("moto", moto::PROGRAMS, moto::started);
    let ceph = Suite::new("ceph", ceph::PROGRAMS, ceph::started);
    let mut trials = Vec::new();
    for suite in [&moto, &ceph] {
        trials.extend(clients(suite, client::TESTS));
        trials.extend(contract::trials(suite));
    }
    trials.extend(clients(&ceph, client::SIGNED));
    trials.extend(killed::trials(&ceph));
    trials.extend(policies::trials(&ceph));
    drop((moto, ceph));
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn clients(suite: &Suite, tests: &[client::Test]) -> Vec<Trial> {
    tests.iter().map(|&(name, run)| suite.trial(name, move |service| run(service))).collect()
}
