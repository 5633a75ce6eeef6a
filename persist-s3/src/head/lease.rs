//! When a head may be taken, when it is renewed, and when its holder is in doubt: decided on this node's
//! own clock that counts suspend (CLOCK_BOOTTIME, clock_gettime(2)); two clocks are never compared.

use super::{
    record::{Beats, Head, Lease},
    writer::ETag,
};
use persist_core::{Error, Takeover, Vouch, error::Difference};
use std::time::Duration;

/// The ttl of a lease unless told otherwise: a take-over after about 77 seconds, and 130,000 renewals a
/// month.
pub const TTL: Duration = Duration::from_secs(60);

/// What a challenger adds to 1.25 ttl: a holder's request may be that long under way.
pub const GRACE: Duration = Duration::from_secs(2);

/// What a challenger has seen of a head, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    etag: ETag,
    since: Duration,
}

impl Watch {
    /// Sees version `etag` at `now`. A version that was seen before keeps the time of its first sight.
    #[must_use]
    pub fn seen(before: Option<Self>, etag: ETag, now: Duration) -> Self {
        before.filter(|watch| watch.etag == etag).unwrap_or(Self { etag, since: now })
    }

    /// For how long the version has been seen unchanged at `now`.
    #[must_use]
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }
}

/// Whether a session may ask for a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MayTake {
    /// It may, now.
    Now,
    /// It may at that time of its own clock, if the version is still the same then.
    At(Duration),
    /// It may not, however long it waits: only detach or a vouch ends this lease.
    Never,
    /// The vouch is about another attachment or epoch: the holder has moved on.
    VouchIsStale,
}

/// Whether a session may ask for `head`, which `watch` is about.
pub fn may_take(head: &Head, watch: &Watch, now: Duration, takeover: &Takeover) -> MayTake {
    let Some(lease) = &head.lease else { return MayTake::Now };
    match takeover {
        Takeover::Vouched(vouch) if is_about(vouch, head, lease) => MayTake::Now,
        Takeover::Vouched(_) => MayTake::VouchIsStale,
        Takeover::Never => MayTake::Never,
        // The head gates commits, so a take-over after expiry is the default.
        _ => expiry(lease, watch)
            .map_or(MayTake::Never, |at| if now >= at { MayTake::Now } else { MayTake::At(at) }),
    }
}

/// How a holder stands with its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing to do until then.
    Next(Duration),
    /// Renew now.
    Due,
    /// Renew now; the last success is so old that the holder is in doubt.
    Overdue,
}

/// From when on a holder is in doubt whose last successful request *began* at `last`; never without beats.
/// At 0.8 ttl nobody can have taken the head yet, and one renewal more fits in.
pub fn doubt(lease: &Lease, last: Duration) -> Option<Duration> {
    (lease.beats == Beats::Renewed).then(|| last + lease.ttl.mul_f64(0.8))
}

/// How a holder stands at `now` whose last successful request *began* at `last`. A commit counts.
pub fn beat(lease: &Lease, last: Duration, now: Duration) -> Beat {
    match doubt(lease, last) {
        None => Beat::Next(Duration::MAX),
        Some(doubted) if now >= doubted => Beat::Overdue,
        Some(_) if now >= last + lease.ttl / 3 => Beat::Due,
        Some(_) => Beat::Next(last + lease.ttl / 3),
    }
}

/// What a caller is told whose vouch is about another attachment or epoch than `head` has.
pub(crate) fn stale_vouch(vouch: &Vouch, head: &Head) -> Error {
    let held = head.lease.as_ref().map_or("nobody".to_owned(), |lease| lease.attachment.to_string());
    let differences = vec![
        Difference::new("attachment", &vouch.attachment, held),
        Difference::new("epoch", vouch.epoch, head.epoch),
    ];
    Error::conflict("the vouch is out of date: the holder has moved on", differences)
        .advise("look who holds the volume now")
}

