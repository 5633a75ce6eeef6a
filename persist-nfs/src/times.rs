//! How long is waited for whom: the options of a URL that are not the mount's. Pure.

use crate::{profile::wrong, server};
use persist_core::{Result, StoreUrl};
use std::{ops::RangeInclusive, time::Duration};

/// The key of how long the server has for one small answer.
pub(crate) const PATIENCE: &str = "patience";

/// The key of how long a silent holder keeps its attachments.
pub(crate) const LEASE: &str = "lease";

/// A sign of life every quarter of it: 170,000 small writes a month for each attachment. As long as the lease of a
/// volume on an object store.
const LEASE_UNLESS_TOLD: Duration = Duration::from_secs(60);

/// How long is waited for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// How long the server has for one small answer, before it counts as silent.
    pub(crate) patience: Duration,
    /// How long a holder that gives no sign of life keeps its attachments from who takes what ran out.
    pub(crate) lease: Duration,
}

impl Times {
    /// # Errors
    /// `Invalid` for what is not a number of seconds, from 1 to 600 for the patience and from 10 to 3600 for the lease.
    pub(crate) fn parse(url: &StoreUrl) -> Result<Self> {
        let patience = seconds(url, PATIENCE, 1..=600, "1 to 600 seconds")?;
        // Shorter ones would run out while a busy host, or a lost packet, delays a few signs of life.
        let lease = seconds(url, LEASE, 10..=3600, "10 to 3600 seconds")?;
        Ok(Self { patience: patience.unwrap_or(server::PATIENCE), lease: lease.unwrap_or(LEASE_UNLESS_TOLD) })
    }
}

fn seconds(
    url: &StoreUrl,
    key: &'static str,
    allowed: RangeInclusive<u64>,
    known: &'static str,
) -> Result<Option<Duration>> {
    let Some(text) = url.query().get(key) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| allowed.contains(seconds));
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| wrong(key, text, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_in_their_bounds_and_refused_by_name_beyond_them() {
        let parse = |query: &str| Times::parse(&format!("nfs://files/srv?{query}").parse().unwrap());
        for (query, patience, lease) in
            [("", 5, 60), ("patience=600&lease=10", 600, 10), ("lease=3600", 5, 3600)]
        {
            let times = parse(query).unwrap();
            assert_eq!((times.patience.as_secs(), times.lease.as_secs()), (patience, lease), "{query}");
        }
        for query in ["patience=0", "patience=601", "lease=9", "lease=3601", "lease=x"] {
            let error = parse(query).unwrap_err();
            assert_eq!(error.field(), query.split('=').next(), "{query}: {error}");
        }
    }
}
