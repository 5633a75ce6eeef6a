//! A service's process: it counts on in a file of its volume until it is killed.

use crate::Outcome;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use std::{fs, io::Write, path::Path, process::Stdio, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// How often a workload writes: often enough for a test to wait for it.
const WRITE_EVERY: Duration = Duration::from_millis(10);

/// A process that the orchestrator can recognise after its own restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Field 22 of proc_pid_stat(5): a later process of the same number has another one.
    start_ticks: u64,
}

/// A process that was started and waits for its go.
pub(crate) struct Waiting {
    pub(crate) process: Process,
    child: Child,
    go: ChildStdin,
}

impl Process {
    /// Whether it runs. One that is dead and not yet waited for is dead.
    pub(crate) fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|(state, start_ticks)| state != 'Z' && start_ticks == self.start_ticks)
    }

    /// Kills it, if it is still the same one, and returns when it has ended.
    pub(crate) async fn kill(&self) -> Outcome {
        if !self.is_alive() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or("not a process number")?;
        kill_process(pid, Signal::KILL)?;
        while self.is_alive() {
            tokio::time::sleep(WRITE_EVERY).await;
        }
        Ok(())
    }
}

impl Waiting {
    /// Starts a workload that writes nothing before it gets its go: what is not in the journal must not
    /// run. If the orchestrator dies in between, the pipe ends, and so does the workload.
    pub(crate) fn start(volume: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--workload").arg(volume).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn()?;
        let go = child.stdin.take().ok_or("the child has no input")?;
        let pid = child.id().ok_or("the child has ended")?;
        let (_, start_ticks) = stat(pid).ok_or("the child has ended")?;
        Ok(Self { process: Process { pid, start_ticks }, child, go })
    }

    /// Lets it write.
    pub(crate) async fn go(mut self) -> Outcome<Child> {
        self.go.write_all(b"!").await?;
        Ok(self.child)
    }
}

/// What the process does.
pub(crate) async fn run(volume: &Path) -> Outcome {
    if tokio::io::stdin().read(&mut [0]).await? == 0 {
        return Err("the orchestrator went before it said go".into());
    }
    let log = volume.join("log");
    let mut file = fs::File::options().append(true).create(true).open(&log)?;
    let mut count = fs::read_to_string(&log)?.lines().count();
    loop {
        count += 1;
        file.write_all(format!("{count}\n").as_bytes())?;
        tokio::time::sleep(WRITE_EVERY).await;
    }
}

/// State and start time of a process (fields 3 and 22 of proc_pid_stat(5)).
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets, which may hold anything: begin after the last bracket.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}
