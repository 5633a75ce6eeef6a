//! Signs of life, where leases run out: who serves an attachment writes one into `served/<id>` again and again; a
//! challenger looks at it, past the client's caches, and waits by its own clock until none came for a whole lease.
//!
//! Two clocks are never compared, and only looks that were answered count: while a server is silent its
//! holders cannot write either.

use super::served::Session;
use crate::{
    clock::Timestamp,
    directory::{engine::Engine, fresh, layout::VolumeLayout},
    error::{Error, ErrorKind, Result},
    id::{AttachmentId, Epoch},
    lease::LeaseState,
    linux::cause::cause,
};
use std::{io, os::unix::fs::FileExt, time::Duration};

/// What the file `served/<id>` says once its first sign of life was written; before that, the process alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) pid: u32,
    /// Another one each time that an attachment is taken up.
    serving: String,
    number: u64,
    lease: Duration,
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

/// What a challenger has seen of a holder, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watch {
    seen: Seen,
    /// The end of the first look that found it.
    since: Duration,
    /// The beginning of the last one.
    last: Duration,
}

/// What a challenger compares: anything new of it is a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) epoch: Epoch,
    /// The file as it is; empty where there is none.
    pub(super) file: Vec<u8>,
}

/// When a look was under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) begun: Duration,
    pub(super) ended: Duration,
}

/// How often a holder gives a sign of life: three may be lost.
pub(super) fn period(lease: Duration) -> Duration {
    lease / 4
}

/// How long a challenger must have seen nothing: a sign may be under way for a quarter of a lease, as on S3.
pub(super) fn silence(lease: Duration) -> Duration {
    lease.mul_f64(1.25)
}

/// From when on a holder is in doubt: before anybody can have taken its volume.
fn doubt(lease: Duration) -> Duration {
    lease.mul_f64(0.8)
}

/// How long a challenger pauses at most, so that its looks follow each other.
pub(super) fn between_looks(lease: Duration) -> Duration {
    lease / 8
}

/// Two looks that are further apart say nothing about the time between them: the server may have been silent,
/// for the holder as well.
fn longest_gap(lease: Duration) -> Duration {
    lease / 2
}

impl Watch {
    /// What is known after a look that found `seen`.
    pub(super) fn next(before: Option<Self>, seen: Seen, look: Look, lease: Duration) -> Self {
        let goes_on =
            |watch: &Self| watch.seen == seen && look.ended.saturating_sub(watch.last) <= longest_gap(lease);
        match before.filter(goes_on) {
            Some(watch) => Self { last: look.begun, ..watch },
            None => Self { seen, since: look.ended, last: look.begun },
        }
    }

    /// Whether the lease has run out.
    pub(super) fn ran_out(&self, lease: Duration) -> bool {
        self.last.saturating_sub(self.since) >= silence(lease)
    }
}

impl Seen {
    /// The lease that the holder says it has, else `own`: it was killed before its first sign.
    pub(super) fn lease(&self, own: Duration) -> Duration {
        Beat::parse(&self.file).map_or(own, |beat| beat.lease)
    }
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
        let begun = now();
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
            if last.is_some_and(|last| now().saturating_sub(last) >= doubt(lease)) {
                let error = Error::new(ErrorKind::Unavailable, "the store does not answer");
                self.doubt_at_look(&session, &error);
            }
        }
    }
}

/// What there is to see of the attachment `id` under `epoch`, and when it was looked at.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn look(layout: &VolumeLayout, id: &AttachmentId, epoch: Epoch) -> Result<(Seen, Look)> {
    let (begun, path) = (now(), layout.served(id));
    let file = match fresh::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|e| cause(e, "read", path.display()))?,
    };
    Ok((Seen { epoch, file }, Look { begun, ended: now() }))
}

/// The clock that leases are measured by: it never goes back, and it counts while the machine is suspended
/// (CLOCK_BOOTTIME of clock_gettime(2)).
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(100);

    fn seen(epoch: u64, file: &str) -> Seen {
        Seen { epoch: Epoch::new(epoch), file: file.into() }
    }

    /// A look of one second that begins at `at`.
    fn at(at: u64) -> Look {
        Look { begun: Duration::from_secs(at), ended: Duration::from_secs(at + 1) }
    }

    /// When looks at these times, which find these things, first say that the lease has run out.
    fn taken(looks: &[(u64, Seen)]) -> Option<u64> {
        let mut watch = None;
        looks.iter().find_map(|(time, seen)| {
            let next = Watch::next(watch.take(), seen.clone(), at(*time), LEASE);
            let over = next.ran_out(LEASE).then_some(*time);
            watch = Some(next);
            over
        })
    }

    #[test]
    fn a_holder_that_is_silent_for_longer_than_its_lease_is_taken_and_not_before() {
        let looks: Vec<_> = (0..20).map(|n| (n * 20, seen(1, "a"))).collect();
        assert_eq!(taken(&looks), Some(140), "126 s after the end of the first look");
    }

    #[test]
    fn any_sign_of_life_begins_the_wait_anew() {
        for sign in [seen(1, "b"), seen(2, "a"), seen(1, "")] {
            let looks: Vec<_> =
                (0..20).map(|n| (n * 20, if n < 6 { seen(1, "a") } else { sign.clone() })).collect();
            assert_eq!(taken(&looks), Some(260), "{sign:?}");
        }
    }

    #[test]
    fn the_time_between_looks_that_are_far_apart_does_not_count() {
        assert_eq!(taken(&[(0, seen(1, "a")), (1000, seen(1, "a"))]), None, "the server was silent, maybe");
        // A look that took long counts as little.
        let slow = Look { begun: Duration::from_secs(20), ended: Duration::from_secs(500) };
        let first = Watch::next(None, seen(1, "a"), at(0), LEASE);
        let after = Watch::next(Some(first), seen(1, "a"), slow, LEASE);
        assert_eq!(after.since, slow.ended);
    }

    #[test]
    fn a_holder_writes_several_signs_in_the_time_that_a_challenger_waits_and_doubts_before_it_is_over() {
        assert!(period(LEASE) * 3 < doubt(LEASE) && doubt(LEASE) < silence(LEASE));
        // As long as the server may be silent unnoticed, with a period before and one after.
        assert!(longest_gap(LEASE) + period(LEASE) * 2 < silence(LEASE));
        assert!(between_looks(LEASE) < longest_gap(LEASE));
    }

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
            assert_eq!(seen(1, torn).lease(Duration::from_secs(3)), Duration::from_secs(3));
        }
    }
}
