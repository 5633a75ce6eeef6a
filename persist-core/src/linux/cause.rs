//! The one place where an error number of the kernel becomes an [`Error`].

use crate::error::{Error, ErrorKind, Retry};
use std::{fmt::Display, io};

/// The error of an operation on `target` that the kernel refused.
///
/// The kind says what to do (errno(3) and the manual pages of the calls); the kernel's own words are the
/// source. An error without a number is [`ErrorKind::Internal`].
pub fn cause(error: impl Into<io::Error>, operation: &'static str, target: impl Display) -> Error {
    let error = error.into();
    let verdict = number(&error).map_or(UNKNOWN, verdict);
    verdict.error().with_source(error).during(operation, target)
}

/// As [`cause`], for a path that was resolved beneath a root: leaving the tree and passing a symbolic
/// link are refusals there (openat2(2): `EXDEV`, `ELOOP`; `ENOTDIR` for a link in place of a directory).
pub fn beneath(error: impl Into<io::Error>, operation: &'static str, target: impl Display) -> Error {
    let error = error.into();
    match number(&error) {
        Some(libc::ELOOP | libc::EXDEV | libc::ENOTDIR) => LEAVES.error().with_source(error),
        number => number.map_or(UNKNOWN, verdict).error().with_source(error),
    }
    .during(operation, target)
}

/// The kernel's number of an error. A library that wraps an error to name the path keeps only its kind.
fn number(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or(match error.kind() {
        io::ErrorKind::NotFound => Some(libc::ENOENT),
        io::ErrorKind::PermissionDenied => Some(libc::EACCES),
        io::ErrorKind::ReadOnlyFilesystem => Some(libc::EROFS),
        io::ErrorKind::StorageFull => Some(libc::ENOSPC),
        io::ErrorKind::QuotaExceeded => Some(libc::EDQUOT),
        io::ErrorKind::OutOfMemory => Some(libc::ENOMEM),
        io::ErrorKind::StaleNetworkFileHandle => Some(libc::ESTALE),
        _ => None,
    })
}

struct Verdict {
    kind: ErrorKind,
    retry: Option<Retry>,
    message: &'static str,
    advice: &'static str,
}

impl Verdict {
    const fn new(kind: ErrorKind, message: &'static str, advice: &'static str) -> Self {
        Self { kind, retry: None, message, advice }
    }

    const fn unsure(message: &'static str, advice: &'static str) -> Self {
        Self { kind: ErrorKind::Unavailable, retry: Some(Retry::Verify), message, advice }
    }

    fn error(&self) -> Error {
        let error = Error::new(self.kind, self.message).advise(self.advice);
        match self.retry {
            Some(retry) => error.with_retry(retry),
            None => error,
        }
    }
}

const LEAVES: Verdict = Verdict::new(
    ErrorKind::Denied,
    "the path leaves the tree or passes a symbolic link",
    "replace the link, or the mount, by a directory of the tree itself",
);

const UNKNOWN: Verdict = Verdict::new(
    ErrorKind::Internal,
    "the kernel refused it",
    "please report this with the full error chain",
);

fn verdict(number: i32) -> Verdict {
    access(number)
        .or_else(|| room(number))
        .or_else(|| answer(number))
        .or_else(|| content(number))
        .unwrap_or(UNKNOWN)
}

/// Who may do it, and whether it is there.
fn access(number: i32) -> Option<Verdict> {
    use ErrorKind::{Denied, NotFound};
    Some(match number {
        libc::ENOENT => Verdict::new(NotFound, "not there", "check the path"),
        libc::EACCES => Verdict::new(Denied, "no access", "give this user access to the path"),
        libc::EPERM => Verdict::new(Denied, "not permitted", "run with the privilege that this needs"),
        libc::EROFS => Verdict::new(Denied, "the filesystem is read-only", "mount it writable"),
        libc::ENOKEY | libc::EKEYREJECTED | libc::EKEYEXPIRED => {
            Verdict::new(Denied, "the key of an encrypted directory is missing", "unlock the directory")
        }
        _ => return None,
    })
}

/// What is used up.
fn room(number: i32) -> Option<Verdict> {
    let (message, advice) = match number {
        libc::ENOSPC => ("no space or inodes left", "free space on the filesystem"),
        libc::EDQUOT => ("the quota is used up", "free space or raise the quota"),
        libc::EFBIG => ("the file is larger than allowed", "raise the limit or use another filesystem"),
        libc::EMFILE => ("this process has too many open files", "raise its limit of open files"),
        libc::ENFILE => ("this host has too many open files", "raise fs.file-max"),
        libc::ENOMEM | libc::ENOBUFS => ("no memory left", "free memory or raise the limit of the group"),
        libc::EMLINK => ("too many hard links", "use a filesystem that allows more links to one file"),
        libc::EAGAIN => ("a limit of this host is reached for the moment", "try again later"),
        _ => return None,
    };
    Some(Verdict::new(ErrorKind::Exhausted, message, advice))
}

