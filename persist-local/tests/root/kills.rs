//! Killed at random: at least a thousand times, on every filesystem, and nothing acknowledged is lost.

use super::{
    Planned,
    child::{self, Said},
    filesystem::{Filesystem, Kind},
    model::{Model, Op},
    scene,
};
use libtest_mimic::Failed;
use std::{path::Path, time::Duration};

/// How many kills each filesystem sees; four of them make the thousand that the design asks for.
const KILLS: usize = 260;

/// Operations that a child is given: more than it will live for.
const SCRIPT: usize = 40;

/// The longest life of a child, in microseconds: a script takes about this long on the slowest of them.
const LIFE_MICROS: u64 = 250_000;

pub fn trials() -> Vec<Planned> {
    Kind::ALL
        .into_iter()
        .map(|kind| {
            let name = format!("nothing_acknowledged_is_lost_over_{KILLS}_kills_on_{}", kind.word());
            Planned::new("kills", name, kind.tools(), move || killed(kind))
        })
        .collect()
}

fn killed(kind: Kind) -> Result<(), Failed> {
    let filesystem = Filesystem::new(kind, "1G");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut random = fastrand::Rng::with_seed(seed());
    let (store, script) = (filesystem.path().join("store"), filesystem.path().join("script"));
    let (mut model, mut fresh) = (Model::default(), 0);
    for round in 0..KILLS {
        let ops = plan(&model, &mut random, &mut fresh);
        child::store_script(&script, &ops);
        let last = live_and_die(&store, &script, Duration::from_micros(random.u64(0..LIFE_MICROS)));
        let (done, under_way) = split(&ops, last);
        let before = done.iter().fold(model, |model, op| model.after(op));
        let checked = scene::check_interrupted(&store, &before, under_way);
        model = runtime.block_on(checked).map_err(|e| format!("round {round}, {last:?}: {e}"))?;
    }
    Ok(())
}

/// The seed: the same each time unless `PERSIST_SEED` gives another, and printed when a round fails.
fn seed() -> u64 {
    std::env::var("PERSIST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn plan(model: &Model, random: &mut fastrand::Rng, fresh: &mut u64) -> Vec<Op> {
    let mut model = model.clone();
    (0..SCRIPT)
        .map(|_| {
            let op = model.choose(random, fresh);
            model = model.after(&op);
            op
        })
        .collect()
}

/// Starts a child and kills it after `life`; returns the last thing it said.
fn live_and_die(store: &Path, script: &Path, life: Duration) -> Option<Said> {
    let mut child = child::command(&["/usr/bin/env"], store, script).spawn().unwrap();
    let said = child::listen(&mut child);
    let listener = std::thread::spawn(move || said.last());
    // The moment of the kill is what is random here; nothing waits for anything.
    std::thread::park_timeout(life);
    child.kill().unwrap();
    child.wait().unwrap();
    listener.join().unwrap()
}

/// What was acknowledged, and what was under way.
pub fn split(ops: &[Op], last: Option<Said>) -> (&[Op], Option<&Op>) {
    match last {
        None | Some(Said::Opened) => (&[], None),
        Some(Said::Begun(n) | Said::Failed(n)) => (&ops[..n], Some(&ops[n])),
        Some(Said::Done(n)) => (&ops[..=n], None),
    }
}
