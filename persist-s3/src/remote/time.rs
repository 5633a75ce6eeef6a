//! Waiting, by a clock that counts suspend; and how often something is tried.

use super::{Remote, cause};
use persist_core::{Error, Result, linux::boot};
use std::{fmt, time::Duration};

/// The clock that leases are measured by: it never goes back, and it counts while the machine is suspended.
pub(crate) trait BootClock: fmt::Debug + Send + Sync + 'static {
    /// The time since a fixed moment of this boot.
    fn now(&self) -> Duration;
}

/// That of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemBootClock;

impl BootClock for SystemBootClock {
    fn now(&self) -> Duration {
        boot::time()
    }
}

/// A runtime's timers stand still in suspend: after one, a sleeper looks at the clock this soon.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);

/// The first pause of a repetition, and the longest: the first is what a lost packet costs, the longest is
/// well below a beat. Both are halved at random, so that many clients do not come at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How often something is tried: with growing pauses, until its time is over.
#[derive(Debug)]
pub(crate) struct Tries {
    until: Option<Duration>,
    pause: Duration,
}

impl Remote {
    /// Until the patience of a call is over.
    pub(crate) fn tries(&self) -> Tries {
        Tries { until: Some(self.boot.now() + self.limits.patience), pause: FIRST_PAUSE }
    }

    /// For as long as somebody waits for it.
    pub(crate) fn endless_tries() -> Tries {
        Tries { until: None, pause: FIRST_PAUSE }
    }

    /// Waits until `at` of the boot clock.
    pub(crate) async fn sleep_until(&self, at: Duration) {
        loop {
            let left = at.saturating_sub(self.boot.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

impl Tries {
    /// Pauses before the next try, after `error`.
    ///
    /// # Errors
    /// `error` itself, once the time is over, or if another try cannot do better.
    pub(crate) async fn pause(&mut self, remote: &Remote, error: Error) -> Result<()> {
        let mut random = [0; 2];
        remote.environment.entropy.fill(&mut random);
        let half = self.pause / 2;
        let pause = half + half.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX));
        let over = self.until.is_some_and(|until| remote.boot.now() + pause >= until);
        if over || (self.until.is_some() && !cause::may_pass(&error)) {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
