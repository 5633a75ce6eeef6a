//! A challenger that waits: it looks at the signs of life of a holder, past the client's caches, and counts by its own
//! clock how long there was none.
//!
//! Two clocks are never compared, and only looks that were answered count: while a server is silent its holders
//! cannot write either.

use super::{beats::Beat, request::Request, stored::StoredAttachment};
use crate::{
    directory::{engine::Engine, fresh, layout::VolumeLayout, place::Verdict},
    error::Result,
    id::{AttachmentId, Epoch},
    lease::Takeover,
    linux::{boot, cause::cause},
};
use std::{io, sync::PoisonError, time::Duration};

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

/// How long a challenger must have seen nothing: a sign may be under way for a quarter of a lease, as on S3.
pub(super) fn silence(lease: Duration) -> Duration {
    lease.mul_f64(1.25)
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

impl Engine {
    /// Looks for signs of life of the holders that nothing proves alive or dead, for a request that takes what let its
    /// lease run out. The caller holds the volume's exclusion: whoever is gone by this look has not adopted since.
    pub(super) fn judge_leases(
        &self,
        request: &Request,
        layout: &VolumeLayout,
        mut attached: Vec<(StoredAttachment, Verdict)>,
    ) -> Result<Vec<(StoredAttachment, Verdict)>> {
        let (Some(own), Takeover::WhenExpired) = (self.place.lease(), &request.options.takeover) else {
            return Ok(attached);
        };
        let mut watches = request.watches.lock().unwrap_or_else(PoisonError::into_inner);
        for (stored, verdict) in attached.iter_mut().filter(|(_, verdict)| *verdict == Verdict::CannotTell) {
            let record = &stored.record;
            let (seen, look) = look(layout, &record.id, record.epoch)?;
            let lease = seen.lease(own);
            let watch = Watch::next(watches.remove(&record.id), seen, look, lease);
            if watch.ran_out(lease) {
                *verdict = Verdict::Expired;
            }
            watches.insert(record.id.clone(), watch);
        }
        Ok(attached)
    }
}

/// What there is to see of the attachment `id` under `epoch`, and when it was looked at.
///
/// # Errors
/// As the filesystem reports them.
pub(super) fn look(layout: &VolumeLayout, id: &AttachmentId, epoch: Epoch) -> Result<(Seen, Look)> {
    let (begun, path) = (boot::time(), layout.served(id));
    let file = match fresh::read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|e| cause(e, "read", path.display()))?,
    };
    Ok((Seen { epoch, file }, Look { begun, ended: boot::time() }))
}

#[cfg(test)]
mod tests {
    use super::{
        super::beats::{doubt, period},
        *,
    };

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
        let within = Look { begun: Duration::from_secs(20), ended: Duration::from_secs(45) };
        let after =
            Watch::next(Some(Watch::next(None, seen(1, "a"), at(0), LEASE)), seen(1, "a"), within, LEASE);
        assert_eq!(
            (after.since, after.last),
            (at(0).ended, within.begun),
            "a sign may have come while it was looked"
        );
    }

    #[test]
    fn a_holder_writes_several_signs_in_the_time_that_a_challenger_waits_and_doubts_before_it_is_over() {
        assert!(period(LEASE) * 3 < doubt(LEASE) && doubt(LEASE) < silence(LEASE));
        // As long as the server may be silent unnoticed, with a period before and one after.
        assert!(longest_gap(LEASE) + period(LEASE) * 2 < silence(LEASE));
        assert!(between_looks(LEASE) < longest_gap(LEASE));
    }

    #[test]
    fn a_holder_that_was_killed_before_its_first_sign_is_waited_for_by_the_challengers_own_lease() {
        for torn in ["", "7\n", "7 x-y 1"] {
            assert_eq!(seen(1, torn).lease(LEASE), LEASE, "{torn:?}");
        }
    }
}
