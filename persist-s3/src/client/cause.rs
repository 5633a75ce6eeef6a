//! What an error of the client means: the one place where it becomes an error of ours.

mod said;

use object_store::client::HttpErrorKind;
use persist_core::{Error, ErrorKind, Retry};
use said::Said;

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It changes something if it is applied.
    Write,
}

/// Whether a request that did not succeed was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was not: the store said no to it.
    NotApplied,
    /// Nobody knows: look, then decide.
    Unknown,
}

/// Why a request did not succeed. Codes are those of
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// No such object. On an answer without a body, as to HEAD, it may also be the bucket.
    NotFound,
    /// No such bucket. Says nothing about any object: a bucket that is gone from sight is not an empty one.
    NoSuchBucket,
    /// A condition did not hold, or so the store says: it may be our own success seen twice.
    Precondition,
    /// The object was there already, or writers raced; may be our own success as well.
    Conflict,
    /// These credentials may not do this.
    Denied,
    /// These credentials are not accepted at all.
    BadCredentials,
    /// These credentials have expired.
    Expired,
    /// This node's clock is too far from the store's.
    ClockSkew,
    /// The bucket is in another region.
    WrongRegion,
    /// The bucket or the service is full.
    Full,
    /// Asked to slow down.
    Throttled,
    /// The service failed.
    Server,
    /// No answer in time.
    TimedOut,
    /// No connection: name, route or port.
    Unreachable,
    /// The other side's certificate is not trusted.
    Untrusted,
    /// The connection broke.
    Broken,
    /// The store does not understand the request.
    NotUnderstood,
    /// The client refused the request before it was sent.
    Client,
}

impl Cause {
    /// Why `error` happened.
    pub fn of(error: &object_store::Error) -> Self {
        let said = Said::by(error);
        cause(error, &said)
    }

    /// Whether the request was applied, if it was one that writes.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Denied
            | Self::BadCredentials
            | Self::Expired
            | Self::ClockSkew
            | Self::WrongRegion
            | Self::NoSuchBucket
            | Self::Full
            | Self::Untrusted
            | Self::NotUnderstood
            | Self::Client => Outcome::NotApplied,
            Self::NotFound
            | Self::Precondition
            | Self::Conflict
            | Self::Throttled
            | Self::Server
            | Self::TimedOut
            | Self::Unreachable
            | Self::Broken => Outcome::Unknown,
        }
    }

    /// What this means to a caller of ours.
    fn kind(self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Precondition | Self::Conflict => ErrorKind::Conflict,
            Self::Denied | Self::BadCredentials | Self::Expired | Self::ClockSkew | Self::Untrusted => {
                ErrorKind::Denied
            }
            Self::WrongRegion => ErrorKind::Invalid,
            Self::Full => ErrorKind::Exhausted,
            // Not NotFound: whoever takes that for "this volume is absent" would begin anew.
            Self::NoSuchBucket
            | Self::Throttled
            | Self::Server
            | Self::TimedOut
            | Self::Unreachable
            | Self::Broken => ErrorKind::Unavailable,
            Self::NotUnderstood => ErrorKind::Unsupported,
            Self::Client => ErrorKind::Internal,
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::NotFound => "no such object",
            Self::NoSuchBucket => "no such bucket",
            Self::Precondition => "a condition of the request did not hold",
            Self::Conflict => "another request changed the object at the same time, or it is there already",
            Self::Denied => "the credentials do not allow this",
            Self::BadCredentials => "the store does not accept the credentials",
            Self::Expired => "the credentials have expired",
            Self::ClockSkew => "the clock of this node is too far from the store's",
            Self::WrongRegion => "the bucket is in another region",
            Self::Full => "the store has no room left",
            Self::Throttled => "the store asks to slow down",
            Self::Server => "the store failed",
            Self::TimedOut => "the store did not answer in time",
            Self::Unreachable => "the store cannot be reached",
            Self::Untrusted => "the certificate of the store is not trusted",
            Self::Broken => "the connection to the store broke",
            Self::NotUnderstood => "the store does not understand this request",
            Self::Client => "the client could not make this request",
        }
    }

    fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::NoSuchBucket => "create the bucket, or correct its name",
            Self::Denied => "allow it in the bucket's policy; docs/operations.md lists what each role needs",
            Self::BadCredentials => "check both keys and the session token",
            Self::Expired => "renew the credentials, or open with a provider that does",
            Self::ClockSkew => "set the clock; S3 allows 15 minutes",
            Self::WrongRegion => "set `region` to the bucket's",
            Self::Full => "free space or raise the quota of the bucket",
            Self::Unreachable => "check the endpoint and the network",
            Self::Untrusted => "add its authority to this system, or correct the endpoint",
            Self::NotUnderstood => "use a store that passes the probe",
            _ => return None,
        })
    }
}

