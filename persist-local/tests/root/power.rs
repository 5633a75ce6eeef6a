//! Power cuts: what was acknowledged is there when the filesystem comes back.

use super::{
    Planned,
    child::{self, Said},
    filesystem::{Filesystem, Kind},
    kills,
    model::{Model, Op},
    said, scene,
};
use libtest_mimic::Failed;
use std::path::Path;

/// Cuts on each filesystem: each one falls after another operation of a script that has them all.
const OPERATIONS: usize = 24;

pub fn trials() -> Vec<Planned> {
    Kind::LASTING
        .into_iter()
        .map(|kind| {
            let name = format!("what_was_acknowledged_survives_a_power_cut_on_{}", kind.word());
            Planned::new("power", name, kind.tools(), move || cut(kind))
        })
        .collect()
}

fn cut(kind: Kind) -> Result<(), Failed> {
    for after in 0..OPERATIONS {
        cut_after(kind, after).map_err(|e| format!("cut after operation {after}: {}", said(e)))?;
    }
    Ok(())
}

/// Stops a script right after the acknowledgement of operation `after`, takes the power, and looks.
fn cut_after(kind: Kind, after: usize) -> Result<(), Failed> {
    let host = (kind == Kind::Btrfs).then(|| Filesystem::new(Kind::Xfs, "2G"));
    let filesystem = on(host.as_ref(), kind);
    let scripts = tempfile::tempdir()?;
    let script = scripts.path().join("script");
    let ops = script_of(OPERATIONS);
    child::store_script(&script, &ops);
    let last = stop_after(&filesystem.path().join("store"), &script, after);
    let filesystem = without_power(filesystem);
    let (done, under_way) = kills::split(&ops, last);
    let before = done.iter().fold(Model::default(), |model, op| model.after(op));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(survives(&filesystem.path().join("store"), &before, under_way))?;
    Ok(())
}

/// After a cut, what was under way may have left its volume's tree torn: nobody acknowledged it. All else
/// is exact.
async fn survives(store: &Path, before: &Model, under_way: Option<&Op>) -> persist_core::Result<()> {
    if let Some(op @ Op::Write { .. }) = under_way {
        let opened = scene::open(store).await?;
        scene::perform(store, &opened, op).await?;
        opened.close().await?;
        return scene::check_interrupted(store, &before.after(op), None).await.map(drop);
    }
    scene::check_interrupted(store, before, under_way).await.map(drop)
}

fn on(host: Option<&Filesystem>, kind: Kind) -> Filesystem {
    let dir = tempfile::Builder::new().prefix("persist-root-").tempdir().unwrap();
    let place = host.map_or_else(|| dir.path().to_owned(), |host| host.path().to_owned());
    Filesystem::within(kind, "700M", place, dir)
}

fn without_power(filesystem: Filesystem) -> Filesystem {
    if filesystem.kind == Kind::Btrfs { filesystem.as_after_a_power_cut() } else { filesystem.cut_power() }
}

fn script_of(length: usize) -> Vec<Op> {
    let mut random = fastrand::Rng::with_seed(7);
    let (mut model, mut fresh) = (Model::default(), 0);
    (0..length)
        .map(|_| {
            let op = model.choose(&mut random, &mut fresh);
            model = model.after(&op);
            op
        })
        .collect()
}

/// Lets a child run until it has acknowledged operation `after`, kills it there or soon after, and says how far
/// it came.
fn stop_after(store: &Path, script: &Path, after: usize) -> Option<Said> {
    let mut child = child::command(&["/usr/bin/env"], store, script).spawn().unwrap();
    let mut said = child::listen(&mut child);
    let reached = said.by_ref().find(|said| *said == Said::Done(after));
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said until the kill reached it counts too: it may be far into the next operation.
    said.last().or(reached)
}
