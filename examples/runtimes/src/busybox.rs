//! A root filesystem of one program.

use crate::run;
use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The shell inside a [`RootFilesystem`].
pub const SHELL: &str = "/bin/sh";

/// Where Debian's package busybox-static puts it.
const BUSYBOX: &str = "/bin/busybox";

/// What systemd-nspawn and runc mount on; an image has none of them by itself.
const DIRECTORIES: [&str; 9] = ["bin", "proc", "sys", "dev", "tmp", "etc", "usr", "run", "var"];

/// A directory with busybox in it, removed when this is dropped.
#[derive(Debug)]
pub struct RootFilesystem {
    home: TempDir,
}

impl RootFilesystem {
    /// Makes one from the host's static busybox.
    ///
    /// # Errors
    /// If there is no busybox (Debian: busybox-static), or no place.
    pub fn new() -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("persist-rootfs-").tempdir()?;
        // A user of the container may be anybody here, and must get in.
        fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755))?;
        for name in DIRECTORIES {
            fs::create_dir(home.path().join(name))?;
        }
        fs::set_permissions(home.path().join("tmp"), PermissionsExt::from_mode(0o1777))?;
        let bin = home.path().join("bin");
        fs::copy(BUSYBOX, bin.join("busybox"))
            .map_err(|error| io::Error::new(error.kind(), format!("copy {BUSYBOX}: {error}")))?;
        let commands = run(Command::new(BUSYBOX).arg("--list"))?.well()?;
        for command in commands.lines().filter(|command| *command != "busybox") {
            symlink("busybox", bin.join(command))?;
        }
        Ok(Self { home })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Makes an empty directory inside it, for a mount.
    ///
    /// # Errors
    /// As the system says.
    pub fn directory(&self, inside: &Path) -> io::Result<PathBuf> {
        let at = self.path().join(inside.strip_prefix("/").unwrap_or(inside));
        fs::create_dir_all(&at).map(|()| at)
    }
}
