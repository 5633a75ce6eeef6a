//! One change of a volume at a time: a volume is not created while it is being removed.

use std::{
    collections::HashSet,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Who changes what just now.
#[derive(Debug)]
pub(crate) struct Turns<K: Eq + Hash>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K> {
    taken: Mutex<HashSet<K>>,
    given_back: Notify,
}

/// The right to change one thing, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<K: Eq + Hash> {
    of: Arc<Inner<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    /// Waits until nobody else changes `key`.
    ///
    /// # Cancellation
    /// Safe.
    pub(crate) async fn take(&self, key: &K) -> Turn<K> {
        loop {
            // First listen, then look: what is given back in between is not missed.
            let given_back = self.0.given_back.notified();
            tokio::pin!(given_back);
            given_back.as_mut().enable();
            if self.0.lock().insert(key.clone()) {
                return Turn { of: Arc::clone(&self.0), key: key.clone() };
            }
            given_back.await;
        }
    }
}

impl<K: Eq + Hash> Default for Turns<K> {
    fn default() -> Self {
        Self(Arc::new(Inner { taken: Mutex::default(), given_back: Notify::new() }))
    }
}

impl<K> Inner<K> {
    fn lock(&self) -> MutexGuard<'_, HashSet<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        self.of.lock().remove(&self.key);
        self.of.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_turn_waits_for_the_one_before_and_for_no_other() {
        let turns = Turns::default();
        let first = turns.take(&"a").await;
        assert!(turns.take(&"a").now_or_never().is_none());
        let _other = turns.take(&"b").now_or_never().expect("another key waited");
        let mut waiting = Box::pin(turns.take(&"a"));
        assert!((&mut waiting).now_or_never().is_none());
        drop(first);
        waiting.now_or_never().expect("the turn was given back");
    }
}
