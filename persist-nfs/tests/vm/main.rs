//! The store on a real kernel NFS server over XFS, in a virtual machine without hardware support.
//!
//! `PERSIST_REQUIRE=nfs cargo test -p persist-nfs --test vm` boots it; without the variable the tests are
//! ignored, so that the plain test command starts no machine. In the machine this same program runs as
//! `/guest SUITE...`, and as the two clients.

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

mod client;
mod conformance;
mod cost;
mod files;
mod hosts;
mod leases;
mod limits;
mod machine;
mod outage;
mod url;

use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;

/// What each boot runs: few boots, the longest first, together all of the conformance suite on 4.2, and on 4.1 what the
/// version matters to. `PERSIST_NFS_SUITES=url,conformance:4_1+attach` is one boot with these alone.
const BOOTS: [(&str, &[&str]); 4] = [
    ("conformance_4_2", &["conformance:4_2-attach.adopt.deletion.sources.targets.serving.capabilities"]),
    ("conformance_4_2_too", &["conformance:4_2+attach.adopt.deletion.sources.targets.serving.capabilities"]),
    ("hosts", &["url", "cost", "hosts", "leases", "limits", "outage"]),
    (
        "conformance_4_1",
        &["conformance:4_1+attach.capabilities.care.restore.snapshots.sources.sync.verbs.volumes"],
    ),
];

/// How many machines run at once: each is one processor, busy but for the one that waits for a server that is gone.
const MACHINES: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os("PERSIST_GUEST").is_some() {
        return if words.first().is_some_and(|word| word == client::MARK) {
            client::main(&words[1..])
        } else {
            guest(&words)
        };
    }
    let required =
        std::env::var("PERSIST_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == "nfs"));
    let trials = match (machine::missing(), required) {
        (None, true) => boots(),
        (Some(why), true) => {
            vec![Trial::test("kernel_nfs", move || Err(format!("required, but {why}").into()))]
        }
        (why, false) => {
            let why = why.unwrap_or_else(|| "not in PERSIST_REQUIRE".into());
            vec![Trial::test(format!("kernel_nfs ({why})"), || Ok(())).with_ignored_flag(true)]
        }
    };
    let arguments = Arguments { test_threads: Some(MACHINES), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One trial a boot.
fn boots() -> Vec<Trial> {
    let image = match machine::image() {
        Ok(image) => image,
        Err(failed) => return vec![Trial::test("kernel_nfs", move || Err(failed))],
    };
    let boot = |name: &str, suites: Vec<String>| {
        let (image, label) = (image.clone(), name.to_owned());
        Trial::test(format!("kernel_nfs::{name}"), move || image.run(&label, &suites))
    };
    match std::env::var("PERSIST_NFS_SUITES") {
        Ok(chosen) => vec![boot("chosen", chosen.split(',').map(str::to_owned).collect())],
        Err(_) => BOOTS
            .iter()
            .map(|(name, suites)| boot(name, suites.iter().map(|suite| (*suite).to_owned()).collect()))
            .collect(),
    }
}

/// The tests inside the machine, one suite after the other: an outage is for all.
fn guest(suites: &[String]) -> ExitCode {
    let mut passed = true;
    for suite in suites {
        let (name, chosen) =
            suite.split_once(':').map_or((suite.as_str(), ""), |(name, chosen)| (name, chosen));
        let (trials, threads) = match name {
            "url" => (url::trials(), 1),
            "cost" => (cost::trials(), 1),
            "hosts" => (hosts::trials(), 1),
            "limits" => (limits::trials(), 1),
            "leases" => (leases::trials(), 1),
            "outage" => (outage::trials(), 1),
            "conformance" => (conformance::trials(chosen), 3),
            other => panic!("no such suite: {other}"),
        };
        println!("=== {suite}");
        let arguments = Arguments {
            test_threads: Some(threads),
            filter: (name != "conformance" && !chosen.is_empty()).then(|| chosen.to_owned()),
            ..Arguments::default()
        };
        passed &= !libtest_mimic::run(&arguments, trials).has_failed();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tests by their names.
pub fn planned(tests: &[(&'static str, fn())]) -> Vec<Trial> {
    let plan = |(name, test): &(&'static str, fn())| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    tests.iter().map(plan).collect()
}

/// Runs a test's future.
pub fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(future);
    // A thread may wait for a server that is gone.
    runtime.shutdown_background();
    done
}

/// Runs a program of the machine that must succeed, and gives what it printed.
pub fn shell(script: &str) -> String {
    let output = std::process::Command::new("/bin/sh").args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
