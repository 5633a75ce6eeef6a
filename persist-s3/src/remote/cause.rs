//! What an answer of the bucket means to a call that can look again.

use crate::client::{Cause, Effect};
use persist_core::{Error, ErrorKind, Retry};

/// The error behind a read that did not succeed.
pub(super) fn of_read(error: &object_store::Error) -> Error {
    crate::client::error(error, Effect::Read)
}

/// The error behind a write whose outcome is to be looked up. A condition that did not hold is no fact yet:
/// a repetition on the way may have met our own success.
pub(super) fn of_write(error: &object_store::Error) -> Error {
    let said = crate::client::error(error, Effect::Write);
    match Cause::of(error) {
        Cause::Precondition | Cause::Conflict | Cause::NotFound => {
            Error::new(ErrorKind::Unavailable, "the object store refuses a condition that holds")
                .with_retry(Retry::Verify)
                .with_source(said)
        }
        _ => said,
    }
}

/// A request that took too long: it may still be under way.
pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::Unavailable, "the object store did not answer in time").with_retry(Retry::Verify)
}

/// Whether there is no such object. A bucket that is gone says nothing about its objects.
pub(super) fn is_missing(error: &object_store::Error) -> bool {
    Cause::of(error) == Cause::NotFound
}

/// Whether the same request may do better later.
pub(super) fn may_pass(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}
