//! One run of the script in a store of its own, under strace(1).

use super::{
    super::{
        child::{self, Said},
        kills,
        model::{By, Model, Op},
        scene,
    },
    calls::{self, Call, Calls},
    text,
};
use libtest_mimic::Failed;
use rustix::process::Signal;
use std::{
    fmt, fs,
    io::Read as _,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Directories that become volumes, and the value of the tree in each.
pub const SOURCES: [(By, u64); 2] = [(By::Copy, 3), (By::Move, 4)];

/// Where the directory lies that becomes a volume in this way: beside the store.
pub fn source(by: By) -> PathBuf {
    format!("{by:?}").to_lowercase().into()
}

/// What happens at one call.
#[derive(Debug)]
pub struct Fault {
    pub call: Call,
    /// The error that it gives; `None` for a kill.
    pub refusal: Option<&'static str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.refusal.unwrap_or("killed"), self.call)
    }
}

/// One run of the script.
#[derive(Debug)]
pub struct Run<'a> {
    dir: PathBuf,
    script: &'a Path,
    ops: &'a [Op],
}

/// How a run ended.
#[derive(Debug)]
struct Ended {
    last: Option<Said>,
    complaint: String,
    was_killed: bool,
    trace: String,
}

impl<'a> Run<'a> {
    /// Makes what the script finds: `dir` with the directories that become volumes, and the target of a mount.
    pub fn new(dir: PathBuf, script: &'a Path, ops: &'a [Op]) -> Result<Self, Failed> {
        fs::create_dir(&dir)?;
        let run = Self { dir, script, ops };
        for (by, value) in SOURCES {
            let from = run.dir.join(source(by));
            fs::create_dir(&from)?;
            scene::plant(&from, value)?;
        }
        scene::make_target(&run.store(), "v");
        Ok(run)
    }

    /// The calls of the script when nothing happens.
    pub fn undisturbed(&self) -> Result<Calls, Failed> {
        let ended = self.traced(&calls::traced(), &[])?;
        if ended.last != Some(Said::Done(self.ops.len() - 1)) {
            return Err(format!("the script ended at {:?}: {}", ended.last, ended.complaint).into());
        }
        Calls::parse(&ended.trace)
    }

    /// Runs the script with a fault, and judges what it left.
    pub fn with(&self, fault: &Fault) -> Result<(), Failed> {
        let what = fault.refusal.map_or_else(|| "signal=KILL".into(), |error| format!("error={error}"));
        let Call { name, number } = &fault.call;
        let ended = self.traced(name, &["-e", &format!("inject={name}:{what}:when={number}")])?;
        if !ended.was_killed && !ended.trace.contains("(INJECTED)") {
            return Err("the fault was never met".into());
        }
        self.judge(&ended)?;
        // On btrfs a snapshot that nobody may write stays, and goes with the filesystem.
        let _ = fs::remove_dir_all(&self.dir);
        Ok(())
    }

    /// Runs the script with so few descriptors, and judges what it left; whether it was done to its end.
    pub fn with_descriptors(&self, few: u64) -> Result<bool, Failed> {
        let mut command = child::command(&["/usr/bin/env"], &self.store(), self.script);
        let ended = Self::ended(command.arg(few.to_string()))?;
        self.judge(&ended)?;
        Ok(ended.last == Some(Said::Done(self.ops.len() - 1)))
    }

    fn traced(&self, names: &str, inject: &[&str]) -> Result<Ended, Failed> {
        let (trace, filter) = (self.dir.join("trace"), format!("trace={names}"));
        let words = ["strace", "-f", "-qq", "-o", text(&trace), "-e", &filter];
        let words = [&words[..], inject].concat();
        let ended = Self::ended(&mut child::command(&words, &self.store(), self.script))?;
        Ok(Ended { trace: fs::read_to_string(&trace)?, ..ended })
    }

    fn ended(command: &mut Command) -> Result<Ended, Failed> {
        let mut child = command.spawn()?;
        let last = child::listen(&mut child).last();
        let mut complaint = String::new();
        child.stderr.take().ok_or("no stderr")?.read_to_string(&mut complaint)?;
        // strace ends as the traced process did.
        let was_killed = child.wait()?.signal() == Some(Signal::KILL.as_raw());
        Ok(Ended { last, complaint, was_killed, trace: String::new() })
    }

    fn judge(&self, ended: &Ended) -> Result<(), Failed> {
        let Ended { last, complaint, .. } = ended;
        if complaint.contains("panicked") || complaint.contains("REFUSED Internal") {
            return Err(format!("a fault of the kernel is not our bug: {complaint}").into());
        }
        if matches!(last, Some(Said::Failed(_))) && !complaint.contains("REFUSED") {
            return Err(format!("failed without a typed error: {complaint}").into());
        }
        let (done, under_way) = kills::split(self.ops, *last);
        let before = done.iter().fold(Model::default(), |model, op| model.after(op));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let store = self.store();
        let checked = runtime.block_on(scene::check_interrupted(&store, &before, under_way));
        let checked = checked.map_err(|e| format!("{last:?}, {complaint}: {e}"));
        checked.map(drop).map_err(Into::into)
    }

    fn store(&self) -> PathBuf {
        self.dir.join("store")
    }
}
