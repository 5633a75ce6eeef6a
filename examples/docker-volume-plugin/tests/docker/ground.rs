//! A daemon and a plugin that it finds.

use crate::program::Program;
use runtimes::{Dockerd, IMAGE, Planned, SHELL, Said, run};
use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};
use tempfile::TempDir;

/// Where every daemon looks for plugins: there is no argument for it.
const PLUGINS: &str = "/run/docker/plugins";

const README: &str = include_str!("../../../../README.md");

/// A daemon, and a plugin under a name of its own.
pub struct Ground {
    pub dockerd: Dockerd,
    pub plugin: Program,
    pub driver: String,
    pub home: TempDir,
}

impl Ground {
    /// With a store in a directory of its own.
    pub fn new() -> Self {
        let home = tempfile::Builder::new().prefix("persist-plugin-").tempdir().unwrap();
        let (driver, socket) = named();
        let plugin = Program::start(socket, home.path());
        Self { dockerd: Dockerd::start(&[]).unwrap(), plugin, driver, home }
    }

    /// With the store at `url`, and more arguments and variables for the plugin. Its directory is on a device:
    /// copies of an object store's volumes are refused in memory.
    pub fn on(url: &str, arguments: &[&str], variables: &[(&'static str, &str)]) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (driver, socket) = named();
        let plugin = Program::on(socket, home.path(), url, arguments, variables);
        Self { dockerd: Dockerd::start(&[]).unwrap(), plugin, driver, home }
    }

    /// `docker` with these arguments, which must succeed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.dockerd.call(arguments).and_then(Said::well).unwrap()
    }

    /// `docker` with these arguments, which must fail: what it complains about.
    pub fn refused(&self, arguments: &[&str]) -> String {
        self.dockerd.call(arguments).and_then(Said::well).unwrap_err().to_string()
    }

    /// `docker volume create -d DRIVER`, with options.
    pub fn create(&self, name: &str, options: &[&str]) {
        let options: Vec<_> = options.iter().flat_map(|option| ["-o", option]).collect();
        self.docker(&[&["volume", "create", "-d", &self.driver], &options[..], &[name]].concat());
    }

    /// A container that runs `script` to its end, with `mount` by `-v`.
    pub fn run(&self, mount: &str, script: &str) -> String {
        run(&mut self.command(mount, script)).and_then(Said::well).unwrap()
    }

    /// Runs the README's command for `runtime`, with names given a meaning here.
    pub fn readme(&self, runtime: &str, names: &[(&str, &str)]) -> String {
        let rows = README.lines().filter(|line| line.starts_with(&format!("| {runtime} | ")));
        let [row] = rows.collect::<Vec<_>>().try_into().unwrap();
        let driver = format!("-d {}", self.driver);
        let mut line = row.split('`').nth(1).unwrap().to_owned();
        for (name, here) in names.iter().chain(&[("-d persist", &*driver), ("IMAGE", IMAGE)]) {
            assert!(line.contains(name) || *name == "IMAGE", "{line} has no {name}");
            line = line.replace(name, here);
        }
        let mut command = Command::new("bash");
        command
            .args(["-e", "-u", "-c", &line])
            .env("DOCKER_HOST", format!("unix://{}", self.dockerd.socket()));
        run(&mut command).and_then(Said::well).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn command(&self, mount: &str, script: &str) -> Command {
        let mut command = self.dockerd.run();
        command.args(["-v", mount, IMAGE, SHELL, "-c", script]);
        command
    }

    /// A container that goes on until it is removed.
    pub fn start(&self, name: &str, mount: &str, script: &str) {
        let before = ["run", "--detach", "--network", "none", "--name", name, "-v", mount];
        self.docker(&[&before[..], &[IMAGE, SHELL, "-c", script]].concat());
    }
}

/// A driver's name that no other has, and the socket that makes it.
fn named() -> (String, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let driver = format!("persist-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let socket = PathBuf::from(PLUGINS).join(format!("{driver}.sock"));
    (driver, socket)
}

/// Plans a test that needs Docker.
pub fn planned(name: &'static str, test: fn(Ground)) -> Planned {
    Planned::new("docker", name, &["dockerd", "docker", "busybox"], move || {
        test(Ground::new());
        Ok(())
    })
}
