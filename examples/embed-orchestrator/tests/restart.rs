//! The orchestrator is really killed; what it ran goes on, and is taken up again or replaced.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where its ground gives way")]
use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a test waits for what must happen before it says that it did not.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks: seldom enough to leave the processor to what it waits for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One run of the orchestrator.
struct Run {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
}

/// Ends the services even if the test fails: they outlive everything else by design.
struct Services(Vec<u32>);

/// `WORD NAME pid PID attachment ID epoch EPOCH`
#[derive(Debug)]
struct Line {
    word: String,
    workload: String,
    pid: u32,
    attachment: String,
    epoch: u64,
}

impl Run {
    fn start(directory: &Path, services: &[&str]) -> Self {
        let store = format!("local://{}", directory.join("store").display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed-orchestrator"))
            .arg(store)
            .arg(directory.join("state"))
            .args(services)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, says }
    }

    /// What it did for each service, until it is ready.
    fn ready(&mut self) -> Vec<Line> {
        let lines = self.says.by_ref().map(Result::unwrap).take_while(|line| line != "ready");
        lines.map(|line| Line::parse(&line)).collect()
    }

    fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for pid in self.0.iter().filter(|pid| log_of(**pid).is_some()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
    }
}

impl Line {
    fn parse(text: &str) -> Self {
        let words: Vec<&str> = text.split(' ').collect();
        let [word, workload, "pid", pid, "attachment", attachment, "epoch", epoch] = words[..] else {
            panic!("unexpected line: {text}")
        };
        let (word, workload, attachment) = (word.into(), workload.into(), attachment.into());
        Self { word, workload, pid: pid.parse().unwrap(), attachment, epoch: epoch.parse().unwrap() }
    }
}

#[test]
fn a_killed_orchestrator_takes_up_what_lives_and_replaces_what_died() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Run::start(directory.path(), &["lives", "dies"]);
    let before = first.ready();
    assert_eq!(before.iter().map(|line| line.word.as_str()).collect::<Vec<_>>(), ["started", "started"]);
    let mut services = Services(before.iter().map(|line| line.pid).collect());
    let lives = until(|| log_of(before[0].pid));
    let dies = until(|| log_of(before[1].pid));
    until(|| numbers(&dies).last().copied());
    first.kill_9();
    kill_9(before[1].pid);

    // Nobody serves the volume, and its process writes on.
    let alone = numbers(&lives).len();
    until(|| (numbers(&lives).len() > alone).then_some(()));

    let mut second = Run::start(directory.path(), &["lives", "dies"]);
    let after = second.ready();
    services.0.extend(after.iter().map(|line| line.pid));
    assert_eq!((after[0].word.as_str(), after[0].workload.as_str()), ("adopted", "lives.1"));
    assert_eq!((after[0].pid, &after[0].attachment), (before[0].pid, &before[0].attachment));
    assert!(after[0].epoch > before[0].epoch, "{after:?}");
    assert_eq!((after[1].word.as_str(), after[1].workload.as_str()), ("replaced", "dies.2"));
    assert!(after[1].epoch > before[1].epoch && after[1].pid != before[1].pid, "{after:?}");
    assert_ne!(after[1].attachment, before[1].attachment);

    // The new process counts on where the dead one stopped.
    until(|| log_of(after[1].pid));
    let left = numbers(&dies).len();
    until(|| (numbers(&dies).len() > left).then_some(()));
    second.stop();
    for log in [lives, dies] {
        let counted = numbers(&log);
        assert!(counted.iter().copied().eq(1..=counted.len() as u64), "{counted:?}");
    }
    assert_eq!(log_of(after[0].pid), None, "the service outlived an orderly stop");
}

#[test]
fn a_second_orchestrator_never_takes_a_volume_from_a_live_first_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Run::start(directory.path(), &["only"]);
    let before = first.ready();
    let _services = Services(before.iter().map(|line| line.pid).collect());
    let mut second = Run::start(directory.path(), &["only"]);
    assert!(second.ready().is_empty(), "the second one adopted what the first one serves");
    assert!(!second.child.wait().unwrap().success());
    let log = until(|| log_of(before[0].pid));
    let seen = numbers(&log).len();
    until(|| (numbers(&log).len() > seen).then_some(()));
    first.stop();
}

/// The file that a workload writes to; `None` if it is not running or has not begun.
fn log_of(pid: u32) -> Option<PathBuf> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    targets.find(|target| target.file_name().is_some_and(|name| name == "log"))
}

fn numbers(log: &Path) -> Vec<u64> {
    let text = fs::read_to_string(log).unwrap();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn kill_9(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
    until(|| log_of(pid).is_none().then_some(()));
}

/// Waits until `seen` sees something.
fn until<T>(mut seen: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it did not happen");
        std::thread::park_timeout(LOOK_EVERY);
    }
}
