//! What happened in lives, so that it is known what they have proven.

use super::faults::KINDS;
use std::collections::BTreeMap;

/// How often each thing happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// By the kind of fault.
    pub fired: BTreeMap<&'static str, u32>,
    /// Done and failed, by the verb.
    pub verbs: BTreeMap<String, (u32, u32)>,
    pub salvages: u32,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        other.fired.into_iter().for_each(|(kind, times)| *self.fired.entry(kind).or_default() += times);
        for (verb, (done, failed)) in other.verbs {
            let counted = self.verbs.entry(verb).or_default();
            *counted = (counted.0 + done, counted.1 + failed);
        }
        self.salvages += other.salvages;
    }

    /// What never happened, so that nothing was proven by it.
    pub fn never_happened(&self) -> Vec<&'static str> {
        let faults = KINDS.iter().map(|(name, _)| *name).filter(|name| !self.fired.contains_key(name));
        faults.chain((self.salvages == 0).then_some("a salvage")).collect()
    }
}
