//! What an answer of the object store means to a caller.

use persist_core::{Error, ErrorKind, Retry};

/// The error behind a request that did not succeed. Its outcome is unknown unless the kind says otherwise.
pub(super) fn of(error: object_store::Error) -> Error {
    use object_store::Error as Cause;
    let (kind, message) = match &error {
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            (ErrorKind::Denied, "the object store refuses these credentials")
        }
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
            (ErrorKind::Unsupported, "the object store does not do this")
        }
        Cause::InvalidPath { .. } | Cause::UnknownConfigurationKey { .. } => {
            (ErrorKind::Internal, "a request was malformed")
        }
        Cause::NotFound { .. } => (ErrorKind::Unavailable, "the object is not there"),
        Cause::AlreadyExists { .. } | Cause::Precondition { .. } | Cause::NotModified { .. } => {
            (ErrorKind::Unavailable, "the object was changed by another meanwhile")
        }
        _ => (ErrorKind::Unavailable, "the object store does not answer as it should"),
    };
    let retry = if kind == ErrorKind::Unavailable { Retry::Verify } else { Retry::Never };
    Error::new(kind, message).with_retry(retry).with_source(error)
}

/// A request that took too long: it may still be under way.
pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::Unavailable, "the object store did not answer in time").with_retry(Retry::Verify)
}

/// Whether the same request may do better later.
pub(super) fn may_pass(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}
