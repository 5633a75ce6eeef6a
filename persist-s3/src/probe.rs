//! Whether a bucket keeps what the head protocol stands on: found out by trying, never by asking.
//!
//! A lost writer is fenced by a conditional write that the store refuses, and by nothing else. Some stores
//! that speak S3 accept the condition and ignore it; some check it and then write, so that of writers that
//! race several are told that they won. Either loses acknowledged work, and neither shows in ordinary use.
//! Such a store is refused for writing.

mod ground;
mod races;
mod steps;

use crate::client::{Clients, IfMatch, Quirks};
use ground::{Ground, Trouble};
use persist_core::{Error, ErrorKind, Result, clock::Environment};
use serde::{Deserialize, Serialize};

/// Where the probe's objects are, below the store's prefix. What a killed probe leaves there refers to
/// nothing and may be deleted at any time.
pub const PREFIX: &str = "probe";

/// Races of each kind. s3s-fs 0.14, which checks and then writes, let several writers win in 59 of 60.
pub const ROUNDS: usize = 8;

/// How often a round is begun anew where requests fail for other reasons.
const TRIES: usize = 3;

/// What a full probe found: the bucket may be written to. Goes into the store's marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Findings {
    /// How the store differs from S3; clients must keep to it.
    pub quirks: Quirks,
}

/// Probes a bucket in full, for the first writer of a store and on demand. About 320 small requests, at most
/// 16 of them at once, each bounded by the head client's timeout.
///
/// # Promise
/// Success means that in [`ROUNDS`] races to create and as many to replace, of 16 writers on connections of
/// their own, each had exactly one winner whose bytes are there; that stale and missing versions were
/// refused; and that what was written was read, listed and read in part at once. Quirks that can be lived
/// with are found: use [`Clients::with_quirks`] with those of the findings.
///
/// Its objects are on random keys below [`PREFIX`] and are removed again, if the credentials may remove.
///
/// # Errors
/// `Unsupported` for a store that cannot be written to safely, with what was seen and what to use instead;
/// else what the requests met: `Denied`, `Unavailable`, ...
///
/// # Cancellation
/// Dropped, it leaves objects below [`PREFIX`].
pub async fn full(clients: &Clients, environment: &Environment) -> Result<Findings> {
    let ground = Ground::new(clients, environment);
    let found = all(&ground).await;
    ground.clear().await;
    found
}

/// Probes that a bucket still refuses what it must refuse; for each open for writing. Five requests and one
/// to clean up. `clients` keep to the quirks that [`full`] found.
///
/// # Errors
/// As [`full`].
pub async fn short(clients: &Clients, environment: &Environment) -> Result<()> {
    let ground = Ground::new(clients, environment);
    let held = repeated(|| steps::conditions(&ground)).await;
    ground.clear().await;
    held.map(drop)
}

async fn all(ground: &Ground<'_>) -> Result<Findings> {
    let quirks = Quirks { if_match: quoting(ground).await? };
    let ground = ground.with_quirks(quirks);
    repeated(|| steps::conditions(&ground)).await?;
    repeated(|| steps::missing(&ground)).await?;
    repeated(|| steps::reads(&ground)).await?;
    for _ in 0..ROUNDS {
        repeated(|| races::create(&ground)).await?;
        repeated(|| races::replace(&ground)).await?;
    }
    Ok(Findings { quirks })
}

/// How this store wants ETags in `If-Match`.
async fn quoting(ground: &Ground<'_>) -> Result<IfMatch> {
    for form in [IfMatch::Quoted, IfMatch::Bare] {
        let ground = ground.with_quirks(Quirks { if_match: form });
        if repeated(|| steps::replaces(&ground)).await? {
            return Ok(form);
        }
    }
    Err(refusal(
        "an If-Match with the ETag that the store had just given was refused, with quotes and without",
    ))
}

/// Runs a round until it ends with a verdict, at most [`TRIES`] times.
async fn repeated<T, F>(round: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut last = None;
    for _ in 0..TRIES {
        match round().await {
            Ok(passed) => return Ok(passed),
            Err(Trouble::Unfit(seen)) => return Err(refusal(seen)),
            Err(Trouble::Failed(error)) if error.kind() != ErrorKind::Unavailable => return Err(error),
            Err(Trouble::Failed(error)) => last = Some(error),
            Err(Trouble::Doubtful(seen)) => last = Some(refusal(seen)),
        }
    }
    Err(last.unwrap_or_else(|| Error::internal("a probe without a round")))
}

fn refusal(seen: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, "this store does not keep conditional writes: writers would lose acknowledged data")
        .context("seen", seen)
        .advise("write to Amazon S3, or to a version of this service whose conditional writes are atomic; reading works")
}

#[cfg(test)]
mod tests;
