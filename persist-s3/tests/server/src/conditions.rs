//! What the store does with `If-Match` and `If-None-Match` on a PUT.

use s3s::{S3Result, s3_error};

/// How well the server keeps conditional writes. Everything but [`Atomic`](Self::Atomic) is a store that
/// exists and must not be trusted as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Conditions {
    /// As S3 documents them: checked and applied in one step.
    #[default]
    Atomic,
    /// Accepted and not looked at, as by Garage 2.5.
    Ignored,
    /// Checked first and applied later, as by s3s-fs 0.14: writers that race all win.
    CheckThenAct,
    /// Atomic, but an `If-Match` in quotes never matches, and one on a missing object is 412, as by Ceph
    /// RGW 16.
    QuotedEtagRefused,
}

/// The condition of one PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Anything,
    Absent,
    Etag(String),
    /// An `If-Match` that this store never finds right.
    Never,
}

impl Wanted {
    /// Whether a PUT may go on where the object has the tag `current`.
    ///
    /// The answers are those of
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>; RGW says 412 also
    /// where nothing is.
    pub(crate) fn check(&self, current: Option<&str>, conditions: Conditions) -> S3Result<()> {
        let failed = || Err(s3_error!(PreconditionFailed, "a condition of the request did not hold"));
        match (self, current) {
            (Self::Anything, _) | (Self::Absent, None) => Ok(()),
            (Self::Etag(_), None) if conditions != Conditions::QuotedEtagRefused => {
                Err(s3_error!(NoSuchKey, "If-Match on a key that does not exist"))
            }
            (Self::Etag(wanted), Some(current)) if wanted == current => Ok(()),
            (Self::Absent, Some(_)) | (Self::Etag(_) | Self::Never, _) => failed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_answers_as_s3_documents_it() {
        let code = |wanted: Wanted, current| {
            wanted.check(current, Conditions::Atomic).err().map(|e| e.code().as_str().to_owned())
        };
        let etag = |text: &str| Wanted::Etag(text.to_owned());
        assert_eq!(code(Wanted::Absent, None), None);
        assert_eq!(code(Wanted::Absent, Some("a")).as_deref(), Some("PreconditionFailed"));
        assert_eq!(code(etag("a"), Some("a")), None);
        assert_eq!(code(etag("a"), Some("b")).as_deref(), Some("PreconditionFailed"));
        assert_eq!(code(etag("a"), None).as_deref(), Some("NoSuchKey"));
    }
}
