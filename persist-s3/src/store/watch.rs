//! The task of a session: tells handles how the lease stands, saves the work of one that is lost, and syncs
//! by itself where that was asked for.

use super::{engine::Engine, serving::Session, sync::Asked};
use persist_core::{
    LeaseState, Result,
    lease::LeaseWatch,
    progress::{CallOptions, Meter},
};
use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

impl Engine {
    /// Watches a session until it ends, or the store is closed.
    pub(super) fn watch(self: &Arc<Self>, session: &Arc<Session>) -> Result<()> {
        let (engine, session) = (Arc::downgrade(self), Arc::clone(session));
        let closing = self.calls.closing();
        self.calls.spawn(async move {
            tokio::select! {
                biased;
                () = closing.cancelled_owned() => {}
                () = watched(engine, session) => {}
            }
        })
    }
}

async fn watched(engine: Weak<Engine>, session: Arc<Session>) {
    let mut lease = session.lease();
    let mut state = lease.state();
    loop {
        session.tell(&state);
        match state {
            LeaseState::Fenced { .. } => return save(&engine, &session).await,
            LeaseState::Released => return,
            _ => {}
        }
        // Asked for before the look, so that no change is missed.
        let changed = session.changed.notified();
        let due = async {
            match session.next_due() {
                Some((at, cuts)) => {
                    tokio::time::sleep(at.saturating_duration_since(Instant::now())).await;
                    cuts
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            newer = lease.changed() => state = newer,
            () = changed => state = lease.state(),
            cuts = due => {
                let Some(engine) = engine.upgrade() else { return };
                let options = cuts.options(&CallOptions::default());
                let made = engine.commit(&session, options, Meter::default(), Asked::ByNobody);
                tokio::select! {
                    biased;
                    // An upload may take long, and who is fenced meanwhile is told at once.
                    () = told_to_the_end(&mut lease, &session) => {}
                    made = made => if let Err(error) = made {
                        tracing::warn!(volume = %session.name, %error, "a sync by itself failed");
                        // The next one is a period away, also after a failure.
                        session.synced(None);
                    }
                }
                state = lease.state();
            }
        }
    }
}

/// Tells every handle how the lease stands, until it is over.
async fn told_to_the_end(lease: &mut LeaseWatch, session: &Session) {
    while !session.is_over() {
        session.tell(&lease.changed().await);
    }
}

/// The pauses between attempts to save the work of a lost session: from that of a hiccup to one that an outage of hours
/// does not notice.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

async fn save(engine: &Weak<Engine>, session: &Arc<Session>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let Err(error) = engine.salvage_session(session).await else { return };
        tracing::error!(volume = %session.name, %error, "the work of a fenced writer stays in its workspace until it is saved");
        drop(engine);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
