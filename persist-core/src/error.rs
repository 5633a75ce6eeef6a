//! One error type for every store: what happened, where, why, and what to do.
//!
//! A kind exists only where the caller would *do* something else. The retry class is a second axis:
//! a write that timed out is [`ErrorKind::Unavailable`] with [`Retry::Verify`], because its outcome
//! is unknown and repeating it blindly may be wrong.

mod detail;

pub use detail::{Detail, Difference, HolderSeen};

use crate::{capability::Capabilities, id::Epoch, snapshot::SnapshotName};
use std::{borrow::Cow, fmt};

/// The result of every operation of this workspace.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Fix the call: it is wrong whatever the store holds. Names the field.
    Invalid,
    /// Treat the thing as absent.
    NotFound,
    /// Reread and decide; the difference is carried field by field.
    Conflict,
    /// Somebody holds it; the holders are carried.
    InUse,
    /// Stop: a newer epoch writes. Both epochs and the salvage are carried.
    Fenced,
    /// Fix access.
    Denied,
    /// Free space or raise the limit.
    Exhausted,
    /// Wait: the store or a part of it does not answer.
    Unavailable,
    /// Choose another path: this opened store does not have the capability.
    Unsupported,
    /// Stop and keep the evidence: bytes are not what was written.
    Corrupt,
    /// Our bug.
    Internal,
}

/// Whether the same call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// Repeating the same call gives the same error.
    Never,
    /// Nothing happened: the same call may succeed later.
    Backoff,
    /// The outcome is unknown: look at the store first, then decide.
    Verify,
}

/// What went wrong, in which operation, on what, why, and what to do about it.
///
/// `Display` is one line without secrets; control characters of names are escaped. The chain of
/// [`std::error::Error::source`] ends at the cause of the operating system or of the client library.
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    target: Option<String>,
    advice: Option<Cow<'static, str>>,
    context: Vec<(&'static str, String)>,
    detail: Detail,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of this kind, with the retry class that is usual for it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: usual_retry(kind),
            message: message.into(),
            operation: None,
            target: None,
            advice: None,
            context: Vec::new(),
            detail: Detail::None,
            source: None,
        }))
    }

    /// The call is wrong: `field` names the argument.
    pub fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, message).with_detail(Detail::Field(field))
    }

    /// The thing is not there.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The store holds something else than the caller believes.
    pub fn conflict(message: impl Into<Cow<'static, str>>, differences: Vec<Difference>) -> Self {
        Self::new(ErrorKind::Conflict, message).with_detail(Detail::Differences(differences))
    }

    /// Somebody holds it.
    pub fn in_use(message: impl Into<Cow<'static, str>>, holders: Vec<HolderSeen>) -> Self {
        Self::new(ErrorKind::InUse, message).with_detail(Detail::Holders(holders))
    }

    /// A newer epoch writes: the caller's session is over.
    pub fn fenced(mine: Epoch, current: Epoch, salvage: Option<SnapshotName>) -> Self {
        Self::new(ErrorKind::Fenced, "another writer has taken over")
            .with_detail(Detail::Fenced { mine, current, salvage })
            .advise("stop writing; attach again to continue from the current state")
    }

    /// This opened store does not have `capability`.
    pub fn unsupported(capability: Capabilities, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message).with_detail(Detail::Capability(capability))
    }

    /// A promise of ours did not hold.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message).advise("please report this with the full error chain")
    }

    /// Overrides the usual retry class of the kind.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Attaches what a program may want to read.
    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.0.detail = detail;
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the operation and its target; the first, innermost naming wins.
    #[must_use]
    pub fn during(mut self, operation: &'static str, target: impl fmt::Display) -> Self {
        self.0.operation.get_or_insert(operation);
        self.0.target.get_or_insert_with(|| target.to_string());
        self
    }

    /// Adds one more fact, kept in the order of adding.
    #[must_use]
    pub fn context(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what to do about it, without a final full stop.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may be made again.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The operation that failed, by the name of the method (`attach`, `snapshot`, ...).
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// What the operation was about: a volume, a snapshot, a path, a URL without secrets.
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// The facts of this kind of error that a program may want to read.
    pub fn detail(&self) -> &Detail {
        &self.0.detail
    }

    /// The field that an [`ErrorKind::Invalid`] is about.
    pub fn field(&self) -> Option<&'static str> {
        match self.0.detail {
            Detail::Field(field) => Some(field),
            _ => None,
        }
    }

    /// Who holds the volume, for [`ErrorKind::InUse`].
    pub fn holders(&self) -> &[HolderSeen] {
        match &self.0.detail {
            Detail::Holders(holders) => holders,
            _ => &[],
        }
    }

    /// What differs, for [`ErrorKind::Conflict`].
    pub fn differences(&self) -> &[Difference] {
        match &self.0.detail {
            Detail::Differences(differences) => differences,
            _ => &[],
        }
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        self.write_line(&mut line)?;
        line.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => fmt::Write::write_char(f, c),
        })
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.debug_struct("Error")
            .field("kind", &inner.kind)
            .field("retry", &inner.retry)
            .field("line", &self.to_string())
            .field("detail", &inner.detail)
            .field("source", &inner.source)
            .finish()
    }
}

impl Inner {
    fn write_line(&self, out: &mut String) -> fmt::Result {
        use fmt::Write as _;
        match (self.operation, &self.target) {
            (Some(operation), Some(target)) => write!(out, "{operation} {target}: ")?,
            (Some(operation), None) => write!(out, "{operation}: ")?,
            (None, Some(target)) => write!(out, "{target}: ")?,
            (None, None) => {}
        }
        out.push_str(&self.message);
        write!(out, "{}", self.detail)?;
        for (key, value) in &self.context {
            write!(out, ", {key} {value}")?;
        }
        if let Some(source) = &self.source {
            write!(out, ": {source}")?;
        }
        if let Some(advice) = &self.advice {
            write!(out, "; {advice}")?;
        }
        Ok(())
    }
}

fn usual_retry(kind: ErrorKind) -> Retry {
    match kind {
        ErrorKind::InUse | ErrorKind::Exhausted | ErrorKind::Unavailable => Retry::Backoff,
        _ => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_where_why_and_what_to_do() {
        let error = Error::not_found("no such volume")
            .during("attach", "volume shop")
            .context("store", "local:/srv")
            .advise("create it, or use bind");
        assert_eq!(
            error.to_string(),
            "attach volume shop: no such volume, store local:/srv; create it, or use bind"
        );
    }

    #[test]
    fn a_hostile_name_cannot_break_the_line() {
        let error = Error::not_found("no such path").during("open", "a\nb\u{1b}[2J");
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }

    #[test]
    fn the_innermost_operation_wins() {
        let error = Error::internal("x").during("copy", "a").during("snapshot", "b");
        assert_eq!((error.operation(), error.target()), (Some("copy"), Some("a")));
    }

    #[test]
    fn a_timed_out_write_says_verify() {
        let error = Error::new(ErrorKind::Unavailable, "timed out").with_retry(Retry::Verify);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Verify));
    }
}
