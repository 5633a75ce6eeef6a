//! Starting a helper, and the system calls that it makes: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "clone(2) and raw system calls; every block says why it is sound")]

use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    io::Errno,
    mount::{UnmountFlags, fsconfig_create, unmount},
    process::{Signal, set_parent_process_death_signal},
};
use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// What a helper does: one system call, with everything prepared.
#[derive(Debug)]
pub(crate) enum Task {
    /// Asks the server for the attributes of a path (`AT_STATX_FORCE_SYNC` of statx(2)), which is on this device.
    Look(CString, Device),
    /// Opens a path for reading.
    #[cfg(test)]
    Open(CString),
    /// Makes the filesystem of a context that fsopen(2) has opened: the step that talks to the server.
    Create(OwnedFd),
    /// Takes the mount at a path away; what must still be written is written first.
    Unmount(CString),
    /// Takes the mount at a path out of sight, whoever uses it.
    Detach(CString),
}

/// The device of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    major: u32,
    minor: u32,
}

/// What [`Task::Look`] says of a path on another device.
pub(crate) const ANOTHER_DEVICE: Errno = Errno::XDEV;

impl Device {
    /// Reads `major:minor`, as in proc_pid_mountinfo(5).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// A helper. Dropped, it is killed, and reaped if it has ended by then.
#[derive(Debug)]
pub(super) struct Child {
    pid: libc::pid_t,
    handle: OwnedFd,
    /// Taken only to be given up with a helper that has not ended.
    memory: Option<Memory>,
}

/// What a helper runs on and reads. It shares our memory, so this stays until it has ended.
#[derive(Debug)]
struct Memory {
    stack: Vec<u128>,
    task: Box<Task>,
}

/// A helper makes a few calls of small functions: 64 KiB, many times what they need without optimisation.
const STACK_WORDS: usize = 4096;

impl Child {
    /// Starts a process that does `task` and ends with the number of its error as its status.
    ///
    /// It shares our memory: nothing is copied, however large the embedding program is, and no page of it has to
    /// be copied at its next write, as after fork(2).
    pub(super) fn start(task: Task) -> io::Result<Self> {
        let mut memory = Memory { stack: vec![0; STACK_WORDS], task: Box::new(task) };
        let top = memory.stack.as_mut_ptr_range().end.cast();
        let argument = (&raw mut *memory.task).cast();
        let mut handle: libc::c_int = -1;
        // The table of descriptors is shared: a copy would keep every flock of this process for as long as the helper
        // lives, and closing a copy (close_range(2)) writes out what is dirty in it, which waits for the very server
        // that is gone. No exit signal: the embedding program gets no `SIGCHLD`,
        // and its own wait calls do not see this child (clone(2)).
        let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_PIDFD;
        let before = block_signals();
        // SAFETY: the child runs `perform` alone, on a stack of its own, which grows down from its 16-byte aligned
        // end. Stack and task stay where they are until the child has ended: this value's drop sees to it. The
        // child takes no lock, allocates nothing and handles no signal, so what other threads do meanwhile does
        // not concern it. `handle` lives through the call.
        let pid = unsafe { libc::clone(perform, top, flags, argument, &raw mut handle) };
        let error = io::Error::last_os_error();
        restore_signals(&before);
        if pid < 0 {
            return Err(error);
        }
        // SAFETY: the kernel has just made this descriptor for us alone (CLONE_PIDFD).
        let handle = unsafe { OwnedFd::from_raw_fd(handle) };
        Ok(Self { pid, handle, memory: Some(memory) })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable once the process has ended (pidfd_open(2)).
    pub(super) fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    pub(super) fn kill(&self) {
        let none = std::ptr::null::<libc::siginfo_t>();
        let handle = self.handle.as_raw_fd();
        // SAFETY: plain numbers and a null `siginfo`, as pidfd_send_signal(2) allows.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, libc::SIGKILL, none, 0) };
    }

    /// Its status if it has ended: its own, or `EINTR` if it was killed. Asking does not reap it: that is for
    /// the end of this value.
    pub(super) fn ended(&self) -> Option<i32> {
        self.wait(libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
    }

    fn wait(&self, how: libc::c_int) -> Option<i32> {
        // SAFETY: an all-zero `siginfo_t` is a value of that plain structure.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let (handle, how) = (self.handle.as_raw_fd(), how | libc::__WALL);
        let none = std::ptr::null::<()>();
        // SAFETY: `info` lives through the call; `__WALL` is needed for a child without an exit signal
        // (wait4(2), notes).
        let result =
            unsafe { libc::syscall(libc::SYS_waitid, libc::P_PIDFD, handle, &raw mut info, how, none) };
        // SAFETY: the kernel has filled in the fields of a child, or left the zeros.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        match result {
            0 if pid == 0 => None,
            0 if info.si_code == libc::CLD_EXITED => Some(status),
            0 => Some(libc::EINTR),
            // It is not there to be waited for any more.
            _ => Some(libc::ECHILD),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        if self.wait(libc::WEXITED | libc::WNOHANG).is_none() {
            // Killed, it never runs again, but the kernel may still hold its stack: given up for good.
            std::mem::forget(self.memory.take());
        }
    }
}

/// Blocks every signal in this thread, and gives what was blocked before. A helper inherits that, so no handler
/// of the embedding program ever runs in it; `SIGKILL` cannot be blocked.
fn block_signals() -> libc::sigset_t {
    // SAFETY: an all-zero set is a value of that plain structure, and both sets live through the calls.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    }
}

fn restore_signals(before: &libc::sigset_t) {
    // SAFETY: `before` came from the same call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
}

/// Does the task in the helper, and gives its status. Ends with the thread that started it.
extern "C" fn perform(task: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `Child::start` gives a task that nobody changes and that stays until the helper has ended.
    let task = unsafe { &*task.cast::<Task>() };
    // Best effort: a helper that outlives its parent ends with its one call.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    match make(task) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error(),
    }
}

/// The one call. These functions of rustix allocate nothing for a C string, and need no `errno`, which is the
/// parent thread's.
fn make(task: &Task) -> Result<(), Errno> {
    match task {
        Task::Look(path, device) => {
            let found = statx(CWD, path.as_c_str(), AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS)?;
            let same = (found.stx_dev_major, found.stx_dev_minor) == (device.major, device.minor);
            if same { Ok(()) } else { Err(ANOTHER_DEVICE) }
        }
        #[cfg(test)]
        Task::Open(path) => {
            let mode = rustix::fs::Mode::empty();
            rustix::fs::open(path.as_c_str(), rustix::fs::OFlags::RDONLY, mode).map(drop)
        }
        Task::Create(context) => fsconfig_create(context),
        Task::Unmount(path) => unmount::<&CStr>(path, UnmountFlags::NOFOLLOW),
        Task::Detach(path) => unmount::<&CStr>(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW),
    }
}
