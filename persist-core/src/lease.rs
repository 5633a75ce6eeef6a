//! The time-bounded right of a writer, and how it changes hands.

use crate::{
    attachment::AttachmentId,
    clock::Timestamp,
    error::{Error, Result},
    id::Epoch,
    snapshot::SnapshotName,
};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering::Relaxed},
};
use tokio::sync::watch;

/// Whether an attachment may still write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseState {
    /// The epoch is ours.
    Held,
    /// The last renewal is overdue; it may return to [`Held`](Self::Held). `sync` still tries and decides.
    Unconfirmed {
        /// Since when, by this node's clock.
        since: Timestamp,
    },
    /// Another epoch writes. Final.
    Fenced {
        /// The epoch that took over.
        by: Epoch,
        /// Where the work of this one is kept, once it is.
        salvage: Option<SnapshotName>,
    },
    /// Detached by us. Final.
    Released,
}

/// Watches the lease of one attachment.
#[derive(Debug, Clone)]
pub struct LeaseWatch(watch::Receiver<LeaseState>, Arc<AtomicI64>);

/// The store's end of a [`LeaseWatch`].
#[derive(Debug, Clone)]
pub struct LeaseSignal(watch::Sender<LeaseState>, Arc<AtomicI64>);

/// Stands for the time of a sync that has not been: no clock shows it.
const NEVER: i64 = i64::MIN;

impl LeaseSignal {
    /// Begins a lease that is held.
    pub fn held() -> Self {
        Self(watch::Sender::new(LeaseState::Held), Arc::new(AtomicI64::new(NEVER)))
    }

    /// Says that a sync succeeded whose cut was made at `cut`; an older one than before changes nothing.
    pub fn synced(&self, cut: Timestamp) {
        self.1.fetch_max(cut.as_millisecond(), Relaxed);
    }

    /// Says a new state; final states stay, but for what keeps the work of one that is fenced.
    pub fn set(&self, state: LeaseState) {
        self.0.send_if_modified(|now| {
            let changes = *now != state && (!is_final(now) || adds_salvage(now, &state));
            if changes {
                *now = state;
            }
            changes
        });
    }

    /// A watch on this lease.
    pub fn watch(&self) -> LeaseWatch {
        LeaseWatch(self.0.subscribe(), Arc::clone(&self.1))
    }
}

impl LeaseWatch {
    /// The state now.
    pub fn state(&self) -> LeaseState {
        self.0.borrow().clone()
    }

    /// When the last sync was cut that succeeded since this process serves the attachment, by this node's
    /// clock; the store's own syncs count as well.
    pub fn last_sync(&self) -> Option<Timestamp> {
        let millis = self.1.load(Relaxed);
        (millis != NEVER).then(|| Timestamp::from_millisecond(millis))
    }

    /// Waits for the next change and returns the new state; at once if it is final.
    ///
    /// # Cancellation
    /// Safe: a change that was not returned is returned by the next call.
    pub async fn changed(&mut self) -> LeaseState {
        let settled = is_final(&self.0.borrow());
        if !settled && self.0.changed().await.is_err() {
            return self.state();
        }
        self.0.borrow_and_update().clone()
    }

    /// Resolves with the new epoch when this attachment is fenced, and never otherwise.
    pub async fn fenced(mut self) -> Epoch {
        loop {
            match self.changed().await {
                LeaseState::Fenced { by, .. } => return by,
                state if is_final(&state) || self.0.has_changed().is_err() => std::future::pending().await,
                _ => {}
            }
        }
    }

    /// Refuses unless this attachment may still write.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) with both epochs; `NotFound` once it was detached.
    pub fn check(&self, mine: Epoch) -> Result<()> {
        match self.state() {
            LeaseState::Held | LeaseState::Unconfirmed { .. } => Ok(()),
            LeaseState::Fenced { by, salvage } => Err(Error::fenced(mine, by, salvage)),
            LeaseState::Released => Err(Error::not_found("the attachment was detached")),
        }
    }
}

/// Whether `new` says of the same end what keeps the work.
fn adds_salvage(now: &LeaseState, new: &LeaseState) -> bool {
    match (now, new) {
        (LeaseState::Fenced { by: one, salvage: None }, LeaseState::Fenced { by, salvage: Some(_) }) => {
            one == by
        }
        _ => false,
    }
}

fn is_final(state: &LeaseState) -> bool {
    matches!(state, LeaseState::Fenced { .. } | LeaseState::Released)
}

/// The caller's statement that one attachment under one epoch is dead or cut off.
///
/// It is about that attachment and that epoch only: if the holder has moved on, it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Vouch {
    /// The attachment that is dead.
    pub attachment: AttachmentId,
    /// The epoch it had.
    pub epoch: Epoch,
    /// How the caller knows; kept with the take-over.
    pub reason: String,
}

impl Vouch {
    /// States that `attachment` under `epoch` is dead or cut off, because of `reason`.
    pub fn new(attachment: AttachmentId, epoch: Epoch, reason: impl Into<String>) -> Self {
        Self { attachment, epoch, reason: reason.into() }
    }
}

/// When an attach may take a volume from another holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Takeover {
    /// As the store's fencing allows: [`WhenExpired`](Self::WhenExpired) where it is
    /// [`Fencing::CommitGate`](crate::Fencing::CommitGate), else [`Never`](Self::Never).
    #[default]
    ByFencing,
    /// Only what is proven dead.
    Never,
    /// Also what let its lease run out. On NFS the attach itself must see that: it needs a `wait` of more than 1.25 leases.
    WhenExpired,
    /// Also what the caller vouches for.
    Vouched(Vouch),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sync_is_the_newest_that_succeeded() {
        let signal = LeaseSignal::held();
        let watch = signal.watch();
        assert_eq!(watch.last_sync(), None);
        for millis in [5, 3] {
            signal.synced(Timestamp::from_millisecond(millis));
        }
        assert_eq!(watch.last_sync(), Some(Timestamp::from_millisecond(5)));
    }

    #[tokio::test]
    async fn fenced_resolves_on_fenced_only_and_fenced_is_final() {
        let signal = LeaseSignal::held();
        let watch = signal.watch();
        let fenced = tokio::spawn(watch.clone().fenced());
        signal.set(LeaseState::Unconfirmed { since: Timestamp::from_millisecond(0) });
        signal.set(LeaseState::Held);
        tokio::task::yield_now().await;
        assert!(!fenced.is_finished());
        signal.set(LeaseState::Fenced { by: Epoch::new(7), salvage: None });
        signal.set(LeaseState::Held);
        assert_eq!(fenced.await.unwrap(), Epoch::new(7));
        assert_eq!(watch.check(Epoch::new(6)).unwrap_err().kind(), crate::ErrorKind::Fenced);
    }

    #[test]
    fn what_keeps_the_work_is_added_to_the_end_that_it_is_of_and_nothing_else_is() {
        let signal = LeaseSignal::held();
        let fenced = |by, salvage: Option<&str>| LeaseState::Fenced {
            by: Epoch::new(by),
            salvage: salvage.map(|name| name.parse().unwrap()),
        };
        for (set, then) in [
            (fenced(7, None), fenced(7, None)),
            (fenced(8, Some("s")), fenced(7, None)),
            (fenced(7, Some("s")), fenced(7, Some("s"))),
            (fenced(7, None), fenced(7, Some("s"))),
            (LeaseState::Released, fenced(7, Some("s"))),
        ] {
            signal.set(set);
            assert_eq!(signal.watch().state(), then);
        }
    }
}
