//! A Docker daemon of one's own.

use crate::{RootFilesystem, Said, output::unmount_below, run};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

/// The image that every daemon here has: busybox alone.
pub const IMAGE: &str = "busybox:persist";

/// What the daemon logs when its socket can be connected to (`daemon/listeners` of moby).
const LISTENS: &str = "API listen on";

/// Half a second on an idle machine; a minute is a daemon that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A daemon with its own data root, socket and no network; stopped, with its containers, when this is dropped.
#[derive(Debug)]
pub struct Dockerd {
    home: TempDir,
    arguments: Vec<String>,
    running: Option<Running>,
}

/// What is told of the daemon's log.
#[derive(Debug)]
struct Listens;

#[derive(Debug)]
struct Running {
    daemon: Child,
    /// Ends when nothing of the daemon can write to its log any more.
    log: Mutex<mpsc::Receiver<Listens>>,
    copier: JoinHandle<io::Result<()>>,
}

impl Dockerd {
    /// Starts a daemon with these arguments more, waits until it answers, and gives it [`IMAGE`].
    ///
    /// # Errors
    /// Without root or the programs (Debian: docker.io, busybox-static), or if it does not come up; with the
    /// last lines of its log.
    pub fn start(arguments: &[&str]) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("persist-dockerd-").tempdir()?;
        // The host's own configuration must not be read.
        fs::write(home.path().join("daemon.json"), "{}")?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut dockerd = Self { home, arguments, running: None };
        dockerd.launch()?;
        dockerd.import(&RootFilesystem::new()?)?;
        Ok(dockerd)
    }

    /// The client's command, to which the caller adds arguments. The host's configuration is not read.
    pub fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket()));
        command.env("DOCKER_CONFIG", self.home.path().join("client"));
        command.env_remove("DOCKER_CONTEXT");
        command
    }

    /// Runs the client with these arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn call<S: AsRef<std::ffi::OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> io::Result<Said> {
        run(self.docker().args(arguments))
    }

    /// `docker run --rm --network none`, to which the caller adds options, [`IMAGE`] and a command.
    pub fn run(&self) -> Command {
        let mut command = self.docker();
        command.args(["run", "--rm", "--network", "none"]);
        command
    }

    /// The version of the daemon's API, as `1.41`.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn api_version(&self) -> io::Result<String> {
        self.call(["version", "--format", "{{.Server.APIVersion}}"])?.well()
    }

    /// Where its socket is.
    pub fn socket(&self) -> String {
        self.home.path().join("docker.sock").display().to_string()
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.daemon.id())
    }

    /// Stops it as `systemctl stop` does, and waits until it has ended.
    ///
    /// # Errors
    /// As the system says.
    pub fn stop(&mut self) -> io::Result<()> {
        self.end(Signal::TERM)
    }

    /// Kills it, and waits until it has ended; containers go on, as they do on a host.
    ///
    /// # Errors
    /// As the system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.end(Signal::KILL)
    }

    /// Starts it again, after [`stop`](Self::stop) or [`kill`](Self::kill), on the same data.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn launch(&mut self) -> io::Result<()> {
        self.stop()?;
        // Left by a daemon that was killed: the next one believes it alive while a process has that number.
        for left in ["pid", "run/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.home.path().join(left));
        }
        let mut daemon = self.command().spawn()?;
        let said = daemon.stderr.take().ok_or_else(|| io::Error::other("no log of the daemon"))?;
        let (tell, log) = mpsc::channel();
        let file = File::options().create(true).append(true).open(self.log())?;
        let copier = std::thread::spawn(move || keep_log(BufReader::new(said), file, &tell));
        let started = log.recv_timeout(LIMIT);
        self.running = Some(Running { daemon, log: Mutex::new(log), copier });
        started.map(|Listens| ()).map_err(|_| self.did_not_start())
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.home.path().join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args(["--data-root", &at("data"), "--exec-root", &at("run"), "--pidfile", &at("pid")]);
        command.args(["--host", &format!("unix://{}", self.socket()), "--config-file", &at("daemon.json")]);
        command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn import(&self, root: &RootFilesystem) -> io::Result<()> {
        let tar = self.home.path().join("image.tar");
        run(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg("."))?.well()?;
        self.call(["import".as_ref(), tar.as_os_str(), IMAGE.as_ref()])?.well()?;
        fs::remove_file(tar)
    }

    fn end(&mut self, signal: Signal) -> io::Result<()> {
        let Some(Running { mut daemon, log, copier }) = self.running.take() else { return Ok(()) };
        if let Some(pid) = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal)?;
        }
        daemon.wait()?;
        let log = log.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Its containerd, which dies with it (prctl(2), PR_SET_PDEATHSIG), writes to the same log.
        loop {
            match log.recv_timeout(LIMIT) {
                Ok(Listens) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return copier.join().unwrap_or(Ok(())),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(io::Error::other("something of the daemon outlives it"));
                }
            }
        }
    }

    fn log(&self) -> std::path::PathBuf {
        self.home.path().join("log")
    }

    fn did_not_start(&self) -> io::Error {
        /// What an error shows of the log.
        const LINES: usize = 8;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(LINES).collect();
        io::Error::other(format!("dockerd did not start: {}", last.join(" | ")))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // Its containers hold mounts below the data root.
        if let Ok(list) = self.call(["ps", "--quiet", "--all"]).and_then(Said::well) {
            let containers: Vec<_> = list.lines().collect();
            if !containers.is_empty() {
                let _ = self.call(["rm", "--force", "--volumes"].iter().chain(&containers));
            }
        }
        let _ = self.stop();
        // It leaves mounts of its own behind (its data root, network namespaces).
        unmount_below(self.home.path());
    }
}

/// Copies the log to a file, and says when the daemon can be called.
fn keep_log(said: impl BufRead, mut file: File, tell: &mpsc::Sender<Listens>) -> io::Result<()> {
    for line in said.lines() {
        let line = line?;
        writeln!(file, "{line}")?;
        if line.contains(LISTENS) {
            let _ = tell.send(Listens);
        }
    }
    Ok(())
}
