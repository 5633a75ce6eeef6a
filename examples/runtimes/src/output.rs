//! What a program said.

use std::{
    fs, io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// How a program ended, and what it wrote, as text.
#[derive(Debug, Clone)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, without the last newline.
    pub out: String,
    /// What it wrote to its standard error, without the last newline.
    pub err: String,
}

impl Said {
    /// What it wrote, if it succeeded.
    ///
    /// # Errors
    /// What it complained about, if it failed.
    pub fn well(self) -> io::Result<String> {
        if self.status.success() { Ok(self.out) } else { Err(self.complaint()) }
    }

    fn complaint(&self) -> io::Error {
        io::Error::other(format!("{}: {} {}", self.status, self.out, self.err))
    }
}

/// Runs `command` to its end, without input.
///
/// # Errors
/// If it cannot be started; a program that fails is not an error yet.
pub fn run(command: &mut Command) -> io::Result<Said> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {error}", command.get_program().display()))
    })?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
    Ok(Said { status: output.status, out: text(output.stdout), err: text(output.stderr) })
}

/// Takes away what a runtime left mounted below `home`.
pub(crate) fn unmount_below(home: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below: Vec<_> = points.filter(|at| Path::new(at).starts_with(home)).collect();
    for at in below.into_iter().rev() {
        let _ = run(Command::new("umount").args(["-l", at]));
    }
}
