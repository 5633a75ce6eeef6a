//! Killed and lied to by the kernel, at each system call of a script by which anything changes, by strace(1).
//!
//! A run of the script that nothing disturbs lists its calls. Then it is run once for each of them: killed
//! there, or refused there. Every call that changes something is killed at. Six refusals at each would be six
//! times as many runs: the calls take them in turn, and each filesystem begins two further on, so that a call
//! is refused on every filesystem, each time in another way. Of the calls that only look, so many are refused,
//! evenly spread.

mod calls;
pub mod run;

use super::{
    Planned, child,
    filesystem::{Filesystem, Kind},
    model::{By, Op},
    said,
};
use calls::{Call, Calls};
use libtest_mimic::Failed;
use run::{Fault, Run};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// What the kernel may answer instead, as errno(3) names it.
const REFUSALS: [&str; 6] = ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "EACCES"];

/// Where the calls differ: plain, by reflink(ioctl_ficlone(2)), and with subvolumes.
const KINDS: [Kind; 3] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs];

/// Calls at most that are tried of those that only look, of about 2,000: a run takes about a fifth of a second.
const LOOKS_MAX: usize = 120;

pub fn trials() -> Vec<Planned> {
    let tools = |kind: Kind| [kind.tools(), &["strace"]].concat();
    let plan = |(turn, kind): (usize, Kind), what: &str, tried: Tried| {
        let name = format!("{what}_on_{}", kind.word());
        Planned::new("injected", name, &tools(kind), move || each(kind, turn, tried))
    };
    let kinds = || KINDS.into_iter().enumerate();
    let killed = kinds().map(|kind| plan(kind, "killed_at_each_change", Tried::Kills));
    let refused = kinds().map(|kind| plan(kind, "refused_at_each_change", Tried::Changes));
    let blind = kinds().map(|kind| plan(kind, "refused_where_it_looks", Tried::Looks));
    killed.chain(refused).chain(blind).collect()
}

/// What a trial tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Kills,
    Changes,
    Looks,
}

fn each(kind: Kind, turn: usize, tried: Tried) -> Result<(), Failed> {
    let filesystem = Filesystem::new(kind, "1G");
    let ops = script_of_all();
    let script = filesystem.path().join("script");
    child::store_script(&script, &ops);
    let run = |number: usize| Run::new(filesystem.path().join(format!("run{number}")), &script, &ops);
    let calls = run(0)?.undisturbed()?;
    let faults = faults(&calls, turn, tried);
    let runs = faults.len();
    for (number, fault) in (1..).zip(faults) {
        let run = AssertUnwindSafe(run(number)?);
        // A broken promise panics: with which fault must be said.
        let judged = catch_unwind(|| run.with(&fault)).map_err(|_| "a promise was broken".into());
        judged.and_then(|judged| judged).map_err(|e: Failed| format!("{fault}: {}", said(e)))?;
    }
    println!("{}: {runs} runs, {tried:?}", kind.word());
    Ok(())
}

fn faults(calls: &Calls, turn: usize, tried: Tried) -> Vec<Fault> {
    let refused = |(number, call): (usize, &Call)| Fault {
        call: call.clone(),
        refusal: Some(REFUSALS[(number + 2 * turn) % REFUSALS.len()]),
    };
    match tried {
        Tried::Kills => {
            calls.changes.iter().map(|call| Fault { call: call.clone(), refusal: None }).collect()
        }
        Tried::Changes => calls.changes.iter().enumerate().map(refused).collect(),
        Tried::Looks => spread(&calls.looks).enumerate().map(refused).collect(),
    }
}

fn spread(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().step_by(calls.len().div_ceil(LOOKS_MAX).max(1))
}

/// Every operation once, and those that replace something on top of something.
pub fn script_of_all() -> Vec<Op> {
    let (volume, snapshot) = (|| String::from("v"), || String::from("s"));
    let import = |to: &str, by, value| Op::Import { volume: to.into(), from: run::source(by), value, by };
    vec![
        Op::Create { volume: volume() },
        Op::Write { volume: volume(), value: 1 },
        Op::Snapshot { volume: volume(), snapshot: snapshot() },
        Op::Write { volume: volume(), value: 2 },
        Op::Restore { volume: volume(), snapshot: snapshot() },
        Op::Clone { volume: volume(), snapshot: snapshot(), to: "c".into() },
        Op::Mount { volume: volume() },
        Op::Adopt { volume: volume() },
        import("i", By::Copy, run::SOURCES[0].1),
        import("m", By::Move, run::SOURCES[1].1),
        Op::DeleteSnapshot { volume: volume(), snapshot: snapshot() },
        Op::Delete { volume: volume() },
        Op::Prune,
    ]
}

fn text(path: &Path) -> &str {
    super::filesystem::text(path)
}
