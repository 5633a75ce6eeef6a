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
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The helpers of one mount: one at a time.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    state: Mutex<State>,
    /// Told when a helper is done with.
    over: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many have begun: the number of the last one.
    begun: u64,
    is_under_way: bool,
    /// The last one that is over.
    last: Option<Over>,
    /// The one that could not be killed in time.
    stuck: Option<Child>,
}

/// A helper that is over.
#[derive(Debug)]
struct Over {
    number: u64,
    answer: Answer,
}

/// What the system call said; `None` if it said nothing in time.
type Answer = Option<std::result::Result<(), Errno>>;

/// How long a killed helper is waited for before it counts as stuck.
const AFTER_KILL: Duration = Duration::from_millis(500);

impl Helpers {
    /// Has a helper make `task`, and waits for its answer, at most `patience`. Blocks; never on the mount.
    ///
    /// Whoever comes while another's helper is under way waits for its end: its silence is his as well. An answer
    /// is only his if it was asked for after he came; so calls at once ask the same.
    ///
    /// # Errors
    /// `Unavailable` if there is no answer in time, and at once while an earlier helper is stuck; else what
    /// the system call said, as its number in the outer result's value.
    pub(crate) fn run(&self, task: Task, patience: Duration) -> Result<std::result::Result<(), Errno>> {
        let mut state = match self.turn() {
            Turn::Ours(state) => state,
            Turn::Shared(answer) => return answer.ok_or_else(|| no_answer(patience)),
        };
        if let Some(pid) = state.stuck_pid() {
            return Err(no_answer(patience).context("stuck helper", pid));
        }
        let child = Child::start(task).map_err(not_started)?;
        state.begun += 1;
        state.is_under_way = true;
        drop(state);
        let (answer, stuck) = hear(child, patience);
        self.end(answer, stuck);
        answer.ok_or_else(|| no_answer(patience))
    }

    /// The process that cannot be killed, if there is one. Waits for nobody.
    pub(crate) fn stuck_pid(&self) -> Option<i32> {
        self.state().stuck_pid()
    }

    /// Waits until no helper is under way, or until one is over whose answer may be shared.
    fn turn(&self) -> Turn<'_> {
        let mut state = self.state();
        let came = state.begun;
        while state.is_under_way {
            state = self.over.wait(state).unwrap_or_else(PoisonError::into_inner);
            match &state.last {
                Some(over) if over.number >= came && over.answer.is_none() => return Turn::Shared(None),
                Some(over) if over.number > came => return Turn::Shared(over.answer),
                _ => {}
            }
        }
        Turn::Ours(state)
    }

    fn end(&self, answer: Answer, stuck: Option<Child>) {
        let mut state = self.state();
        state.last = Some(Over { number: state.begun, answer });
        state.stuck = stuck;
        state.is_under_way = false;
        drop(state);
        self.over.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose turn it is to start a helper.
enum Turn<'a> {
    Ours(MutexGuard<'a, State>),
    /// Nobody's: another's answer will do.
    Shared(Answer),
}

impl State {
    fn stuck_pid(&mut self) -> Option<i32> {
        if self.stuck.as_ref().is_some_and(|child| child.ended().is_some()) {
            self.stuck = None;
        }
        self.stuck.as_ref().map(Child::pid)
    }
}

/// The answer of a helper, and the helper itself if it can neither answer nor be killed in time.
fn hear(child: Child, patience: Duration) -> (Answer, Option<Child>) {
    if wait(&child, patience) {
        return (Some(answer(child.ended())), None);
    }
    child.kill();
    let is_gone = wait(&child, AFTER_KILL);
    (None, (!is_gone).then_some(child))
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

fn not_started(error: io::Error) -> Error {
    Error::new(ErrorKind::Exhausted, "no process could be started to ask the file server")
        .with_source(error)
        .advise("raise the limit of processes, or free memory")
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
    use rustix::fs::{CWD, FileType, Mode};
    use std::{ffi::CString, fs::File, path::Path, sync::Barrier};

    fn device(path: &str) -> Device {
        use std::os::unix::fs::MetadataExt;
        let number = std::fs::metadata(path).unwrap().dev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        Device::parse(&format!("{major}:{minor}")).unwrap()
    }

    fn look(path: &str) -> std::result::Result<(), Errno> {
        let on = device(if Path::new(path).exists() { path } else { "/" });
        look_on(path, on)
    }

    fn look_on(path: &str, device: Device) -> std::result::Result<(), Errno> {
        let path = CString::new(path).unwrap();
        Helpers::default().run(Task::Look(path, device), Duration::from_secs(60)).unwrap()
    }

    /// Opening it for reading waits until somebody opens it for writing.
    fn fifo(directory: &Path) -> CString {
        let path = CString::new(directory.join("fifo").to_str().unwrap()).unwrap();
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(CWD, path.as_c_str(), FileType::Fifo, mode, 0).unwrap();
        path
    }

    fn look_at_nothing() -> Task {
        Task::Look(CString::new("/nowhere/at/all").unwrap(), device("/"))
    }

    fn until_one_is_under_way(helpers: &Helpers) {
        while !helpers.state().is_under_way {
            std::thread::yield_now();
        }
    }

    #[test]
    fn those_who_ask_a_silent_server_at_once_do_not_wait_one_after_another() {
        const ASKING: usize = 16;
        let dir = tempfile::tempdir().unwrap();
        let (helpers, silent, begin) = (Helpers::default(), fifo(dir.path()), Barrier::new(ASKING));
        std::thread::scope(|scope| {
            for _ in 0..ASKING {
                scope.spawn(|| {
                    begin.wait();
                    let asked = helpers.run(Task::Open(silent.clone()), Duration::from_millis(500));
                    assert_eq!(asked.unwrap_err().kind(), ErrorKind::Unavailable);
                });
            }
        });
        // A machine under load may let some of them come when the first one is over already.
        let begun = helpers.state().begun;
        assert!(begun <= ASKING as u64 / 2, "{begun}");
    }

    #[test]
    fn an_answer_that_was_asked_for_before_somebody_came_is_not_his() {
        let dir = tempfile::tempdir().unwrap();
        let (helpers, slow, patience) = (Helpers::default(), fifo(dir.path()), Duration::from_secs(60));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| helpers.run(Task::Open(slow.clone()), patience).unwrap());
            until_one_is_under_way(&helpers);
            let second = scope.spawn(|| helpers.run(look_at_nothing(), patience).unwrap());
            assert_eq!(helpers.stuck_pid(), None, "whoever looks waits for nobody");
            drop(File::options().write(true).open(dir.path().join("fifo")).unwrap());
            assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(()), Err(Errno::NOENT)));
        });
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
        let helpers = Helpers::default();
        let error = helpers.run(Task::Open(fifo(dir.path())), Duration::from_millis(20)).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
        assert_eq!(helpers.stuck_pid(), None);
        let here = CString::new("/").unwrap();
        assert_eq!(helpers.run(Task::Look(here, device("/")), Duration::from_secs(60)).unwrap(), Ok(()));
    }

    #[test]
    fn a_file_that_is_closed_while_a_helper_waits_is_closed_for_everybody() {
        let (reader, writer) = io::pipe().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let child = Child::start(Task::Open(fifo(dir.path()))).unwrap();
        drop(writer);
        // The end of the pipe is seen once nobody has it open for writing: not even the helper.
        let mut byte = [0];
        assert_eq!(io::Read::read(&mut &reader, &mut byte).unwrap(), 0);
        assert_eq!(child.ended(), None);
        child.kill();
        assert!(wait(&child, Duration::from_secs(60)));
    }
}
