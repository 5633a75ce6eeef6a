//! The two tasks of an opened store that look after its sessions. One sees whether they are still ours, and gives signs
//! of life where leases run out; the other one syncs those that asked for it, for as long as that takes.

use super::{beats, served::Session};
use crate::{
    directory::{engine::Engine, open::PeriodicSyncs},
    error::{Result, Retry},
    progress::{CallOptions, Meter},
    quiesce::SyncPolicy,
};
use futures::StreamExt;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time};

/// The tasks' state. Dropped with the store, it ends the tasks.
#[derive(Debug, Default)]
pub(crate) struct Renewal {
    looks: Arc<Notify>,
    syncs: Arc<Notify>,
    begun: AtomicBool,
}

impl Renewal {
    /// Has the tasks look again: something is due earlier than they know.
    pub(super) fn wake(&self) {
        self.looks.notify_one();
        self.syncs.notify_one();
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.wake();
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
    /// Begins the tasks, before the first step that may serve a session. They end when the store is closed or dropped.
    ///
    /// # Errors
    /// `Unavailable` once the store is closed.
    pub(super) fn start_renewal(self: &Arc<Self>) -> Result<()> {
        let renewal = &self.served.renewal;
        if renewal.begun.swap(true, Relaxed) {
            return Ok(());
        }
        self.repeat(&renewal.looks, |engine| async move { engine.look_at_sessions().await })?;
        self.repeat(&renewal.syncs, |engine| async move { engine.sync_sessions().await })
    }

    /// Does `round` again and again: after the pause that it gives, and when it is woken.
    fn repeat<R>(
        self: &Arc<Self>,
        wake: &Arc<Notify>,
        round: impl Fn(Arc<Self>) -> R + Send + 'static,
    ) -> Result<()>
    where
        R: Future<Output = Option<Duration>> + Send,
    {
        let (weak, closing, wake) = (Arc::downgrade(self), self.calls.closing(), Arc::clone(wake));
        self.calls.spawn(async move {
            loop {
                let Some(engine) = weak.upgrade() else { return };
                let pause = round(engine).await;
                tokio::select! {
                    () = closing.cancelled() => return,
                    () = wake.notified() => {}
                    () = until(pause) => {}
                }
            }
        })
    }

    /// How often a session is looked at.
    fn look_every(&self) -> Duration {
        self.place.lease().map_or(LOOK_EVERY, |lease| beats::period(lease).min(LOOK_EVERY))
    }

    /// Looks at the sessions whose time it is; returns after how long the next one is due, if any is.
    async fn look_at_sessions(self: Arc<Self>) -> Option<Duration> {
        let every = self.look_every();
        let mut due = self.served.all();
        due.retain(|session| session.state().looked.elapsed() >= every);
        if !due.is_empty() {
            let (engine, call) = (Arc::clone(&self), CallOptions::default());
            let looked = self.calls.run(&call, move |_: &Meter| {
                engine.look_at(&due);
                Ok(())
            });
            tokio::pin!(looked);
            loop {
                tokio::select! {
                    looked = &mut looked => break looked.ok()?,
                    () = time::sleep(every) => self.doubt_overdue(),
                }
            }
        }
        let left = |session: &Arc<Session>| every.saturating_sub(session.state().looked.elapsed());
        self.served.all().iter().map(left).min()
    }

    /// Syncs the sessions whose time it is; returns after how long the next one is due, if any is.
    async fn sync_sessions(self: Arc<Self>) -> Option<Duration> {
        let mut due = self.served.all();
        due.retain(|session| self.due_in(session) == Some(Duration::ZERO));
        if !due.is_empty() {
            let (engine, call, sessions) = (Arc::clone(&self), CallOptions::default(), due.clone());
            let reached = self.calls.run(&call, move |_: &Meter| Ok(engine.reach(&sessions)));
            if reached.await.ok()? == Reached::No {
                return Some(LOOK_EVERY);
            }
        }
        futures::stream::iter(due)
            .for_each_concurrent(SYNCS_AT_ONCE, |session| self.sync_by_itself(session))
            .await;
        self.served.all().iter().filter_map(|session| self.due_in(session)).min()
    }

    /// Whether the place answers. While it does not, no session is looked at: the look would wait with its thread.
    fn reach(&self, sessions: &[Arc<Session>]) -> Reached {
        match self.place.reach() {
            Ok(()) => Reached::Yes,
            Err(error) => {
                sessions.iter().for_each(|session| self.doubt_at_look(session, &error));
                Reached::No
            }
        }
    }

    /// Whether each session is still ours; one that is says that it lives.
    fn look_at(&self, sessions: &[Arc<Session>]) {
        let reached = self.reach(sessions);
        for session in sessions {
            session.state().looked = Instant::now();
            if reached == Reached::Yes {
                self.confirm_lease(session);
            }
        }
    }

    /// A sync that nobody asked for now. Its failure shows in the lease, and in the next sync that somebody asks for; it is
    /// tried again in its time.
    async fn sync_by_itself(self: &Arc<Self>, session: Arc<Session>) {
        let Ok(call) = self.calls.begin(&CallOptions::default()) else { return };
        let cuts = session.state().cuts.clone();
        if let Err(error) = self.sync_session(&call, &session, cuts.quiesce, cuts.consistency).await {
            tracing::warn!(attachment = %session.id, %error, "a periodic sync failed");
            if error.retry() == Retry::Verify {
                session.state().unheard.get_or_insert(self.now());
            }
        }
    }

    /// In how long the sync of a session is due; none if it is synced on demand or by another, or is over.
    fn due_in(&self, session: &Session) -> Option<Duration> {
        let state = session.state();
        let SyncPolicy::Every(period) = state.stored.record.sync else { return None };
        if self.periodic == PeriodicSyncs::ByOuter {
            return None;
        }
        session.signal.watch().check(state.stored.record.epoch).ok()?;
        Some(period.saturating_sub(state.synced.elapsed()))
    }
}

async fn until(pause: Option<Duration>) {
    match pause {
        Some(pause) => time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