/// The longest time that a lease or a pin may last: what the configuration allows. A larger one in the bucket is
/// nothing that this crate wrote.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(86_400);

fn expiry(lease: &Lease, watch: &Watch) -> Option<Duration> {
    (lease.beats == Beats::Renewed).then(|| watch.since + lease.ttl.mul_f64(1.25) + GRACE)
}

fn is_about(vouch: &Vouch, head: &Head, lease: &Lease) -> bool {
    vouch.attachment == lease.attachment && vouch.epoch == head.epoch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{change::FoundBy, names::UniqueName, record::SessionId};
    use persist_core::{
        Access, AttachmentId, Epoch, Holder, Liveness, Node, NodeId, VolumeId, VolumeName, Workload,
        clock::Timestamp, holder::BootId,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(beats: Beats) -> Lease {
        let node = Node::new(NodeId::new("n").unwrap(), BootId::new("b").unwrap());
        Lease {
            attachment: AttachmentId::parse("00000000-0000-7000-8000-000000000001").unwrap(),
            session: SessionId(1),
            holder: Holder::new(node, Workload::new("w").unwrap(), Liveness::External),
            access: Access::ReadWrite,
            since: Timestamp::from_millisecond(0),
            ttl: TTL,
            beats,
        }
    }

    fn held(beats: Beats) -> Head {
        let volume = VolumeId::parse("00000000-0000-7000-8000-000000000000").unwrap();
        Head::new(volume, VolumeName::new("v").unwrap(), UniqueName::of(Epoch::ZERO, 0, b""), 1)
            .unwrap()
            .taken(FoundBy::Name, lease(beats), 2)
            .unwrap()
    }

    fn version(text: &str) -> ETag {
        ETag(text.into())
    }

    #[test]
    fn a_challenger_waits_a_quarter_more_than_the_lease_from_its_own_first_sight() {
        let watch = Watch::seen(None, version("a"), 100 * SECOND);
        let watch = Watch::seen(Some(watch), version("a"), 150 * SECOND);
        let head = held(Beats::Renewed);
        let ask = |now| may_take(&head, &watch, now, &Takeover::ByFencing);
        assert_eq!(ask(176 * SECOND), MayTake::At(177 * SECOND));
        assert_eq!(ask(177 * SECOND), MayTake::Now);
    }

    #[test]
    fn a_renewal_starts_the_wait_again() {
        let watch = Watch::seen(None, version("a"), 100 * SECOND);
        let watch = Watch::seen(Some(watch), version("b"), 150 * SECOND);
        let ask = may_take(&held(Beats::Renewed), &watch, 200 * SECOND, &Takeover::WhenExpired);
        assert_eq!(ask, MayTake::At(227 * SECOND));
    }

    #[test]
    fn a_lease_without_beats_ends_by_a_vouch_only_and_a_vouch_is_about_one_epoch() {
        let (head, watch) = (held(Beats::Never), Watch::seen(None, version("a"), SECOND));
        let ask = |takeover| may_take(&head, &watch, 1_000_000 * SECOND, &takeover);
        let vouch = |epoch| {
            Takeover::Vouched(Vouch::new(lease(Beats::Never).attachment, Epoch::new(epoch), "seen dead"))
        };
        assert_eq!(ask(Takeover::WhenExpired), MayTake::Never);
        assert_eq!(ask(vouch(1)), MayTake::Now);
        assert_eq!(ask(vouch(2)), MayTake::VouchIsStale);
    }

    #[test]
    fn a_holder_renews_at_a_third_and_doubts_at_four_fifths() {
        let ask = |age: u32| beat(&lease(Beats::Renewed), 100 * SECOND, (100 + age) * SECOND);
        assert_eq!(ask(19), Beat::Next(120 * SECOND));
        assert_eq!(ask(20), Beat::Due);
        assert_eq!(ask(47), Beat::Due);
        assert_eq!(ask(48), Beat::Overdue);
    }
}
