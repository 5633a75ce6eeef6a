//! System calls that may never return, made by a process of their own.
//!
//! A call that touches a mount whose server is gone waits in the kernel, sometimes where no signal reaches
//! it. So a process of its own makes it, and this process waits for that one, by its pidfd and with a deadline.
//! At most one helper a mount is left behind; while it is there, no other is started.

mod raw;

pub(crate) use raw::{ANOTHER_DEVICE, Device, Task};

use persist_core::{Error, ErrorKind, Result, Retry};
use raw::Child;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The helpers of one mount.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    /// The one that could not be killed in time.
    stuck: Mutex<Option<Child>>,
}

/// How long a killed helper is waited for before it counts as stuck.
const AFTER_KILL: Duration = Duration::from_millis(500);

impl Helpers {
    /// Has a helper make `task`, and waits for its answer, at most `patience`. Blocks; never on the mount.
    ///
    /// # Errors
    /// `Unavailable` if there is no answer in time, and at once while an earlier helper is stuck; else what
    /// the system call said, as its number in the outer result's value.
    pub(crate) fn run(&self, task: Task, patience: Duration) -> Result<std::result::Result<(), Errno>> {
        let mut stuck = self.stuck();
        if let Some(child) = stuck.as_ref() {
            if child.ended().is_none() {
                return Err(no_answer(patience).context("stuck helper", child.pid()));
            }
            *stuck = None;
        }
        let child = Child::start(task).map_err(|e| {
            Error::new(ErrorKind::Exhausted, "no process could be started to ask the file server")
                .with_source(e)
                .advise("raise the limit of processes, or free memory")
        })?;
        if wait(&child, patience) {
            return Ok(answer(child.ended()));
        }
        child.kill();
        if !wait(&child, AFTER_KILL) {
            *stuck = Some(child);
        }
        Err(no_answer(patience))
    }

    /// The process that cannot be killed, if there is one.
    pub(crate) fn stuck_pid(&self) -> Option<i32> {
        let mut stuck = self.stuck();
        if stuck.as_ref().is_some_and(|child| child.ended().is_some()) {
            *stuck = None;
        }
        stuck.as_ref().map(Child::pid)
    }

    fn stuck(&self) -> MutexGuard<'_, Option<Child>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the helper ended within `patience`.
fn wait(child: &Child, patience: Duration) -> bool {
    let begun = Instant::now();
    loop {
        let left = patience.saturating_sub(begun.elapsed());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&child.handle(), PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(_) if left.is_zero() => return false,
            Err(_) => {}
        }
    }
}

/// The helper's exit status is the number of its error, or how it was killed.
fn answer(status: Option<i32>) -> std::result::Result<(), Errno> {
    match status {
        Some(0) => Ok(()),
        Some(number) => Err(Errno::from_raw_os_error(number)),
        None => Err(Errno::INTR),
    }
}

fn no_answer(patience: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, "the file server does not answer")
        .with_retry(Retry::Verify)
        .context("waited", format_args!("{patience:?}"))
        .advise(
            "look after the server and the network; what was under way is finished or undone when it is back",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn device(path: &str) -> Device {
        use std::os::unix::fs::MetadataExt;
        let number = std::fs::metadata(path).unwrap().dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Device::parse(&format!("{major}:{minor}")).unwrap()
    }

    fn look(path: &str) -> std::result::Result<(), Errno> {
        let on = device(if std::path::Path::new(path).exists() { path } else { "/" });
        look_on(path, on)
    }

    fn look_on(path: &str, device: Device) -> std::result::Result<(), Errno> {
        let path = CString::new(path).unwrap();
        Helpers::default().run(Task::Look(path, device), Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn a_helper_answers_with_the_number_of_its_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(dir.path().to_str().unwrap()), Ok(()));
        assert_eq!(look("/nowhere/at/all"), Err(Errno::NOENT));
    }

    #[test]
    fn what_is_mounted_over_a_path_is_told_from_what_was_there() {
        assert_eq!(look("/proc"), Ok(()));
        assert_eq!(look_on("/proc", device("/")), Err(ANOTHER_DEVICE));
    }

    /// Opening a fifo waits for its other end as a dead mount waits for its server; this one can be killed.
    #[test]
    fn a_helper_without_an_answer_is_given_up_and_none_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        let helpers = Helpers::default();
        let path = CString::new(fifo.to_str().unwrap()).unwrap();
        let error = helpers.run(Task::Open(path), Duration::from_millis(20)).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
        assert_eq!(helpers.stuck_pid(), None);
        let here = CString::new("/").unwrap();
        assert_eq!(helpers.run(Task::Look(here, device("/")), Duration::from_secs(60)).unwrap(), Ok(()));
    }

    #[test]
    fn a_file_that_is_closed_while_a_helper_waits_is_closed_for_everybody() {
        let (reader, writer) = std::io::pipe().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fifo = CString::new(dir.path().join("fifo").to_str().unwrap()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            fifo.as_c_str(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let child = Child::start(Task::Open(fifo)).unwrap();
        drop(writer);
        // The end of the pipe is seen once nobody has it open for writing: not even the helper.
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut &reader, &mut byte).unwrap(), 0);
        assert_eq!(child.ended(), None);
        child.kill();
        assert!(wait(&child, Duration::from_secs(60)));
    }
}
