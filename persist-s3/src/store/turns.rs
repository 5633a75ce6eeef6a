//! One call at a time changes a volume in this process. What other processes do is settled by the head.

use persist_core::VolumeId;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all volumes; a volume that nobody waits for costs nothing.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<VolumeId, Arc<Semaphore>>>);

/// The turn of one call, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for the turn; in the order of asking.
    pub(super) async fn take(&self, volume: &VolumeId) -> Turn {
        let queue = self.queue(volume);
        // A semaphore that nobody closes always gives its permit.
        Turn { _permit: queue.acquire_owned().await.ok() }
    }

    fn queue(&self, volume: &VolumeId) -> Arc<Semaphore> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only here is a queue shared out, so one that nobody else has is nobody's turn.
        all.retain(|id, queue| id == volume || Arc::strong_count(queue) > 1);
        Arc::clone(all.entry(volume.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use persist_core::clock::SystemEnvironment;

    #[tokio::test]
    async fn a_turn_keeps_out_the_next_of_its_volume_alone_and_leaves_nothing() {
        let mint = || VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        let (turns, one, two) = (Turns::default(), mint(), mint());
        let held = turns.take(&one).await;
        assert!(turns.take(&two).now_or_never().is_some());
        let mut next = Box::pin(turns.take(&one));
        assert!((&mut next).now_or_never().is_none());
        drop(held);
        drop(next.await);
        drop(turns.take(&two).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}
