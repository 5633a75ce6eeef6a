//! Who gets a volume: decided from records alone, without I/O.

use crate::{
    attachment::{Access, AttachmentRecord, TargetKind},
    directory::place::Verdict,
    error::Difference,
    holder::Holder,
    id::Epoch,
    lease::{Takeover, Vouch},
    snapshot::SnapshotName,
};
use std::path::Path;

/// An attachment on record, and what this host can say about its holder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) record: &'a AttachmentRecord,
    pub(super) kind: TargetKind,
    pub(super) verdict: &'a Verdict,
}

/// What makes two attachments of one holder the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity<'a> {
    pub(super) access: Access,
    pub(super) target: Option<&'a Path>,
    pub(super) kind: TargetKind,
    pub(super) snapshot: Option<&'a SnapshotName>,
}

/// What an attach asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) holder: &'a Holder,
    pub(super) identity: Identity<'a>,
    pub(super) takeover: &'a Takeover,
}

/// The answer to an attach. Numbers are places in the list of what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The holder has it: it gets it again, adopted if nobody serves it.
    Same { at: usize, dead: Vec<usize>, adopting: Mint },
    /// The holder has it otherwise, or the vouch is about somebody who has moved on.
    Conflict(Vec<Difference>),
    /// These stand in the way.
    InUse(Vec<usize>),
    /// It is free once these are gone.
    Grant { replaced: Vec<usize>, mint: Mint },
}

/// Which epoch an attachment gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mint {
    /// The next one.
    New,
    /// That of the claims that are there.
    Share(Epoch),
    /// The newest one, which a reader only sees.
    Seen,
}

/// Decides an attach. What is proven dead, or vouched for, makes room; and for [`Takeover::WhenExpired`] what
/// let its lease run out and is in the way. [`Takeover::ByFencing`] is `Never`: a directory gates no commits.
pub(super) fn decide(wanted: &Wanted<'_>, seen: &[Seen<'_>]) -> Decision {
    let vouched = match stands(wanted.takeover, seen) {
        Ok(vouched) => vouched,
        Err(difference) => return Decision::Conflict(vec![difference]),
    };
    let own = seen.iter().position(|s| s.record.holder.is_same(wanted.holder));
    if let Some(at) = own.filter(|at| vouched != About::There(*at)) {
        return same(wanted, seen, at);
    }
    let gone = |i: usize| is_dead(&seen[i]) || vouched == About::There(i);
    let expired = |i: usize| is_expired(wanted, &seen[i]) && blocks(wanted, &seen[i]);
    let (replaced, staying): (Vec<_>, Vec<_>) = (0..seen.len()).partition(|i| gone(*i) || expired(*i));
    let blocking: Vec<_> = staying.iter().copied().filter(|i| blocks(wanted, &seen[*i])).collect();
    match (blocking.first(), vouched, wanted.takeover) {
        (Some(first), About::Nobody, Takeover::Vouched(vouch)) => {
            Decision::Conflict(vec![moved_on(vouch, seen[*first].record)])
        }
        (Some(_), ..) => Decision::InUse(blocking),
        (None, ..) => {
            let mint = mint(wanted.identity.access, staying.iter().map(|i| &seen[*i]));
            Decision::Grant { replaced, mint }
        }
    }
}

/// Which epoch the attachment `seen[at]` is adopted under.
pub(super) fn adopting(seen: &[Seen<'_>], at: usize) -> Mint {
    let others = seen.iter().enumerate().filter(|(i, s)| *i != at && !is_dead(s)).map(|(_, s)| s);
    mint(seen[at].record.access, others)
}

/// Where an adoption asks for something else than is on record.
pub(super) fn differences(wanted: &Identity<'_>, actual: &Identity<'_>) -> Vec<Difference> {
    let path = |path: Option<&Path>| path.map_or("none".into(), |path| path.display().to_string());
    let name = |name: Option<&SnapshotName>| name.map_or("none".into(), ToString::to_string);
    let mut found = Vec::new();
    let mut differ = |field, wanted: String, actual: String| {
        if wanted != actual {
            found.push(Difference::new(field, wanted, actual));
        }
    };
    differ("access", format!("{:?}", wanted.access), format!("{:?}", actual.access));
    differ("target", path(wanted.target), path(actual.target));
    differ("target_kind", format!("{:?}", wanted.kind), format!("{:?}", actual.kind));
    differ("snapshot", name(wanted.snapshot), name(actual.snapshot));
    found
}

/// The difference that says that a vouch is about somebody who has moved on.
pub(super) fn moved_on(vouch: &Vouch, now: &AttachmentRecord) -> Difference {
    let of = |id, epoch| format!("attachment {id} under epoch {epoch}");
    Difference::new("vouch", of(&vouch.attachment, vouch.epoch), of(&now.id, now.epoch))
}

/// Whom a vouch is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// There is no vouch, or it is about an attachment that is gone.
    Nobody,
    There(usize),
}

fn stands(takeover: &Takeover, seen: &[Seen<'_>]) -> Result<About, Difference> {
    let Takeover::Vouched(vouch) = takeover else { return Ok(About::Nobody) };
    match seen.iter().position(|s| s.record.id == vouch.attachment) {
        None => Ok(About::Nobody),
        Some(at) if seen[at].record.epoch == vouch.epoch => Ok(About::There(at)),
        Some(at) => Err(moved_on(vouch, seen[at].record)),
    }
}

fn same(wanted: &Wanted<'_>, seen: &[Seen<'_>], at: usize) -> Decision {
    let differences = differences(&wanted.identity, &identity(&seen[at]));
    if !differences.is_empty() {
        return Decision::Conflict(differences);
    }
    let dead = (0..seen.len()).filter(|i| *i != at && is_dead(&seen[*i])).collect();
    Decision::Same { at, dead, adopting: adopting(seen, at) }
}

pub(super) fn identity<'a>(seen: &Seen<'a>) -> Identity<'a> {
    let record = seen.record;
    Identity {
        access: record.access,
        target: record.target.as_deref(),
        kind: seen.kind,
        snapshot: record.snapshot.as_ref(),
    }
}

fn blocks(wanted: &Wanted<'_>, other: &Seen<'_>) -> bool {
    let theirs = &other.record.holder;
    let excluded = !wanted.identity.access.allows(wanted.holder, other.record.access, theirs);
    let same_node = wanted.holder.node == theirs.node;
    let same_target =
        wanted.identity.target.is_some() && wanted.identity.target == other.record.target.as_deref();
    excluded || (same_node && same_target)
}

/// Claims share the epoch of those that are there; the first one, and every single writer, mints.
fn mint<'a>(access: Access, others: impl Iterator<Item = &'a Seen<'a>>) -> Mint {
    match access {
        Access::ReadOnly => Mint::Seen,
        Access::ReadWrite => Mint::New,
        Access::SharedOnNode | Access::SharedAcrossNodes => {
            let claims = others.filter(|other| other.record.access == access);
            claims.map(|claim| claim.record.epoch).max().map_or(Mint::New, Mint::Share)
        }
    }
}

fn is_expired(wanted: &Wanted<'_>, seen: &Seen<'_>) -> bool {
    *wanted.takeover == Takeover::WhenExpired && *seen.verdict == Verdict::Expired
}

fn is_dead(seen: &Seen<'_>) -> bool {
    matches!(seen.verdict, Verdict::Dead(_))
}

#[cfg(test)]
mod tests;
