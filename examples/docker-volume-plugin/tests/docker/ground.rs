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

/// A daemon, and a plugin under a name of its own.
pub struct Ground {
    pub dockerd: Dockerd,
    pub plugin: Program,
    pub driver: String,
    pub home: TempDir,
}

impl Ground {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let driver = format!("persist-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let home = tempfile::Builder::new().prefix("persist-plugin-").tempdir().unwrap();
        let socket = PathBuf::from(PLUGINS).join(format!("{driver}.sock"));
        let plugin = Program::start(socket, home.path());
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

/// Plans a test that needs Docker.
pub fn planned(name: &'static str, test: fn(Ground)) -> Planned {
    Planned::new("docker", name, &["dockerd", "docker", "busybox"], move || {
        test(Ground::new());
        Ok(())
    })
}
