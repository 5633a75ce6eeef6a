//! A reader's pin that is renewed by a task of its own, until it is let go.

use super::{Pinned, PinnedBy};
use crate::remote::Remote;
use persist_core::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A pin that is renewed three times in its ttl. Its owner joins the task by [`close`](Self::close); dropped
/// without that, the task ends, and the pin once its ttl has passed.
#[derive(Debug)]
pub(crate) struct HeldPin {
    state: watch::Receiver<PinState>,
    closing: DropGuard,
    task: JoinHandle<Pinned>,
    remote: Remote,
}

/// How a pin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinState {
    /// What it pins stays.
    Kept,
    /// It was not renewed in time. Final: what it pinned may be gone.
    Ended,
}

impl HeldPin {
    /// Renews `pinned` from now on.
    pub(crate) fn start(remote: Remote, pinned: Pinned) -> Self {
        let (told, state) = watch::channel(PinState::Kept);
        let closing = CancellationToken::new();
        let task = tokio::spawn(renewed(remote.clone(), pinned, closing.clone(), told));
        Self { state, closing: closing.drop_guard(), task, remote }
    }

    /// Watches it.
    #[cfg(test)]
    pub(crate) fn state(&self) -> watch::Receiver<PinState> {
        self.state.clone()
    }

    /// Joins the task and drops the pin.
    ///
    /// # Errors
    /// As the object store gives them: the pin ends by its ttl then.
    pub(crate) async fn close(self) -> Result<()> {
        if *self.state.borrow() == PinState::Ended {
            tracing::warn!("a pin had ended before its reader had: what it read may have been pruned");
        }
        drop(self.closing);
        let joined = self.task.await;
        let pinned = joined.map_err(|e| Error::internal("the task of a pin has failed").with_source(e))?;
        self.remote.unpin(&pinned).await
    }
}

async fn renewed(
    remote: Remote,
    mut pinned: Pinned,
    closing: CancellationToken,
    told: watch::Sender<PinState>,
) -> Pinned {
    loop {
        let due = pinned.began + ttl(&pinned) / 3;
        tokio::select! {
            biased;
            () = closing.cancelled() => return pinned,
            () = remote.sleep_until(due) => {}
        }
        // Not cancelled in the middle: the version that is ours has to be known.
        match remote.renew_pin(&pinned).await {
            Ok(newer) => pinned = newer,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                told.send_replace(PinState::Ended);
                return pinned;
            }
            Err(e) => {
                tracing::warn!(volume = %pinned.volume, error = %e, "a pin was not renewed");
                tokio::time::sleep(remote.limits.poll).await;
            }
        }
    }
}

fn ttl(pinned: &Pinned) -> Duration {
    match pinned.pin.by {
        PinnedBy::Reader { ttl, .. } => ttl,
        // Ends with what it is for, never by time: it needs no renewal.
        PinnedBy::Fork(_) | PinnedBy::Nobody => Duration::MAX / 4,
    }
}
