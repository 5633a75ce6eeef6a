//! What goes wrong with requests, by the list of the protocol's design: each kind once a rule.

use fastrand::Rng;
use persist_s3_server::{Broken, Fault, Rule};
use std::time::Duration;

/// A kind of fault, and one of its kind.
type Kind = (&'static str, fn(&mut Rng) -> Fault);

pub const KINDS: [Kind; 15] = [
    ("request refused", |_| Fault::LostRequest(Broken::Refused)),
    ("request lost", |_| Fault::LostRequest(Broken::Reset)),
    ("reply lost", |_| Fault::LostReply(Broken::Reset)),
    ("reply late", |_| Fault::LostReply(Broken::TimedOut)),
    ("applied late", |random| Fault::Late(Duration::from_secs(random.u64(1..120)))),
    ("delayed", |random| Fault::Delay(Duration::from_secs(random.u64(1..4)))),
    ("applied twice", |_| Fault::Duplicate),
    ("409", |_| Fault::CONFLICT),
    ("own 412", |_| Fault::OWN_PRECONDITION),
    ("404", |_| Fault::NOT_FOUND),
    ("503", |_| Fault::SLOW_DOWN),
    ("500 after it was applied", |_| Fault::ERROR_AFTER),
    ("body cut", |_| Fault::CutBody),
    ("bit flipped", |random| Fault::FlippedBit(random.u64(..))),
    ("list stale", |random| Fault::StaleList(random.usize(1..8))),
];

/// A verb makes about this many requests.
const REQUESTS: u32 = 24;

/// As many answers of 503 at once.
const STORM: u32 = 6;

/// Some faults for one verb.
pub fn some(random: &mut Rng) -> Vec<Rule> {
    let count = random.usize(1..=3);
    let rules = (0..count).map(|_| {
        let (name, make) = KINDS[random.usize(..KINDS.len())];
        let times = if name == "503" { random.u32(1..=STORM) } else { 1 };
        // A listing is rare among requests: the first one is it.
        let skip = if name == "list stale" { 0 } else { random.u32(..REQUESTS) };
        Rule::once(name, make(random), |_| true).skip(skip).times(times)
    });
    rules.collect()
}
