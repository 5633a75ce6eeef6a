//! The plugin as a process, which can be killed.

use docker_volume_plugin::client;
use runtimes::{Said, run};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

/// A plugin that serves, killed when this is dropped.
pub struct Program {
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    socket: PathBuf,
    running: Option<Running>,
}

struct Running {
    child: Child,
    log: JoinHandle<Vec<String>>,
}

impl Program {
    /// Starts a plugin at `socket` that keeps its state and its default store below `home`, and waits until
    /// it serves.
    pub fn start(socket: PathBuf, home: &Path) -> Self {
        let store = format!("local://{}", home.join("store").display());
        Self::on(socket, home, &store, &["--deadline", "20"], &[])
    }

    /// As `start`, with the store at `url`, and more arguments and variables.
    pub fn on(
        socket: PathBuf,
        home: &Path,
        url: &str,
        more: &[&str],
        variables: &[(&'static str, &str)],
    ) -> Self {
        let (path, state) = (socket.display().to_string(), home.join("state").display().to_string());
        let arguments = ["serve", "--socket", &path, "--state", &state, "--store", url];
        let arguments = arguments.iter().chain(&["--open-mode", "create-if-missing"]).chain(more);
        let arguments = arguments.map(|argument| (*argument).to_owned()).collect();
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut program = Self { arguments, variables, socket, running: None };
        program.launch();
        program
    }

    /// Starts it again.
    pub fn launch(&mut self) {
        let mut command = Command::new(BINARY);
        command.args(&self.arguments).envs(self.variables.clone()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.by_ref().any(|line| line.contains("ready"));
        assert!(ready, "the plugin ended: {:?}", child.wait());
        self.running = Some(Running { child, log: std::thread::spawn(move || lines.collect()) });
    }

    /// Kills it as `kill -9` does, and gives its log.
    pub fn kill(&mut self) -> Vec<String> {
        let Running { mut child, log } = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        log.join().unwrap()
    }

    /// Stops it as `systemctl stop` does, and gives its log.
    pub fn stop(&mut self) -> Vec<String> {
        kill_process(self.pid(), Signal::TERM).unwrap();
        let Running { mut child, log } = self.running.take().unwrap();
        assert!(child.wait().unwrap().success());
        log.join().unwrap()
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.running.as_ref().unwrap().child)
    }

    /// Asks it as Docker does.
    pub fn ask(&self, call: &str, request: Value) -> Result<Value, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = format!("VolumeDriver.{call}");
        let answer = client::call(&self.socket, &endpoint, &request);
        runtime.block_on(answer).map_err(|error| error.to_string())
    }

    /// The IDs of the claims of a volume.
    pub fn holders(&self, volume: &str) -> Vec<String> {
        let got = self.ask("Get", json!({ "Name": volume })).unwrap();
        let holders = got["Volume"]["Status"]["holders"].as_array().unwrap().iter();
        holders.map(|holder| holder["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Runs the program for an operator: `claims`, or `release VOLUME ID`.
    pub fn operate(&self, arguments: &[&str]) -> std::io::Result<String> {
        let (first, rest) = arguments.split_first().unwrap();
        let socket = self.socket.as_os_str();
        run(Command::new(BINARY).arg(first).arg("--socket").arg(socket).args(rest)).and_then(Said::well)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(Running { mut child, .. }) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_file(&self.socket);
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_docker-volume-plugin");
