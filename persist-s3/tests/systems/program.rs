//! Programs that run while they are wanted.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a service may take to come up on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// The first of `programs` that is not installed.
pub fn missing<'a>(programs: &[&'a str]) -> Option<&'a str> {
    programs.iter().find(|program| found(program).is_none()).copied()
}

/// Where a program is.
pub fn found(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.exists())
}

/// A program that is killed, as by `kill -9`, when this is dropped.
pub struct Running(Child);

impl Running {
    /// Starts a program that says nothing that is wanted: its output goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Starts a program that says on its standard error when it is up; the first line that `wanted` finds
    /// something in.
    pub fn start_and_hear(command: &mut Command, wanted: impl Fn(&str) -> Option<String>) -> (Self, String) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said: BufReader<ChildStderr> = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let heard = loop {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "{command:?} ended before it was up");
            if let Some(heard) = wanted(&line) {
                break heard;
            }
        };
        // Whatever it says from here on is read, or it would stop when the pipe is full. Ends with it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        (Self(child), heard)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs a program to its end, which is a success, and gives what it said.
pub fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits until something listens on `port`.
pub fn wait_for_port(port: u16) {
    wait_until("a listener", || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Asks again and again, since these programs do not say when they are up.
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}
