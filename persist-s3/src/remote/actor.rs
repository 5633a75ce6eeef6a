//! The one task that changes a held head: it renews, commits and releases, one request at a time.
//!
//! A change that was begun is concluded, whether its caller still waits or not: until it is known what became
//! of it, no other body may be sent on that base.

use super::{Remote, head::History, take::Taken};
use crate::head::{
    change::Change,
    lease::{Beat, beat, doubt},
    record::{Head, Lease},
    writer::{Resolution, Standing, Writer},
};
use persist_core::{
    Epoch, Error, ErrorKind, LeaseState, Result, Retry,
    lease::{LeaseSignal, LeaseWatch},
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Changes that wait at most: one volume has few callers, and each waits for its answer.
const WAITING_MAX: usize = 16;

/// The task that holds one lease. Its owner joins it by [`close`](Self::close); dropped without that, it
/// ends by itself, as after a close.
#[derive(Debug)]
pub(crate) struct HeadActor {
    commands: mpsc::Sender<Command>,
    head: watch::Receiver<Arc<Head>>,
    lease: LeaseWatch,
    epoch: Epoch,
    patience: Duration,
    closing: DropGuard,
    task: JoinHandle<()>,
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// It was made: the head is this one now.
    Made(Arc<Head>),
    /// It was made, and then another session took the head: what was committed is kept, and the lease is
    /// over.
    MadeThenFenced(Epoch),
}

#[derive(Debug)]
struct Command {
    change: Change,
    answer: oneshot::Sender<Result<Done>>,
}

impl HeadActor {
    /// Holds the lease that was taken, from now on.
    pub(crate) fn start(remote: Remote, taken: Taken, history: Arc<dyn History>) -> Self {
        let (commands, inbox) = mpsc::channel(WAITING_MAX);
        let (known, head) = watch::channel(Arc::new(taken.writer.head().clone()));
        let signal = LeaseSignal::held();
        let (lease, epoch, patience) = (signal.watch(), taken.writer.head().epoch, remote.limits.patience);
        let closing = CancellationToken::new();
        let pulse = Pulse { lease: taken.lease, last: taken.began, signal };
        let held = Held { remote, writer: taken.writer, history, pulse, known, closing: closing.clone() };
        let task = tokio::spawn(held.run(inbox));
        Self { commands, head, lease, epoch, patience, closing: closing.drop_guard(), task }
    }

    /// Makes a change, after those that were asked for before.
    ///
    /// # Errors
    /// `Fenced` once another session has the head; `NotFound` once the lease was given back or the volume is
    /// gone; `Unavailable` with `Verify` after the store's patience: the change is still being made, and
    /// `change(Change::Renew)` then waits until it is known what became of it, which [`head`](Self::head)
    /// shows.
    ///
    /// # Cancellation
    /// The change is made, or not, as if its caller still waited.
    pub(crate) async fn change(&self, change: Change) -> Result<Done> {
        let (answer, heard) = oneshot::channel();
        let asked = async {
            self.commands.send(Command { change, answer }).await.ok()?;
            heard.await.ok()
        };
        match tokio::time::timeout(self.patience, asked).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(self.ended()),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the head was not changed in time")
                .with_retry(Retry::Verify)
                .advise("it may still be: look at the volume once the object store answers again")),
        }
    }

    /// The newest head that is known to have been ours.
    pub(crate) fn head(&self) -> Arc<Head> {
        self.head.borrow().clone()
    }

    /// Watches the lease.
    pub(crate) fn lease(&self) -> LeaseWatch {
        self.lease.clone()
    }

    /// Stops renewing and joins the task; the lease stays until it is given back or runs out. A change that is
    /// under way is concluded first, within the store's patience.
    pub(crate) async fn close(self) -> Result<()> {
        drop(self.closing);
        self.task.await.map_err(|e| Error::internal("the task of a lease has failed").with_source(e))
    }

    fn ended(&self) -> Error {
        match self.lease.check(self.epoch) {
            Err(over) => over,
            Ok(()) => Error::new(ErrorKind::Unavailable, "the store was closed"),
        }
    }
}

