//! Sync: whether the attachment is still ours, the hook, the flush.

use super::{
    request::{FLUSH, check_reachable},
    served::Session,
};
use crate::{
    attachment::AttachmentId,
    capability::Consistency,
    directory::{
        calls::Call,
        engine::Engine,
        hooks::{Demand, hold_to},
    },
    error::{Error, ErrorKind, Result},
    lease::LeaseState,
    progress::Phase,
    quiesce::{Quiesce, SyncOptions, SyncReport},
};
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Instant,
};

impl Engine {
    pub(crate) async fn sync(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: SyncOptions,
    ) -> Result<SyncReport> {
        self.check_writable()?;
        check_reachable(options.consistency, options.quiesce.as_deref())?;
        let call = self.calls.begin(&options.call)?;
        let session = self.session(&call, attachment).await?;
        let synced = self.sync_session(&call, &session, options.quiesce, options.consistency).await;
        synced.and_then(|report| session.told(report))
    }

    /// The session of an attachment; one that nobody serves is adopted first.
    ///
    /// # Errors
    /// `NotFound`; `InUse` if another process serves it.
    pub(super) async fn session(self: &Arc<Self>, call: &Call, id: &AttachmentId) -> Result<Arc<Session>> {
        if let Some(session) = self.served.get(id) {
            return Ok(session);
        }
        let (engine, id) = (Arc::clone(self), id.clone());
        let adopt = move |meter: &crate::progress::Meter| {
            let layout = engine.volume_of(&id)?;
            let adopted =
                layout.map(|layout| engine.take_up_as_it_is(&layout, &id, meter)).transpose()?.flatten();
            adopted.ok_or_else(|| Error::not_found("no such attachment").advise("attach the volume again"))
        };
        self.start_renewal()?;
        call.run(adopt).await
    }

    /// Makes durable what was written to the volume before. A reader has written nothing.
    pub(super) async fn sync_session(
        self: &Arc<Self>,
        call: &Call,
        session: &Arc<Session>,
        hook: Option<Arc<dyn Quiesce>>,
        least: Consistency,
    ) -> Result<SyncReport> {
        let hook = hook.filter(|_| session.state().stored.record.access.writes());
        let demand = Demand { least, own: FLUSH };
        let (engine, ours, step) = (Arc::clone(self), Arc::clone(session), call.clone());
        let flush = async move { step.run(move |meter| engine.flush_session(&ours, meter)).await };
        let held = hold_to(call, hook, demand, flush).await;
        session.state().synced = Instant::now();
        let held = held.inspect_err(|error| self.doubt(session, error))?;
        session.signal.set(LeaseState::Held);
        session.signal.synced(held.value);
        let mut report = SyncReport::new(held.value, held.consistency(FLUSH));
        report.hooks.extend(held.run);
        Ok(report)
    }

    fn flush_session(
        &self,
        session: &Session,
        meter: &crate::progress::Meter,
    ) -> Result<crate::clock::Timestamp> {
        self.check_lease(session)?;
        let (writes, tree) = {
            let state = session.state();
            (
                state.stored.record.access.writes(),
                session.layout.generation(&state.stored.newest()?.generation),
            )
        };
        let cut = self.now();
        if writes {
            meter.enter(Phase::Flush);
            self.place.flush(&tree, meter)?;
            // Who lost the volume meanwhile must not be told that its writes count.
            self.check_lease(session)?;
        }
        Ok(cut)
    }

    /// Whether the attachment is still on record under our epoch; if not, the session is over.
    ///
    /// # Errors
    /// `Fenced` with both epochs; `NotFound` once it was detached by us.
    pub(super) fn check_lease(&self, session: &Session) -> Result<()> {
        let mine = session.epoch();
        session.signal.watch().check(mine)?;
        if self.on_record(&session.layout, &session.id)?.is_some_and(|stored| stored.record.epoch == mine) {
            return Ok(());
        }
        // Detached by another call of ours since the first look: that is no loss.
        session.signal.watch().check(mine)?;
        if session.leaving.load(SeqCst) {
            return Err(Error::not_found("the attachment is being detached"));
        }
        let by = match self.newest_epoch(&session.layout) {
            Ok(newest) => newest.max(mine),
            Err(_) => mine,
        };
        session.fence(by);
        Err(Error::fenced(mine, by, None))
    }

    /// Whether a failure leaves the lease unconfirmed: the place did not answer.
    pub(super) fn doubt(&self, session: &Session, error: &Error) {
        let is_new = matches!(session.signal.watch().state(), LeaseState::Held);
        if is_new && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Corrupt | ErrorKind::Denied) {
            session.signal.set(LeaseState::Unconfirmed { since: self.now() });
        }
    }
}
