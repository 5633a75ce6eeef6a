//! A clock that its owner moves.

use super::{Clock, Timestamp};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

/// A wall clock that stands still until its owner moves it; clones show the same time.
///
/// Lets a test decide when a trash window or a lifetime has passed.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at `now`, to the millisecond.
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(now.as_millisecond())))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let _ = self.0.fetch_update(SeqCst, SeqCst, |now| Some(now.saturating_add(millis)));
    }

    /// Moves it to `now`, back as well: wall clocks do.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millisecond(), SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_show_the_same_time_and_it_moves_only_when_told() {
        let clock = ManualClock::at(Timestamp::from_millisecond(5));
        let other = clock.clone();
        assert_eq!(other.now(), Timestamp::from_millisecond(5));
        clock.advance(Duration::from_secs(1));
        assert_eq!(other.now(), Timestamp::from_millisecond(1005));
        clock.set(Timestamp::from_millisecond(-1));
        assert_eq!(other.now().as_millisecond(), -1);
        clock.advance(Duration::MAX);
        assert!(other.now() > Timestamp::from_millisecond(1005));
    }
}
