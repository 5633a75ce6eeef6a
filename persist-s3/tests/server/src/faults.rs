//! What goes wrong, for which requests, and what did.

use crate::seen::{Seen, Verb};
use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How a connection breaks, as the client learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// It could not be made.
    Refused,
    /// It was reset.
    Reset,
    /// Nothing came in time.
    TimedOut,
}

/// An error of the S3 protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status of the reply.
    pub status: u16,
    /// The code in its body, of
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
    pub code: &'static str,
}

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is lost: nothing is applied.
    LostRequest(Broken),
    /// The request is applied and its reply is lost.
    LostReply(Broken),
    /// The client is told at once that nothing came in time; the request is applied this much later.
    Late(Duration),
    /// The request waits this long before it is applied.
    Delay(Duration),
    /// The request is applied twice; the first reply counts.
    Duplicate,
    /// This is answered and nothing is applied.
    Instead(Answer),
    /// The request is applied and this is answered.
    After(Answer),
    /// The connection breaks after half of the reply's body.
    CutBody,
    /// The reply is whole by its header, and half as long as it ought to be.
    ShortBody,
    /// This bit of the reply's body is wrong, counted modulo its length.
    FlippedBit(u64),
    /// The listing does not know yet this many of the latest changes of the bucket; at most 64 are
    /// remembered.
    StaleList(usize),
}

impl Fault {
    /// Throttling.
    pub const SLOW_DOWN: Self = Self::Instead(Answer { status: 503, code: "SlowDown" });
    /// The rare answer to writers that race.
    pub const CONFLICT: Self = Self::Instead(Answer { status: 409, code: "ConditionalRequestConflict" });
    /// What is there is not seen.
    pub const NOT_FOUND: Self = Self::Instead(Answer { status: 404, code: "NoSuchKey" });
    /// Applied, and denied: a client that retries inside sees its own success as 412.
    pub const ERROR_AFTER: Self = Self::After(Answer { status: 500, code: "InternalError" });
    /// Applied, and reported as a condition that did not hold.
    pub const OWN_PRECONDITION: Self = Self::After(Answer { status: 412, code: "PreconditionFailed" });

    /// Whether it can happen to a request of `verb`.
    fn befalls(self, verb: Verb) -> bool {
        match self {
            Self::CutBody | Self::ShortBody | Self::FlippedBit(_) => verb == Verb::Get,
            Self::StaleList(_) => verb == Verb::List,
            _ => true,
        }
    }
}

/// A fault that happened.
#[derive(Debug, Clone)]
pub struct Fired {
    /// The request it happened to.
    pub seen: Seen,
    /// What happened.
    pub fault: Fault,
    /// The name of the rule.
    pub rule: &'static str,
}

/// When a fault happens.
pub struct Rule {
    name: &'static str,
    fault: Fault,
    when: Box<dyn Fn(&Seen) -> bool + Send + Sync>,
    skip: u32,
    left: u32,
    chance: Option<Chance>,
    fired: u32,
}

struct Chance {
    random: fastrand::Rng,
    per_mille: u32,
}

impl Rule {
    /// `fault` happens to the first request that `when` holds for.
    pub fn once(
        name: &'static str,
        fault: Fault,
        when: impl Fn(&Seen) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { name, fault, when: Box::new(when), skip: 0, left: 1, chance: None, fired: 0 }
    }

    /// The first `n` requests that it is for go well.
    #[must_use]
    pub fn skip(mut self, n: u32) -> Self {
        self.skip = n;
        self
    }

    /// It happens `n` times.
    #[must_use]
    pub fn times(mut self, n: u32) -> Self {
        self.left = n;
        self
    }

    /// It happens to `per_mille` of a thousand requests that it is for, the same ones for the same seed
    /// and order of requests; [`times`](Self::times) still bounds it.
    #[must_use]
    pub fn by_chance(mut self, seed: u64, per_mille: u32) -> Self {
        self.chance = Some(Chance { random: fastrand::Rng::with_seed(seed), per_mille });
        self
    }

    fn strikes(&mut self, seen: &Seen) -> bool {
        if self.left == 0 || !self.fault.befalls(seen.verb) || !(self.when)(seen) {
            return false;
        }
        let lucky = self.chance.as_mut().is_some_and(|c| c.random.u32(0..1000) >= c.per_mille);
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if lucky {
            return false;
        }
        self.left -= 1;
        self.fired += 1;
        true
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, fault, left, fired, .. } = self;
        write!(f, "{name}: {fault:?}, {fired} times, {left} more")
    }
}

/// The rules of a server, in the order in which they were added: the first that strikes decides.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Planned>);

#[derive(Debug, Default)]
struct Planned {
    rules: Vec<Rule>,
    fired: Vec<Fired>,
}

impl Faults {
    /// Adds a rule behind those that are there.
    pub fn add(&self, rule: Rule) {
        self.planned().rules.push(rule);
    }

    /// What happened so far.
    pub fn fired(&self) -> Vec<Fired> {
        self.planned().fired.clone()
    }

    /// The names of the rules that never struck: a test that planned them proved nothing by them.
    pub fn unfired(&self) -> Vec<&'static str> {
        self.planned().rules.iter().filter(|rule| rule.fired == 0).map(|rule| rule.name).collect()
    }

    /// Removes all rules and forgets what happened.
    pub fn clear(&self) {
        *self.planned() = Planned::default();
    }

    pub(crate) fn decide(&self, seen: &Seen) -> Option<Fault> {
        let mut planned = self.planned();
        let struck = planned.rules.iter_mut().find_map(|rule| {
            let struck = rule.strikes(seen);
            struck.then(|| Fired { seen: seen.clone(), fault: rule.fault, rule: rule.name })
        })?;
        let fault = struck.fault;
        planned.fired.push(struck);
        Some(fault)
    }

    fn planned(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
