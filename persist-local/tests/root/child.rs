//! The process that is killed: does a script and says before and after each operation where it is.

use super::{model::Op, scene};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
};

/// The first argument of a child.
pub const MARK: &str = "--as-child";

/// What a child said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Opened,
    Begun(usize),
    Done(usize),
    Failed(usize),
}

/// A script as a file, for a child to read.
pub fn store_script(path: &Path, ops: &[Op]) {
    std::fs::write(path, serde_json::to_vec(ops).unwrap()).unwrap();
}

/// The command of a child, with `before` (a tracer, say) in front of it.
pub fn command(before: &[&str], store: &Path, script: &Path) -> Command {
    let me = std::env::current_exe().unwrap();
    let mut words = before.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    words.extend(
        [me.to_str().unwrap(), MARK, store.to_str().unwrap(), script.to_str().unwrap()].map(String::from),
    );
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Everything a child says until it ends or says nothing more.
pub fn listen(child: &mut Child) -> impl Iterator<Item = Said> + use<> {
    let out: ChildStdout = child.stdout.take().unwrap();
    BufReader::new(out).lines().map_while(|line| said(&line.ok()?))
}

/// The child itself.
pub fn main(mut words: impl Iterator<Item = String>) -> ExitCode {
    let (store, script) = (PathBuf::from(words.next().unwrap()), PathBuf::from(words.next().unwrap()));
    let ops: Vec<Op> = serde_json::from_slice(&std::fs::read(script).unwrap()).unwrap();
    let runtime = work_on_one_thread();
    let few = words.next().map_or(FEW_DESCRIPTORS, |text| text.parse().unwrap());
    allow_descriptors(few);
    runtime.block_on(act(&store, &ops))
}

/// A runtime on which all file work is done by one thread: strace(1) counts the calls of each thread apart,
/// and a number is to mean the same call each time.
fn work_on_one_thread() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().max_blocking_threads(1).build().unwrap()
}

fn allow_descriptors(few: u64) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit { current: Some(few), ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
}

/// With so few, the tree engine copies on the thread that calls it.
pub const FEW_DESCRIPTORS: u64 = 47;

async fn act(root: &Path, ops: &[Op]) -> ExitCode {
    let store = match scene::open(root).await {
        Ok(store) => store,
        Err(error) => return refused(&error),
    };
    say("opened");
    for (number, op) in ops.iter().enumerate() {
        say(&format!("begin {number}"));
        match scene::perform(root, &store, op).await {
            Ok(()) => say(&format!("done {number}")),
            Err(error) => {
                say(&format!("failed {number}"));
                return refused(&error);
            }
        }
    }
    ExitCode::SUCCESS
}

/// An error that the child met is told on one line, for the parent to judge.
fn refused(error: &persist_core::Error) -> ExitCode {
    tell(std::io::stderr(), &format!("REFUSED {:?} {:?} {error}\n", error.kind(), error.retry()));
    ExitCode::from(3)
}

fn say(line: &str) {
    tell(std::io::stdout(), &format!("{line}\n"));
}

/// One write a line: what was said before a kill arrives whole. By writev(2), which the store does not use:
/// no fault that is meant for the store hits what the child says.
fn tell(out: impl std::os::fd::AsFd, line: &str) {
    let told = rustix::io::writev(&out, &[std::io::IoSlice::new(line.as_bytes())]);
    assert_eq!(told, Ok(line.len()));
}

fn said(line: &str) -> Option<Said> {
    let (word, number) = line.split_once(' ').unwrap_or((line, "0"));
    let number = number.parse().ok()?;
    match word {
        "opened" => Some(Said::Opened),
        "begin" => Some(Said::Begun(number)),
        "done" => Some(Said::Done(number)),
        "failed" => Some(Said::Failed(number)),
        _ => None,
    }
}
