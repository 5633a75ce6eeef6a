//! Forking, and the system calls of the forked process: the only unsafe code of this crate.
#![expect(unsafe_code, reason = "raw system calls; every block says why it is sound")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// What a helper does: one system call, with everything prepared.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task<'a> {
    /// Asks the server for the attributes of a path (`AT_STATX_FORCE_SYNC` of statx(2)).
    Look(&'a CStr),
    /// Opens a path for reading.
    #[cfg(test)]
    Open(&'a CStr),
    /// Makes the filesystem of a context that fsopen(2) has opened: the step that talks to the server.
    Create(BorrowedFd<'a>),
    /// Takes the mount at a path away; what must still be written is written first.
    Unmount(&'a CStr),
    /// Takes the mount at a path out of sight, whoever uses it.
    Detach(&'a CStr),
}

/// A forked process. Dropped, it is killed, and reaped if it has ended by then.
#[derive(Debug)]
pub(super) struct Child {
    pid: libc::pid_t,
    handle: OwnedFd,
}

impl Child {
    /// Forks a process that does `task` and ends with the number of its error as its status.
    pub(super) fn start(task: &Task<'_>) -> io::Result<Self> {
        let mut handle: libc::c_int = -1;
        let args = CloneArgs {
            // The table of descriptors is shared until `perform` has one of its own: a copy would keep every
            // flock of this process for as long as the child lives.
            flags: (libc::CLONE_PIDFD | libc::CLONE_FILES).unsigned_abs().into(),
            pidfd: (&raw mut handle).expose_provenance() as u64,
            ..CloneArgs::default()
        };
        let (args, size) = (&raw const args, size_of::<CloneArgs>());
        // SAFETY: without CLONE_VM the child has a copy of the memory, as after fork(2); it runs `perform`
        // alone, which makes only raw system calls and never returns, so no lock or allocator state that
        // another thread left behind is touched. `args` and `handle` live through the call.
        match unsafe { libc::syscall(libc::SYS_clone3, args, size) } {
            0 => perform(task),
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => {
                // SAFETY: the kernel has just made this descriptor for us alone (CLONE_PIDFD).
                let handle = unsafe { OwnedFd::from_raw_fd(handle) };
                Ok(Self { pid: pid as libc::pid_t, handle })
            }
        }
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
        self.wait(libc::WEXITED | libc::WNOHANG);
    }
}

/// `struct clone_args` of the kernel's `linux/sched.h` in its first version. The exit signal is zero: the
/// embedding program gets no `SIGCHLD`, and its own wait calls do not see this child (clone(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// `FSCONFIG_CMD_CREATE` of the kernel's `linux/mount.h`.
const FSCONFIG_CMD_CREATE: libc::c_int = 6;

/// Does the task in the child. Ends by itself if the parent ends.
fn perform(task: &Task<'_>) -> ! {
    // SAFETY: raw system calls on numbers, on C strings and on a structure that live through them: allowed
    // after a fork of a program with several threads. CLOSE_RANGE_UNSHARE gives this process a table of its
    // own and leaves the parent's alone (close_range(2)).
    unsafe {
        let kept = match task {
            Task::Create(context) => context.as_raw_fd(),
            _ => -1,
        };
        let unshare = libc::CLOSE_RANGE_UNSHARE;
        libc::syscall(libc::SYS_close_range, kept + 1, libc::c_uint::MAX, unshare);
        if kept > 0 {
            libc::syscall(libc::SYS_close_range, 0, kept - 1, unshare);
        }
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        let result = match task {
            Task::Look(path) => {
                let mut stat: libc::statx = std::mem::zeroed();
                let (flags, mask) = (libc::AT_STATX_FORCE_SYNC, libc::STATX_BASIC_STATS);
                libc::syscall(libc::SYS_statx, libc::AT_FDCWD, path.as_ptr(), flags, mask, &raw mut stat)
            }
            #[cfg(test)]
            Task::Open(path) => {
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY, 0)
            }
            Task::Create(_) => {
                let none = std::ptr::null::<()>();
                libc::syscall(libc::SYS_fsconfig, kept, FSCONFIG_CMD_CREATE, none, none, 0)
            }
            Task::Unmount(path) => libc::syscall(libc::SYS_umount2, path.as_ptr(), libc::UMOUNT_NOFOLLOW),
            Task::Detach(path) => {
                let flags = libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW;
                libc::syscall(libc::SYS_umount2, path.as_ptr(), flags)
            }
        };
        libc::_exit(if result < 0 { *libc::__errno_location() } else { 0 })
    }
}
