//! Lied to and killed by the kernel, at each system call of a script, by strace(1).

use super::{
    Planned,
    child::{self, Said},
    filesystem::{Filesystem, Kind, text},
    kills,
    model::{Model, Op},
    said, scene,
};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::{
    fs,
    io::Read as _,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
};

/// The calls by which the store changes anything, or makes it last. A kill at a call that only reads is a
/// kill after the change before it.
const CHANGING: [&str; 13] = [
    "mkdir",
    "mkdirat",
    "mknodat",
    "linkat",
    "symlinkat",
    "rename,renameat,renameat2",
    "unlink,unlinkat,rmdir",
    "write",
    "fsync",
    "syncfs",
    "ioctl",
    "copy_file_range",
    "fchmod,fchown,utimensat",
];

/// What the kernel may answer instead, where it may, and at which of its calls: at each, or, where nearly all
/// of them only read, at each of so many.
const ERRORS: [(&str, &str, usize); 13] = [
    ("openat", "EMFILE", 13),
    ("openat", "EIO", 17),
    ("openat2", "EMFILE", 13),
    ("mkdir,mkdirat", "ENOSPC", 1),
    ("linkat", "ENOSPC", 1),
    ("linkat", "EROFS", 1),
    ("unlink,unlinkat", "EIO", 1),
    ("write", "ENOSPC", 1),
    ("write", "EDQUOT", 1),
    ("fsync", "EIO", 1),
    ("syncfs", "EIO", 1),
    ("copy_file_range", "ENOSPC", 1),
    ("ioctl", "ENOSPC", 1),
];

/// A call is made a few hundred times in a script; a loop that ends later than this hangs.
const MOST: usize = 5_000;

pub fn trials() -> Vec<Planned> {
    let tools = |kind: Kind| [kind.tools(), &["strace"]].concat();
    let plan = |kind: Kind, name: String, fault: Fault| {
        Planned::new("injected", name, &tools(kind), move || each(kind, &fault))
    };
    let mut trials = Vec::new();
    for kind in [Kind::Ext4, Kind::Btrfs] {
        for call in CHANGING {
            let name = format!("killed_at_each_{call}_on_{}", kind.word());
            trials.push(plan(kind, name, Fault { call, what: "signal=KILL".into(), stride: 1 }));
        }
        for (call, error, stride) in ERRORS {
            let name = format!("{error}_at_each_{call}_on_{}", kind.word());
            trials.push(plan(kind, name, Fault { call, what: format!("error={error}"), stride }));
        }
    }
    trials
}

struct Fault {
    call: &'static str,
    what: String,
    stride: usize,
}

/// One run for each time the script makes the call, until a run ends without having met it.
fn each(kind: Kind, fault: &Fault) -> Result<(), Failed> {
    let filesystem = Filesystem::new(kind, "1G");
    let script = filesystem.path().join("script");
    let ops = script_of_all();
    child::store_script(&script, &ops);
    for number in (1..MOST).step_by(fault.stride) {
        let run =
            Run { store: filesystem.path().join(format!("store{number}")), script: &script, fault, number };
        let met =
            run.go(&ops).map_err(|e| format!("{}:{} when={number}: {}", fault.call, fault.what, said(e)))?;
        if !met {
            return Ok(());
        }
    }
    Err("the script never ended without meeting the fault".into())
}

struct Run<'a> {
    store: PathBuf,
    script: &'a Path,
    fault: &'a Fault,
    number: usize,
}

impl Run<'_> {
    /// Whether the fault was met.
    fn go(&self, ops: &[Op]) -> Result<bool, Failed> {
        let trace = self.store.with_extension("trace");
        let inject = format!("inject={}:{}:when={}", self.fault.call, self.fault.what, self.number);
        let words = [
            "strace",
            "-f",
            "-qq",
            "-o",
            text(&trace),
            "-e",
            &format!("trace={}", self.fault.call),
            "-e",
            &inject,
        ];
        let mut child = child::command(&words, &self.store, self.script).spawn()?;
        let last = child::listen(&mut child).last();
        let mut complaint = String::new();
        child.stderr.take().ok_or("no stderr")?.read_to_string(&mut complaint)?;
        // strace ends as the traced process did.
        let killed = child.wait()?.signal() == Some(Signal::KILL.as_raw());
        let met = killed || fs::read_to_string(&trace)?.contains("(INJECTED)");
        self.judge(ops, last, &complaint)?;
        fs::remove_file(&trace)?;
        Ok(met)
    }

    fn judge(&self, ops: &[Op], last: Option<Said>, complaint: &str) -> Result<(), Failed> {
        if complaint.contains("panicked") || complaint.contains("REFUSED Internal") {
            return Err(format!("a fault of the kernel is not our bug: {complaint}").into());
        }
        if matches!(last, Some(Said::Failed(_))) && !complaint.contains("REFUSED") {
            return Err(format!("failed without a typed error: {complaint}").into());
        }
        let (done, under_way) = kills::split(ops, last);
        let before = done.iter().fold(Model::default(), |model, op| model.after(op));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(scene::check_interrupted(&self.store, &before, under_way))
            .map_err(|e| format!("{last:?}: {e}"))?;
        let store = text(&self.store).to_owned();
        let _ = std::process::Command::new("rm").args(["-rf", &store]).status();
        Ok(())
    }
}

/// Every operation once, and those that replace something on top of something.
fn script_of_all() -> Vec<Op> {
    let (volume, snapshot) = (String::from("v"), String::from("s"));
    vec![
        Op::Create { volume: volume.clone() },
        Op::Write { volume: volume.clone(), value: 1 },
        Op::Snapshot { volume: volume.clone(), snapshot: snapshot.clone() },
        Op::Write { volume: volume.clone(), value: 2 },
        Op::Restore { volume: volume.clone(), snapshot: snapshot.clone() },
        Op::Clone { volume: volume.clone(), snapshot: snapshot.clone(), to: "c".into() },
        Op::DeleteSnapshot { volume: volume.clone(), snapshot },
        Op::Delete { volume },
        Op::Prune,
    ]
}
