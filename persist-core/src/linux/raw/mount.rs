//! mount_setattr(2), and a user namespace to map owners with.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// What mount_setattr(2) changes; `MOUNT_ATTR_*` and `MS_*` of libc.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::linux) struct Attributes<'fd> {
    pub(in crate::linux) set: u64,
    pub(in crate::linux) propagation: u64,
    pub(in crate::linux) user_namespace: Option<BorrowedFd<'fd>>,
}

/// Changes the mount `tree` and every mount below it; all or none of them.
pub(in crate::linux) fn set_attributes(tree: impl AsFd, what: Attributes<'_>) -> io::Result<()> {
    let attr = libc::mount_attr {
        attr_set: what.set,
        attr_clr: 0,
        propagation: what.propagation,
        userns_fd: what.user_namespace.map_or(0, |fd| fd.as_raw_fd().unsigned_abs().into()),
    };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    let (tree, attr) = (tree.as_fd().as_raw_fd(), &raw const attr);
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is an empty C string and `attr` is the kernel's structure with its own size; both
    // live through the call and the kernel keeps neither.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, tree, c"".as_ptr(), flags, attr, size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A process that does nothing but keep a new user namespace open until it is dropped.
///
/// There is no other way: a process with several threads cannot enter a new user namespace itself
/// (unshare(2), `EINVAL`), and a namespace begins with a process.
#[derive(Debug)]
pub(in crate::linux) struct NamespaceKeeper {
    pid: libc::pid_t,
    handle: OwnedFd,
}

impl NamespaceKeeper {
    /// Starts the process, in a new user namespace without any mapping yet.
    pub(in crate::linux) fn start() -> io::Result<Self> {
        let mut handle: libc::c_int = -1;
        let args = CloneArgs {
            // The table of descriptors is shared until `linger` has one of its own: a copy would keep every
            // flock of this process for as long as the child is not scheduled.
            flags: (libc::CLONE_NEWUSER | libc::CLONE_PIDFD | libc::CLONE_FILES).unsigned_abs().into(),
            pidfd: (&raw mut handle).expose_provenance() as u64,
            ..CloneArgs::default()
        };
        let (args, size) = (&raw const args, size_of::<CloneArgs>());
        // SAFETY: without CLONE_VM the child has a copy of the memory, as after fork(2); it runs `linger`
        // alone, which makes only raw system calls and never returns, so no lock or allocator state that
        // another thread left behind is touched. `args` and `handle` live through the call.
        match unsafe { libc::syscall(libc::SYS_clone3, args, size) } {
            0 => linger(),
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => {
                // SAFETY: the kernel has just made this descriptor for us alone (CLONE_PIDFD).
                let handle = unsafe { OwnedFd::from_raw_fd(handle) };
                Ok(Self { pid: pid as libc::pid_t, handle })
            }
        }
    }

    pub(in crate::linux) fn pid(&self) -> libc::pid_t {
        self.pid
    }
}

impl Drop for NamespaceKeeper {
    fn drop(&mut self) {
        let handle = self.handle.as_raw_fd();
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: plain numbers and a null `siginfo`, as pidfd_send_signal(2) allows.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, libc::SIGKILL, none, 0) };
        let how = libc::WEXITED | libc::__WALL;
        loop {
            // SAFETY: a null `siginfo` is allowed by the system call (wait4(2), notes); `__WALL` is needed
            // for a child without an exit signal.
            let result = unsafe {
                libc::syscall(libc::SYS_waitid, libc::P_PIDFD, handle, none, how, std::ptr::null::<()>())
            };
            if result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return;
            }
        }
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

/// Longer than mapping and mounting take on the slowest host, and short enough for a leftover.
const KEEPER_SECONDS: libc::time_t = 60;

/// Waits to be killed. Ends by itself if the parent crashes, and after a while in any case.
fn linger() -> ! {
    let time = libc::timespec { tv_sec: KEEPER_SECONDS, tv_nsec: 0 };
    let none = std::ptr::null::<()>();
    // SAFETY: raw system calls on numbers and on `time`, which lives through them: allowed after a fork of
    // a program with several threads. The descriptors are the parent's own; CLOSE_RANGE_UNSHARE gives this
    // process an empty table and leaves the parent's alone (close_range(2)): a lock (flock) held through
    // one of them is never kept by this process.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE);
        libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        libc::syscall(libc::SYS_ppoll, none, 0, &raw const time, none, 0);
        libc::_exit(0)
    }
}
