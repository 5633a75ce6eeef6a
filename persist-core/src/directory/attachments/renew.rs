//! The one task of an opened store that looks after its sessions: it syncs those that asked for it, and
//! sees when one was taken over.

use super::served::Session;
use crate::{
    directory::engine::Engine,
    error::Result,
    progress::{CallOptions, Meter},
    quiesce::SyncPolicy,
};
use futures::StreamExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::Notify, time};

/// The task's state. Dropped with the store, it ends the task.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    wake: Arc<Notify>,
    begun: AtomicBool,
}

impl Renewal {
    /// Has the task look again: something is due earlier than it knows.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

/// How often the task looks whether an attachment is still ours: a writer that was taken over learns it
/// within this, for the price of reading one small file each time.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How many sessions are synced at once: each waits for the same device.
const SYNCS_AT_ONCE: usize = 4;

/// Whether the place answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Yes,
    No,
}

impl Engine {
    /// Begins the task, or tells it of a new session. It ends when the store is closed or dropped.
    ///
    /// # Errors
    /// `Unavailable` once the store is closed.
    pub(super) fn start_renewal(self: &Arc<Self>) -> Result<()> {
        let renewal = &self.served.renewal;
        if renewal.begun.swap(true, Relaxed) {
            renewal.wake();
            return Ok(());
        }
        let (weak, closing, wake) = (Arc::downgrade(self), self.calls.closing(), Arc::clone(&renewal.wake));
        self.calls.spawn(async move {
            loop {
                let Some(engine) = weak.upgrade() else { return };
                let pause = engine.look_after_sessions().await;
                drop(engine);
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = wake.notified() => {}
                    () = until(pause) => {}
                }
            }
        })
    }

    /// One round; returns after how long the next one is due, if any is.
    async fn look_after_sessions(self: &Arc<Self>) -> Option<Duration> {
        let (engine, call) = (Arc::clone(self), CallOptions::default());
        let looked = self.calls.run(&call, move |_: &Meter| Ok(engine.look_at_leases()));
        if looked.await.ok()? == Reached::No {
            return Some(LOOK_EVERY);
        }
        let due = self.served.all().into_iter().filter(|session| due_in(session) == Some(Duration::ZERO));
        futures::stream::iter(due)
            .for_each_concurrent(SYNCS_AT_ONCE, |session| self.sync_by_itself(session))
            .await;
        let sessions = self.served.all();
        let next = sessions.iter().filter_map(|session| due_in(session)).min();
        (!sessions.is_empty()).then(|| next.unwrap_or(LOOK_EVERY).min(LOOK_EVERY))
    }

    /// Whether each session is still ours. While the place does not answer, none is looked at: the look would
    /// wait with its thread.
    fn look_at_leases(&self) -> Reached {
        let sessions = self.served.all();
        if sessions.is_empty() {
            return Reached::Yes;
        }
        if let Err(error) = self.place.reach() {
            sessions.iter().for_each(|session| self.doubt(session, &error));
            return Reached::No;
        }
        for session in &sessions {
            if let Err(error) = self.check_lease(session) {
                self.doubt(session, &error);
            }
        }
        Reached::Yes
    }

    /// A sync that nobody asked for now. Its failure shows in the lease; it is tried again in its time.
    async fn sync_by_itself(self: &Arc<Self>, session: Arc<Session>) {
        let Ok(call) = self.calls.begin(&CallOptions::default()) else { return };
        let cuts = session.state().cuts.clone();
        if let Err(error) = self.sync_session(&call, &session, cuts.quiesce, cuts.consistency).await {
            tracing::warn!(attachment = %session.id, %error, "a periodic sync failed");
        }
    }
}

/// In how long the sync of a session is due; none if it is synced on demand, or is over.
fn due_in(session: &Session) -> Option<Duration> {
    let state = session.state();
    let SyncPolicy::Every(period) = state.stored.record.sync else { return None };
    session.signal.watch().check(state.stored.record.epoch).ok()?;
    Some(period.saturating_sub(state.synced.elapsed()))
}

async fn until(pause: Option<Duration>) {
    match pause {
        Some(pause) => time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
