//! Signs of life, where leases run out: who serves an attachment writes one into `served/<id>` again and again.

use super::served::Session;
use crate::{
    clock::Timestamp,
    directory::engine::Engine,
    error::{Error, ErrorKind, Result},
    lease::LeaseState,
    linux::{boot, cause::cause},
};
use std::{os::unix::fs::FileExt, time::Duration};

/// What the file `served/<id>` says once its first sign of life was written; before that, the process alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) pid: u32,
    /// Another one each time that an attachment is taken up.
    serving: String,
    number: u64,
    pub(super) lease: Duration,
    /// By the holder's clock, for people.
    pub(super) at: Timestamp,
}

/// What a holder has written of itself.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    number: u64,
    /// When the newest one that was written was begun, by the clock of this boot.
    begun: Option<Duration>,
    /// The doubt that a look has raised: the next look that succeeds ends it.
    doubted: Option<LeaseState>,
}

/// How often a holder gives a sign of life: three may be lost.
pub(super) fn period(lease: Duration) -> Duration {
    lease / 4
}

/// From when on a holder is in doubt: before anybody can have taken its volume.
pub(super) fn doubt(lease: Duration) -> Duration {
    lease.mul_f64(0.8)
}

impl Beat {
    /// One line of always the same length for one holder: it is written over the one before.
    fn line(&self) -> String {
        let Self { pid, serving, number, lease, at } = self;
        format!("{pid} {serving} {number:020} {:020} {:+020}\n", lease.as_millis(), at.as_millisecond())
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split(' ');
        let beat = Self {
            pid: words.next()?.parse().ok()?,
            serving: words.next()?.to_owned(),
            number: words.next()?.parse().ok()?,
            lease: Duration::from_millis(words.next()?.parse().ok()?),
            at: Timestamp::from_millisecond(words.next()?.parse().ok()?),
        };
        words.next().is_none().then_some(beat)
    }
}

impl Engine {
    /// Gives a sign of life, if one is due and leases run out here.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub(super) fn beat(&self, session: &Session) -> Result<()> {
        let Some(lease) = self.place.lease() else { return Ok(()) };
        let begun = boot::time();
        let number = {
            let mut pulse = session.pulse();
            if pulse.begun.is_some_and(|last| begun.saturating_sub(last) < period(lease)) {
                return Ok(());
            }
            pulse.number += 1;
            pulse.number
        };
        let (pid, serving) = (std::process::id(), session.serving.to_string());
        let beat = Beat { pid, serving, number, lease, at: self.now() };
        let file = session.held.file();
        let written = file.write_all_at(beat.line().as_bytes(), 0).and_then(|()| file.sync_data());
        written.map_err(|e| cause(e, "write", session.layout.served(&session.id).display()))?;
        session.pulse().begun = Some(begun);
        Ok(())
    }

    /// Looks whether a session is still ours, and gives a sign of life. A look that fails leaves it in doubt until one
    /// succeeds.
    pub(super) fn confirm_lease(&self, session: &Session) {
        match self.check_lease(session).and_then(|()| self.beat(session)) {
            Err(error) => self.doubt_at_look(session, &error),
            Ok(()) => {
                let doubted = session.pulse().doubted.take();
                if doubted.is_some_and(|doubted| session.signal.watch().state() == doubted) {
                    session.signal.set(LeaseState::Held);
                }
            }
        }
    }

    /// Leaves a session in doubt, until a look succeeds, because of `error`.
    pub(super) fn doubt_at_look(&self, session: &Session, error: &Error) {
        self.doubt(session, error);
        let state = session.signal.watch().state();
        if matches!(state, LeaseState::Unconfirmed { .. }) {
            session.pulse().doubted.get_or_insert(state);
        }
    }

    /// Leaves the sessions in doubt whose look takes so long that another may soon take their volume.
    pub(super) fn doubt_overdue(&self) {
        let Some(lease) = self.place.lease() else { return };
        for session in self.served.all() {
            let last = session.pulse().begun;
            if last.is_some_and(|last| boot::time().saturating_sub(last) >= doubt(lease)) {
                let error = Error::new(ErrorKind::Unavailable, "the store does not answer");
                self.doubt_at_look(&session, &error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(100);

    #[test]
    fn a_sign_is_read_as_it_was_written_and_is_always_as_long() {
        let beat = |number, at| Beat {
            pid: 7,
            serving: "x-y".into(),
            number,
            lease: LEASE,
            at: Timestamp::from_millisecond(at),
        };
        for (number, at) in [(1, 0), (u64::MAX, -5), (12, 1_700_000_000_000)] {
            let line = beat(number, at).line();
            assert_eq!(Beat::parse(line.as_bytes()), Some(beat(number, at)), "{line}");
            assert_eq!(line.len(), beat(2, 9).line().len());
        }
        for torn in ["", "7\n", "7 x-y 1", "7 x-y 1 2 3", "7 x-y 1 2 3 4\n"] {
            assert_eq!(Beat::parse(torn.as_bytes()), None, "{torn:?}");
        }
    }
}
