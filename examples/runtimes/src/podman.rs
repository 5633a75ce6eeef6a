//! Podman, with a place of its own and no daemon.

use crate::{IMAGE, RootFilesystem, Said, run};
use std::{fs, io, process::Command};
use tempfile::TempDir;

/// Images and containers of one test, removed when this is dropped.
#[derive(Debug)]
pub struct Podman {
    home: TempDir,
}

impl Podman {
    /// Makes a place and gives it [`IMAGE`].
    ///
    /// # Errors
    /// Without root or the programs (Debian: podman, runc, busybox-static).
    pub fn new() -> io::Result<Self> {
        let podman = Self { home: tempfile::Builder::new().prefix("persist-podman-").tempdir()? };
        let (root, tar) = (RootFilesystem::new()?, podman.home.path().join("image.tar"));
        run(Command::new("tar").arg("-C").arg(root.path()).arg("-cf").arg(&tar).arg("."))?.well()?;
        run(podman.podman().arg("import").arg(&tar).arg(IMAGE))?.well()?;
        fs::remove_file(tar)?;
        Ok(podman)
    }

    /// Its command, to which the caller adds arguments.
    pub fn podman(&self) -> Command {
        let at = |name: &str| self.home.path().join(name).display().to_string();
        let mut command = Command::new("podman");
        command.args(["--root", &at("data"), "--runroot", &at("run"), "--tmpdir", &at("tmp")]);
        // Neither systemd nor a journal, nor overlays on whatever is underneath.
        command.args(["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--storage-driver", "vfs"]);
        command.args(["--runtime", "runc"]);
        command
    }

    /// `podman run --rm --network none`, to which the caller adds options, [`IMAGE`] and a command.
    pub fn run(&self) -> Command {
        let mut command = self.podman();
        command.args(["run", "--rm", "--network", "none"]);
        // Its own defaults are above what a host may allow.
        command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        command
    }

    /// The containers that are there, running or not.
    ///
    /// # Errors
    /// As Podman says.
    pub fn containers(&self) -> io::Result<String> {
        run(self.podman().args(["ps", "--all", "--quiet"])).and_then(Said::well)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = run(self.podman().args(["rm", "--all", "--force"]));
        crate::output::unmount_below(self.home.path());
    }
}
