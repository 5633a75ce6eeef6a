//! Attachments of volumes on a directory: who has a volume, at which path, under which epoch.
//!
//! The record `attachments/<id>` is the truth and the intent at once: it comes before mounts and links,
//! which are made again from it, and goes after them. `served/<id>`, held by flock(2), says which process
//! serves it: one opened store handle at a time, so that a second handle in the same process is refused as
//! a second process is. An attachment that nobody serves is there to be adopted. Where leases run out, who serves
//! one writes signs of life into that file.
//!
//! Durable steps (fsync(2)): attach 4 (an epoch and a record, each a file and its directory), attach of a
//! reader or of a further claim 2, detach 1; syncfs(2) once at detach.

mod adopt;
mod attach;
mod beats;
mod decide;
mod detach;
mod list;
mod pinned;
mod plan;
mod refresh;
mod renew;
mod request;
mod served;
mod shown;
mod stored;
mod sweep;
mod sync;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use served::Served;

use super::{
    engine::Engine,
    inside::{Granted, Judged},
};
use crate::{
    attachment::{AdoptOptions, AttachOptions, Attachment, AttachmentRecord},
    error::{Error, ErrorKind, Result},
    id::Epoch,
    name::VolumeName,
    progress::CallOptions,
    wait::Pauses,
};
use attach::Attached;
use request::{Request, check_reachable, check_sync};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

impl Engine {
    pub(crate) async fn attach(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: AttachOptions,
        granted: Option<Granted>,
    ) -> Result<Attachment> {
        let request = Arc::new(Request::new(self, volume, options, granted)?);
        self.start_renewal()?;
        let begun = Instant::now();
        let mut pauses = PAUSES;
        loop {
            // Asked for before the look, so that who leaves in between is not missed.
            let departed = self.served.departed.notified();
            let (engine, asked) = (Arc::clone(self), Arc::clone(&request));
            let call = rest_of(&request.options.call, begun)?;
            let refused = match self.calls.run(&call, move |meter| engine.try_attach(&asked, meter)).await {
                Err(error) if error.kind() == ErrorKind::InUse => error,
                attached => return attached.map(|attached| self.handle(attached)),
            };
            let Some(left) = wait_left(&request.options, begun) else { return Err(refused) };
            let longest = self.place.lease().map_or(left, |lease| watch::between_looks(lease).min(left));
            let pause = pauses.next().map_or(longest, |pause| pause.min(longest));
            tokio::select! {
                () = departed => pauses = PAUSES,
                () = tokio::time::sleep(pause) => {}
                () = closed(self) => return Err(refused),
            }
        }
    }

    pub(crate) async fn adopt(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        options: AdoptOptions,
        granted: Option<Epoch>,
    ) -> Result<Attachment> {
        self.check_writable()?;
        self.node()?;
        options.sync.map_or(Ok(()), check_sync)?;
        check_reachable(options.consistency, options.quiesce.as_deref())?;
        let (engine, record) = (Arc::clone(self), record.clone());
        let call = options.call.clone();
        self.start_renewal()?;
        let adopt = move |meter: &_| engine.try_adopt(&record, &options, granted, meter);
        self.calls.run(&call, adopt).await.map(|attached| self.handle(attached))
    }

    /// Decides an attach without making it.
    pub(crate) async fn judge_attach(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: &AttachOptions,
    ) -> Result<Judged> {
        let request = Request::new(self, volume, options.clone(), None)?;
        let engine = Arc::clone(self);
        self.calls.run(&options.call, move |_| engine.foresee(&request)).await
    }

    fn handle(self: &Arc<Self>, (session, report): Attached) -> Attachment {
        session.handle(self, report)
    }
}

/// The pauses of a waiter between looks at what another process may have left: from about the time that a
/// detach takes, to what a person does not notice. Within one store the end of an attachment wakes it.
const PAUSES: Pauses = Pauses::between(Duration::from_millis(10), Duration::from_millis(500));

/// What is left of a call's deadline.
fn rest_of(call: &CallOptions, begun: Instant) -> Result<CallOptions> {
    let mut rest = call.clone();
    rest.deadline = rest.deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
    match rest.deadline {
        Some(Duration::ZERO) if call.deadline != Some(Duration::ZERO) => {
            Err(Error::new(ErrorKind::Unavailable, "past its deadline while waiting for the holder to leave")
                .advise("give it a longer deadline"))
        }
        _ => Ok(rest),
    }
}

/// For how long the holder is still waited for.
fn wait_left(options: &AttachOptions, begun: Instant) -> Option<Duration> {
    let left = options.wait?.checked_sub(begun.elapsed()).filter(|left| !left.is_zero())?;
    // A wait that the deadline cuts short ends as a call past its deadline, with the next look.
    let deadline = options.call.deadline.map(|deadline| deadline.saturating_sub(begun.elapsed()));
    Some(deadline.map_or(left, |deadline| deadline.min(left)))
}

async fn closed(engine: &Engine) {
    engine.calls.closing().cancelled_owned().await;
}
