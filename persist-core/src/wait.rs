//! Waiting for what nobody tells us: looks with growing pauses between them, bounded, and stopped with the call.

use crate::{error::Result, progress::Meter};
use std::time::Duration;

/// The pauses between looks: each twice as long as the one before, up to the longest.
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
    left: Option<Duration>,
}

impl Pauses {
    /// From about the time that an uncontended change takes, to how late a stop may be noticed.
    pub(crate) const SHORT: Self = Self::between(Duration::from_millis(1), Duration::from_millis(50));

    /// Pauses from `first` to `longest`, without end.
    pub(crate) const fn between(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest, left: None }
    }

    /// As many as are `total` together.
    pub(crate) const fn within(self, total: Duration) -> Self {
        Self { left: Some(total), ..self }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.left.map_or(self.next, |left| left.min(self.next));
        if pause.is_zero() {
            return None;
        }
        self.left = self.left.map(|left| left - pause);
        self.next = (self.next * 2).min(self.longest);
        Some(pause)
    }
}

/// Looks until there is something, on a thread that may block; `None` when the pauses are used up, after a
/// last look.
///
/// # Errors
/// As `look`; `Unavailable` once `meter` is stopped.
pub(crate) fn until<T>(
    pauses: Pauses,
    meter: &Meter,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    for pause in pauses {
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        meter.check()?;
        std::thread::park_timeout(pause);
    }
    look()
}

/// As [`until`], for as long as it takes.
///
/// # Errors
/// As [`until`].
#[cfg(feature = "directory")]
pub(crate) fn until_found<T>(meter: &Meter, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = until(Pauses::SHORT, meter, &mut look)? {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_are_no_more_than_their_total() {
        let millis = |pauses: Pauses| pauses.map(|p| p.as_millis()).take(8).collect::<Vec<_>>();
        assert_eq!(millis(Pauses::SHORT), [1, 2, 4, 8, 16, 32, 50, 50]);
        assert_eq!(millis(Pauses::SHORT.within(Duration::from_millis(20))), [1, 2, 4, 8, 5]);
        assert_eq!(millis(Pauses::SHORT.within(Duration::ZERO)), []);
    }

    #[test]
    fn a_wait_ends_with_what_is_found_or_its_bound_or_its_call() {
        let short = || Pauses::SHORT.within(Duration::from_millis(3));
        let mut looks = 0;
        let mut third = || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        };
        assert_eq!(until(short(), &Meter::default(), &mut third).unwrap(), Some(3));
        assert_eq!(until::<()>(short(), &Meter::default(), || Ok(None)).unwrap(), None);
        let stopped = Meter::default();
        stopped.stop();
        assert!(until_found::<()>(&stopped, || Ok(None)).is_err());
        assert_eq!(until_found(&stopped, || Ok(Some(1))).unwrap(), 1, "what is there needs no wait");
    }
}
