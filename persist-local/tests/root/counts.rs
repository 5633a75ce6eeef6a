//! What things cost, counted in system calls by strace(1): never in time.

use super::{
    Planned, child,
    filesystem::{Filesystem, Kind, text},
    model::{By, Op},
};
use libtest_mimic::Failed;
use std::{fs, path::Path};

/// fsync(2) calls of one attach and detach of a writer: the epoch, the record, their directories, and the
/// removal.
const FSYNCS_OF_ATTACH_AND_DETACH: usize = 5;

/// fsync(2) calls of the creation of an empty volume, beside one syncfs(2): the record of its name, and
/// the directory of that.
const FSYNCS_OF_CREATE: usize = 2;

/// System calls for one more small file in a copied tree: look, list attributes, open, create, copy, set
/// owner and times, close twice; the directory's own calls spread over its files.
const CALLS_OF_A_COPIED_FILE: usize = 14;

/// Files by which the larger tree is larger.
const MORE_FILES: usize = 2_000;

pub fn trials() -> Vec<Planned> {
    let tools = [Kind::Ext4.tools(), &["strace"]].concat();
    let plan =
        |name: &'static str, run: fn() -> Result<(), Failed>| Planned::new("counts", name, &tools, run);
    vec![
        plan("an_attach_and_detach_costs_few_fsyncs", attach),
        plan("a_create_costs_few_fsyncs", create),
        plan("a_copied_file_costs_few_system_calls", copied_file),
        plan("what_a_volume_holds_costs_its_attach_nothing", attach_of_a_large_volume),
    ]
}

fn attach() -> Result<(), Failed> {
    let volume = || String::from("v");
    let ops = [Op::Create { volume: volume() }, Op::Touch { volume: volume() }];
    let once = count("fsync", &[&ops[..], &ops[1..]].concat())?;
    let never = count("fsync", &ops)?;
    bounded("fsyncs of attach and detach", once - never, FSYNCS_OF_ATTACH_AND_DETACH)
}

fn create() -> Result<(), Failed> {
    let op = |name: &str| Op::Create { volume: name.into() };
    let cost = count("fsync", &[op("a"), op("b")])? - count("fsync", &[op("a")])?;
    bounded("fsyncs of create", cost, FSYNCS_OF_CREATE)
}

fn copied_file() -> Result<(), Failed> {
    let trees = tempfile::tempdir()?;
    let cost = |files: usize| {
        let from = trees.path().join(files.to_string());
        fs::create_dir(&from)?;
        (0..files).try_for_each(|n| fs::write(from.join(n.to_string()), b"some bytes"))?;
        count("all", &[import("v", from)])
    };
    let (small, large) = (cost(MORE_FILES)?, cost(2 * MORE_FILES)?);
    bounded("system calls of a copied file", (large - small).div_ceil(MORE_FILES), CALLS_OF_A_COPIED_FILE)
}

/// Neither its files nor their number: an attach is the same for an empty volume.
fn attach_of_a_large_volume() -> Result<(), Failed> {
    let trees = tempfile::tempdir()?;
    let touch = |files: usize| -> Result<usize, Failed> {
        let from = trees.path().join(files.to_string());
        fs::create_dir(&from)?;
        (0..files).try_for_each(|n| fs::write(from.join(n.to_string()), b"some bytes"))?;
        let import = import("v", from);
        let touch = Op::Touch { volume: "v".into() };
        Ok(count("newfstatat,statx,openat", &[import.clone(), touch.clone(), touch.clone()])?
            - count("newfstatat,statx,openat", &[import, touch])?)
    };
    let (empty, large) = (touch(0)?, touch(MORE_FILES)?);
    bounded("more opened and looked at than for an empty volume", large.saturating_sub(empty), 2)
}

fn import(volume: &str, from: std::path::PathBuf) -> Op {
    Op::Import { volume: volume.into(), from, value: 0, by: By::Copy }
}

fn bounded(what: &str, is: usize, most: usize) -> Result<(), Failed> {
    println!("{what}: {is} (at most {most})");
    if is <= most { Ok(()) } else { Err(format!("{what}: {is}, at most {most}").into()) }
}

/// How often a child that does `ops` on a new store makes `call`.
fn count(call: &str, ops: &[Op]) -> Result<usize, Failed> {
    let filesystem = Filesystem::new(Kind::Ext4, "500M");
    let (store, script) = (filesystem.path().join("store"), filesystem.path().join("script"));
    let trace = filesystem.path().join("trace");
    child::store_script(&script, ops);
    traced(call, &store, &script, &trace)?;
    let lines = fs::read_to_string(&trace)?;
    Ok(lines.lines().filter(|line| line.contains('(') && !line.contains("resumed>")).count())
}

fn traced(call: &str, store: &Path, script: &Path, trace: &Path) -> Result<(), Failed> {
    let filter = format!("trace={call}");
    let words = ["strace", "-f", "-qq", "-o", text(trace), "-e", &filter, "-e", "signal=none"];
    let output = child::command(&words, store, script).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("the traced child failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}