/// What the task owns.
struct Held {
    remote: Remote,
    writer: Writer,
    history: Arc<dyn History>,
    pulse: Pulse,
    known: watch::Sender<Arc<Head>>,
    closing: CancellationToken,
}

/// How the lease stands, and who is told.
struct Pulse {
    lease: Lease,
    /// When the last request that succeeded began.
    last: Duration,
    signal: LeaseSignal,
}

impl Held {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while self.writer.standing() == Standing::Holding {
            let command = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                command = inbox.recv() => command,
                () = self.pulse.due(&self.remote) => {
                    self.renew().await;
                    continue;
                }
            };
            let Some(Command { change, answer }) = command else { return };
            let done = self.make(&change).await;
            // Nobody may be waiting any more.
            let _ = answer.send(done);
        }
    }

    async fn renew(&mut self) {
        if let Err(e) = self.make(&Change::Renew).await {
            tracing::warn!(volume = %self.writer.head().volume, error = %e, "a lease was not renewed");
        }
    }

    async fn make(&mut self, change: &Change) -> Result<Done> {
        let nonce = self.remote.nonce();
        let put = self.writer.change(|head, session| change.of(head, session, nonce))?;
        let epoch = put.body.epoch;
        let tries = Remote::endless_tries();
        let conclude = self.remote.conclude(&mut self.writer, put, self.history.as_ref(), tries);
        let concluded = tokio::select! {
            concluded = self.pulse.watched(&self.remote, conclude) => concluded?,
            () = out_of_patience(&self.closing, self.remote.limits.patience) => {
                return Err(closed_before_it_was_known());
            }
        };
        match concluded.resolution {
            Resolution::Applied => Ok(self.made(concluded.began)),
            Resolution::AppliedThenLost(by) => {
                self.pulse.signal.set(LeaseState::Fenced { by, salvage: None });
                Ok(Done::MadeThenFenced(by))
            }
            Resolution::Lost(by) => {
                self.pulse.signal.set(LeaseState::Fenced { by, salvage: None });
                Err(Error::fenced(epoch, by, None))
            }
            Resolution::Removed => {
                self.pulse.signal.set(LeaseState::Fenced { by: epoch, salvage: None });
                Err(super::head::gone(&self.writer.head().volume))
            }
            Resolution::SendAgain(_) => Err(Error::internal("a change was left half concluded")),
        }
    }

    fn made(&mut self, began: Duration) -> Done {
        let head = Arc::new(self.writer.head().clone());
        self.known.send_replace(Arc::clone(&head));
        self.pulse.last = began;
        self.pulse.tell(&self.remote, self.writer.standing());
        Done::Made(head)
    }
}

impl Pulse {
    /// Returns when the lease has to be renewed, having said on the way if it is in doubt.
    async fn due(&self, remote: &Remote) {
        match beat(&self.lease, self.last, remote.boot.now()) {
            Beat::Next(Duration::MAX) => std::future::pending().await,
            Beat::Next(at) => remote.sleep_until(at).await,
            Beat::Due | Beat::Overdue => {}
        }
        self.tell(remote, Standing::Holding);
    }

    /// Runs `request`, and says when the lease comes into doubt meanwhile.
    async fn watched<T>(&self, remote: &Remote, request: impl Future<Output = T>) -> T {
        let doubted = async {
            match doubt(&self.lease, self.last) {
                Some(at) => remote.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(request);
        tokio::select! {
            biased;
            done = &mut request => return done,
            () = doubted => self.tell(remote, Standing::Holding),
        }
        request.await
    }

    fn tell(&self, remote: &Remote, standing: Standing) {
        let doubted = beat(&self.lease, self.last, remote.boot.now()) == Beat::Overdue;
        self.signal.set(match (standing, doubted) {
            (Standing::Ended, _) => LeaseState::Released,
            (_, false) => LeaseState::Held,
            (_, true) => LeaseState::Unconfirmed { since: remote.environment.clock.now() },
        });
    }
}

async fn out_of_patience(closing: &CancellationToken, patience: Duration) {
    closing.cancelled().await;
    tokio::time::sleep(patience).await;
}

fn closed_before_it_was_known() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the store was closed before it was known whether the head was changed",
    )
    .with_retry(Retry::Verify)
}

#[cfg(test)]
mod tests;
