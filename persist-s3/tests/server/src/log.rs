//! What was asked, and what came of it.

use crate::{
    faults::Fault,
    seen::{ObjectKind, Seen, Verb},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many entries are kept; the counters go on. A test that looks at single requests makes fewer.
const KEPT: usize = 10_000;

/// How a request ended for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It got an answer with this status.
    Status(u16),
    /// The connection broke.
    Broken,
}

/// One request and its end.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The request.
    pub seen: Seen,
    /// What the client got.
    pub outcome: Outcome,
    /// The fault that it met.
    pub fault: Option<Fault>,
}

/// Requests and bytes of one verb on one kind of object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests.
    pub requests: u64,
    /// Bytes of their bodies.
    pub received: u64,
    /// Bytes of the answers' bodies.
    pub sent: u64,
}

/// Counters by verb and kind of object, and the latest requests.
#[derive(Debug, Default)]
pub struct RequestLog(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    counts: BTreeMap<(Verb, ObjectKind), Count>,
    entries: VecDeque<Entry>,
}

impl RequestLog {
    /// Requests of `verb` on objects of `kind`.
    pub fn count(&self, verb: Verb, kind: ObjectKind) -> Count {
        self.kept().counts.get(&(verb, kind)).copied().unwrap_or_default()
    }

    /// Requests of `verb` on all objects.
    pub fn total(&self, verb: Verb) -> Count {
        let kept = self.kept();
        let of_verb = kept.counts.iter().filter(|((seen, _), _)| *seen == verb);
        of_verb.fold(Count::default(), |sum, (_, count)| sum.plus(*count))
    }

    /// All counters that are not zero.
    pub fn counts(&self) -> BTreeMap<(Verb, ObjectKind), Count> {
        self.kept().counts.clone()
    }

    /// The latest requests in the order of their ends, at most 10,000.
    pub fn entries(&self) -> Vec<Entry> {
        self.kept().entries.iter().cloned().collect()
    }

    /// Forgets everything, so that the next count begins at zero.
    pub fn reset(&self) {
        *self.kept() = Kept::default();
    }

    pub(crate) fn add(&self, entry: Entry, sent: u64) {
        let mut kept = self.kept();
        let count = kept.counts.entry((entry.seen.verb, entry.seen.kind)).or_default();
        *count = count.plus(Count { requests: 1, received: entry.seen.bytes, sent });
        if kept.entries.len() == KEPT {
            kept.entries.pop_front();
        }
        kept.entries.push_back(entry);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            received: self.received + other.received,
            sent: self.sent + other.sent,
        }
    }
}
