//! systemd-nspawn, without systemd as the host's first process.

use crate::{RootFilesystem, Said, run};
use std::{io, path::Path, process::Command};

/// Runs `script` with a shell in a container of its own, with these options more. It gets no terminal and is
/// registered nowhere.
///
/// # Errors
/// If nspawn cannot be started.
pub fn nspawn<S: AsRef<std::ffi::OsStr>>(
    root: &RootFilesystem,
    options: impl IntoIterator<Item = S>,
    script: &str,
) -> io::Result<Said> {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--register=no", "--keep-unit", "--pipe", "--directory"]).arg(root.path());
    let said = run(command.args(options).args([crate::SHELL, "-c", script]));
    // It leaves a directory of the machine's name, which is that of its root.
    if let Some(machine) = root.path().file_name() {
        let _ = std::fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(machine));
    }
    said
}
