//! Time and randomness come in as arguments, so that a test can own both.

mod manual;

pub use manual::ManualClock;

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// A point in wall-clock time of one node, in UTC; printed and stored by RFC 3339.
///
/// Never compared between two machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The time of this many milliseconds after 1970, clamped to the years -9999 to 9999.
    pub fn from_millisecond(millis: i64) -> Self {
        let limit = if millis < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Self(jiff::Timestamp::from_millisecond(millis).unwrap_or(limit))
    }

    /// Milliseconds after 1970.
    pub fn as_millisecond(self) -> i64 {
        self.0.as_millisecond()
    }

    /// This time plus `duration`, clamped to the last representable time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.checked_add(duration).unwrap_or(jiff::Timestamp::MAX))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let past = time < SystemTime::UNIX_EPOCH;
        let limit = if past { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        Self(jiff::Timestamp::try_from(time).unwrap_or(limit))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        time.0.into()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a store reads the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock; may jump.
    fn now(&self) -> Timestamp;
}

/// Where a store takes randomness; 128 bits of it must never repeat.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Fills `bytes` with randomness.
    fn fill(&self, bytes: &mut [u8]);
}

/// The clock and the randomness that a store was opened with.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The clock and the randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Default for Environment {
    fn default() -> Self {
        Self { clock: Arc::new(SystemEnvironment), entropy: Arc::new(SystemEnvironment) }
    }
}

impl Clock for SystemEnvironment {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl Entropy for SystemEnvironment {
    fn fill(&self, bytes: &mut [u8]) {
        // The first six bytes of a version 4 UUID are all random (RFC 9562, section 5.4).
        for chunk in bytes.chunks_mut(6) {
            chunk.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..chunk.len()]);
        }
    }
}