/// The error of ours for one of the client. What the store wrote is not repeated: a message of it may hold
/// the request with its keys. Only its status, its code and its request id are.
pub fn error(error: &object_store::Error, effect: Effect) -> Error {
    let said = Said::by(error);
    let cause = cause(error, &said);
    let mut mine = match cause {
        Cause::WrongRegion => Error::invalid("region", cause.message()),
        _ => Error::new(cause.kind(), cause.message()),
    };
    if (effect, cause.outcome()) == (Effect::Write, Outcome::Unknown) {
        mine = mine.with_retry(Retry::Verify);
    }
    mine = said.facts().into_iter().fold(mine, |mine, (key, value)| mine.context(key, value));
    match cause.advice() {
        Some(advice) => mine.advise(advice),
        None => mine,
    }
}

fn cause(error: &object_store::Error, said: &Said) -> Cause {
    use object_store::Error as E;
    if matches!(error, E::AlreadyExists { .. }) {
        return Cause::Conflict;
    }
    let said =
        said.code.as_deref().and_then(by_code).or_else(|| by_transport(said)).or_else(|| by_status(said));
    said.unwrap_or(match error {
        E::NotFound { .. } => Cause::NotFound,
        E::Precondition { .. } | E::NotModified { .. } => Cause::Precondition,
        E::PermissionDenied { .. } => Cause::Denied,
        E::Unauthenticated { .. } => Cause::BadCredentials,
        E::NotSupported { .. } | E::NotImplemented { .. } => Cause::NotUnderstood,
        _ => Cause::Client,
    })
}

fn by_code(code: &str) -> Option<Cause> {
    Some(match code {
        "NoSuchKey" => Cause::NotFound,
        "NoSuchBucket" => Cause::NoSuchBucket,
        "PreconditionFailed" => Cause::Precondition,
        "ConditionalRequestConflict" | "OperationAborted" => Cause::Conflict,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Cause::Denied,
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "NotSignedUp" => {
            Cause::BadCredentials
        }
        "ExpiredToken" | "TokenRefreshRequired" => Cause::Expired,
        "RequestTimeTooSkewed" => Cause::ClockSkew,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "Redirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Cause::WrongRegion,
        "QuotaExceeded" | "InsufficientCapacity" | "XMinioStorageFull" => Cause::Full,
        "SlowDown" | "RequestLimitExceeded" | "TooManyRequests" | "ThrottlingException" => Cause::Throttled,
        "InternalError" | "ServiceUnavailable" => Cause::Server,
        "RequestTimeout" => Cause::TimedOut,
        "NotImplemented" | "MethodNotAllowed" => Cause::NotUnderstood,
        _ => return None,
    })
}

fn by_transport(said: &Said) -> Option<Cause> {
    let (kind, text) = said.broken.as_ref()?;
    Some(match kind {
        // reqwest gives no kind for it; its innermost error is rustls's.
        _ if text.contains("certificate") => Cause::Untrusted,
        HttpErrorKind::Connect => Cause::Unreachable,
        HttpErrorKind::Timeout => Cause::TimedOut,
        _ => Cause::Broken,
    })
}

fn by_status(said: &Said) -> Option<Cause> {
    Some(match said.status? {
        301 | 302 | 307 | 308 => Cause::WrongRegion,
        401 => Cause::BadCredentials,
        403 => Cause::Denied,
        404 => Cause::NotFound,
        408 => Cause::TimedOut,
        409 => Cause::Conflict,
        304 | 412 => Cause::Precondition,
        429 => Cause::Throttled,
        507 => Cause::Full,
        501 => Cause::NotUnderstood,
        503 => Cause::Throttled,
        500..=599 => Cause::Server,
        400..=499 => Cause::NotUnderstood,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