/// Whether the filesystem answers and what it does not know.
fn answer(number: i32) -> Option<Verdict> {
    use ErrorKind::{Unavailable, Unsupported};
    Some(match number {
        libc::EIO | libc::EREMOTEIO => Verdict::unsure(
            "the device failed to read or write",
            "read the kernel log, then check what is there before repeating",
        ),
        libc::ESTALE | libc::ETIMEDOUT | libc::ECONNRESET | libc::EHOSTDOWN | libc::EHOSTUNREACH => {
            Verdict::unsure(
                "the file server does not answer or has lost the file",
                "check the server, then what is there before repeating",
            )
        }
        libc::ENODEV | libc::ENXIO | libc::ENOTCONN | libc::ESHUTDOWN | libc::ENOLCK => {
            Verdict::new(Unavailable, "the filesystem or its server is gone", "mount it again")
        }
        libc::EINTR => Verdict::new(Unavailable, "interrupted", "repeat the call"),
        libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY | libc::EOVERFLOW => {
            Verdict::new(Unsupported, "the filesystem or kernel cannot do this", "use another filesystem")
        }
        _ => return None,
    })
}

/// What stands in the way, and what cannot be right.
fn content(number: i32) -> Option<Verdict> {
    use ErrorKind::{Conflict, Corrupt, InUse, Invalid, Unsupported};
    Some(match number {
        libc::EEXIST => Verdict::new(Conflict, "something is there already", "look at what is there"),
        libc::ENOTEMPTY => Verdict::new(Conflict, "the directory is not empty", "look at what is in it"),
        libc::EBUSY => Verdict::new(InUse, "in use", "unmount it or stop what uses it"),
        libc::ETXTBSY => Verdict::new(InUse, "a running program", "stop the program"),
        libc::EXDEV => Verdict::new(Unsupported, "on two filesystems", "copy instead of moving or linking"),
        libc::ENOTDIR => Verdict::new(Invalid, "not a directory", "check the path"),
        libc::EISDIR => Verdict::new(Invalid, "a directory", "check the path"),
        libc::ELOOP => Verdict::new(Invalid, "too many symbolic links", "check the path"),
        libc::ENAMETOOLONG => Verdict::new(Invalid, "the name is too long", "use a shorter name"),
        libc::EINVAL | libc::EILSEQ => {
            Verdict::new(Invalid, "the filesystem does not accept this", "check names and values")
        }
        libc::EUCLEAN | libc::EBADMSG => {
            Verdict::new(Corrupt, "the filesystem is damaged", "stop, keep the device, check the filesystem")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorKind::*;

    #[test]
    fn every_number_says_what_to_do() {
        let table = [
            (libc::ENOENT, NotFound, Retry::Never),
            (libc::EACCES, Denied, Retry::Never),
            (libc::EPERM, Denied, Retry::Never),
            (libc::EROFS, Denied, Retry::Never),
            (libc::ENOSPC, Exhausted, Retry::Backoff),
            (libc::EDQUOT, Exhausted, Retry::Backoff),
            (libc::EMFILE, Exhausted, Retry::Backoff),
            (libc::ENFILE, Exhausted, Retry::Backoff),
            (libc::ENOMEM, Exhausted, Retry::Backoff),
            (libc::EIO, Unavailable, Retry::Verify),
            (libc::ESTALE, Unavailable, Retry::Verify),
            (libc::ETIMEDOUT, Unavailable, Retry::Verify),
            (libc::ENODEV, Unavailable, Retry::Backoff),
            (libc::EOPNOTSUPP, Unsupported, Retry::Never),
            (libc::ENOSYS, Unsupported, Retry::Never),
            (libc::EXDEV, Unsupported, Retry::Never),
            (libc::EBUSY, InUse, Retry::Backoff),
            (libc::EEXIST, Conflict, Retry::Never),
            (libc::ENOTDIR, Invalid, Retry::Never),
            (libc::EUCLEAN, Corrupt, Retry::Never),
            (libc::EDOM, Internal, Retry::Never),
        ];
        for (number, kind, retry) in table {
            let error = cause(io::Error::from_raw_os_error(number), "copy", "a");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
            assert!(error.to_string().contains("; "), "advice is missing: {error}");
            assert_eq!(error.target(), Some("a"));
        }
    }

    #[test]
    fn what_a_library_has_wrapped_is_still_told_apart() {
        let refused = tempfile::NamedTempFile::new_in("/nowhere/at/all").unwrap_err();
        assert_eq!(refused.raw_os_error(), None, "the library does not wrap any more");
        assert_eq!(cause(refused, "create", "x").kind(), NotFound);
    }

    #[test]
    fn a_path_that_leaves_the_tree_is_denied() {
        for number in [libc::ELOOP, libc::EXDEV, libc::ENOTDIR] {
            let error = beneath(io::Error::from_raw_os_error(number), "open", "a/b");
            assert_eq!(error.kind(), Denied);
            assert!(error.to_string().contains("leaves the tree or passes a symbolic link"), "{error}");
        }
        assert_eq!(beneath(io::Error::from_raw_os_error(libc::ENOENT), "open", "a").kind(), NotFound);
    }
}
