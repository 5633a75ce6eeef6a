//! Volumes used by real container runtimes.
//!
//! `PERSIST_REQUIRE=docker,nspawn,podman,runc,systemd,readme cargo test -p runtimes --test seed` runs the suites that it names; the others are
//! ignored, so that the plain test command starts no daemon.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test"
)]

mod compose;
mod docker;
mod nspawn;
mod podman;
mod readme;
mod runc;
mod systemd;
mod volume;

use libtest_mimic::Arguments;
use runtimes::Planned;
use std::process::ExitCode;

fn main() -> ExitCode {
    let trials = [
        compose::trials(),
        docker::trials(),
        nspawn::trials(),
        podman::trials(),
        runc::trials(),
        systemd::trials(),
        readme::trials(),
    ];
    let trials = trials.into_iter().flatten().map(Planned::into_trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
