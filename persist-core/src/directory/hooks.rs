//! Holding the writers of a volume around a cut, and letting them go on whatever happens.

use super::calls::Call;
use crate::{
    capability::{Capabilities, Consistency},
    error::{Error, Result},
    quiesce::{HookRun, Quiesce},
};
use futures::FutureExt;
use std::{future::Future, panic::AssertUnwindSafe, sync::Arc};
use tokio::{sync::oneshot, time};

/// What a caller demands of a cut, and what the place gives without a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) least: Consistency,
    pub(crate) own: Consistency,
}

impl Demand {
    /// Refuses a cut that reached less than was demanded.
    ///
    /// # Errors
    /// `Unsupported`.
    pub(crate) fn check(self, reached: Consistency) -> Result<()> {
        if reached >= self.least {
            return Ok(());
        }
        let message = "the consistency that was asked for is not reached";
        Err(Error::unsupported(Capabilities::empty(), message)
            .context("asked for", format_args!("{:?}", self.least))
            .context("reached", format_args!("{reached:?}"))
            .advise("give a hook that stops the writers for the whole cut, or ask for less"))
    }

    /// Refuses before anything is done what even a hook that works does not reach.
    ///
    /// # Errors
    /// `Unsupported`.
    pub(crate) fn check_reachable(self, hook: Option<&dyn Quiesce>) -> Result<()> {
        self.check(hook.map_or(self.own, |hook| self.own.max(hook.reaches())))
    }

    fn check_without(self, failure: &str) -> Result<()> {
        self.check(self.own).map_err(|e| e.context("hook", failure))
    }
}

/// What was made while a hook held the writers, or tried to.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) value: T,
    /// The run of the hook; `None` where there is none.
    pub(crate) run: Option<HookRun>,
    /// What the hook was worth; `None` if the writers were not held all the time.
    pub(crate) reached: Option<Consistency>,
}

impl<T> Held<T> {
    /// The consistency of a cut to which the place itself gives `own`.
    pub(crate) fn consistency(&self, own: Consistency) -> Consistency {
        self.reached.map_or(own, |reached| reached.max(own))
    }
}

/// Does `work` while `hook` holds the writers. Without a hook, only does `work`.
///
/// The writers are thawed when `work` ends, fails or panics, when the hook's deadline passes, and when the
/// caller drops the future: the task that holds them belongs to the store, and `close` joins it. Once the
/// hook has failed and the rest is less than `demand`, `work` is not begun, or is dropped.
///
/// # Errors
/// Those of `work`; `Unsupported` for a demand that is not met any more. A hook that fails is otherwise in
/// [`Held::run`].
pub(crate) async fn hold_to<T: Send + 'static>(
    call: &Call,
    hook: Option<Arc<dyn Quiesce>>,
    demand: Demand,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<Held<T>> {
    demand.check_reachable(hook.as_deref())?;
    let Some(hook) = hook else {
        return Ok(Held { value: work.await?, run: None, reached: None });
    };
    let (mut sender, receiver) = oneshot::channel();
    call.spawn(async move {
        let held = around(&*hook, demand, work);
        tokio::pin!(held);
        let caller_is_there = tokio::select! {
            result = &mut held => { drop(sender.send(result)); true }
            () = sender.closed() => false,
        };
        if !caller_is_there {
            drop(thaw(&*hook).await);
        }
    });
    receiver.await.map_err(|e| Error::internal("the task that holds the writers is gone").with_source(e))?
}

async fn around<T>(
    hook: &dyn Quiesce,
    demand: Demand,
    work: impl Future<Output = Result<T>>,
) -> Result<Held<T>> {
    let mut failure = frozen(hook).await.err();
    if let Some(cause) = failure.clone() {
        note(&mut failure, thaw(hook).await);
        demand.check_without(&cause)?;
    }
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::pin!(work);
    let done = match failure {
        Some(_) => work.await,
        None => tokio::select! {
            done = &mut work => { note_thaw(&mut failure, hook).await; done }
            () = time::sleep(hook.deadline()) => {
                let cause = format!("the writers were held for {:?} only", hook.deadline());
                failure = Some(cause.clone());
                note(&mut failure, thaw(hook).await);
                demand.check_without(&cause)?;
                work.await
            }
        },
    };
    let value = done.unwrap_or_else(|_| Err(Error::internal("the work under a quiesce hook panicked")))?;
    let reached = failure.is_none().then(|| hook.reaches());
    Ok(Held { value, run: Some(HookRun::new(hook.name(), failure)), reached })
}

async fn frozen(hook: &dyn Quiesce) -> Result<(), String> {
    match time::timeout(hook.deadline(), AssertUnwindSafe(hook.freeze()).catch_unwind()).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(e))) => Err(format!("freeze: {e}")),
        Ok(Err(_)) => Err("freeze: the hook panicked".into()),
        Err(_) => Err(format!("freeze: not done within {:?}", hook.deadline())),
    }
}

/// Thaws, and once more if that failed.
async fn thaw(hook: &dyn Quiesce) -> Result<(), String> {
    let once = || async {
        match time::timeout(hook.deadline(), AssertUnwindSafe(hook.thaw()).catch_unwind()).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(e))) => Err(format!("thaw: {e}")),
            Ok(Err(_)) => Err("thaw: the hook panicked".into()),
            Err(_) => Err(format!("thaw: not done within {:?}", hook.deadline())),
        }
    };
    match once().await {
        Ok(()) => Ok(()),
        Err(_) => once().await,
    }
}

async fn note_thaw(failure: &mut Option<String>, hook: &dyn Quiesce) {
    note(failure, thaw(hook).await);
}

fn note(failure: &mut Option<String>, thawed: Result<(), String>) {
    if let Err(text) = thawed {
        *failure = Some(failure.take().map_or(text.clone(), |before| format!("{before}; {text}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{directory::calls::Calls, error::ErrorKind, progress::CallOptions};
    use async_trait::async_trait;
    use std::{sync::Mutex, time::Duration};

    #[derive(Debug, Default)]
    struct Hook {
        seen: Mutex<Vec<&'static str>>,
        refuses: bool,
    }

    #[async_trait]
    impl Quiesce for Hook {
        fn name(&self) -> &str {
            "hook"
        }

        fn reaches(&self) -> Consistency {
            Consistency::Application
        }

        fn deadline(&self) -> Duration {
            Duration::from_secs(3)
        }

        async fn freeze(&self) -> Result<()> {
            self.seen.lock().unwrap().push("freeze");
            if self.refuses { Err(Error::internal("no")) } else { Ok(()) }
        }

        async fn thaw(&self) -> Result<()> {
            self.seen.lock().unwrap().push("thaw");
            Ok(())
        }
    }

    async fn hold<T: Send + 'static>(
        calls: &Calls,
        hook: Option<Arc<dyn Quiesce>>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Held<T>> {
        let demand = Demand { least: Consistency::PerFile, own: Consistency::PerFile };
        hold_to(&calls.begin(&CallOptions::default())?, hook, demand, work).await
    }

    impl Hook {
        fn seen(&self) -> Vec<&'static str> {
            self.seen.lock().unwrap().clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_writers_are_held_for_the_work_and_no_longer() {
        let (calls, hook) = (Calls::default(), Arc::new(Hook::default()));
        let during = Arc::clone(&hook);
        let held = hold(&calls, Some(hook.clone()), async move { Ok(during.seen()) }).await.unwrap();
        assert_eq!((held.value, hook.seen()), (vec!["freeze"], vec!["freeze", "thaw"]));
        assert_eq!(held.reached, Some(Consistency::Application));
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_thawed_when_the_work_fails_or_panics_or_is_slow() {
        let calls = Calls::default();
        let hook = Arc::new(Hook::default());
        let failed = hold::<()>(&calls, Some(hook.clone()), async { Err(Error::not_found("x")) }).await;
        assert_eq!((failed.unwrap_err().kind(), hook.seen()), (ErrorKind::NotFound, vec!["freeze", "thaw"]));
        let hook = Arc::new(Hook::default());
        let panicked = hold::<()>(&calls, Some(hook.clone()), async { panic!("x") }).await;
        assert_eq!(
            (panicked.unwrap_err().kind(), hook.seen()),
            (ErrorKind::Internal, vec!["freeze", "thaw"])
        );
        let hook = Arc::new(Hook::default());
        let slow = async {
            time::sleep(Duration::from_secs(60)).await;
            Ok(7)
        };
        let held = hold(&calls, Some(hook.clone()), slow).await.unwrap();
        assert_eq!((held.value, held.reached, hook.seen()), (7, None, vec!["freeze", "thaw"]));
        assert!(held.run.unwrap().failure.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_hook_that_refuses_is_thawed_and_the_work_counts_as_one_without() {
        let (calls, hook) = (Calls::default(), Arc::new(Hook { refuses: true, ..Hook::default() }));
        let held = hold(&calls, Some(hook.clone()), async { Ok(()) }).await.unwrap();
        assert_eq!((held.reached, hook.seen()), (None, vec!["freeze", "thaw"]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_hook_alone_would_reach_is_refused_before_the_work_once_it_fails() {
        let (calls, hook) = (Calls::default(), Arc::new(Hook { refuses: true, ..Hook::default() }));
        let call = calls.begin(&CallOptions::default()).unwrap();
        let demand = Demand { least: Consistency::Crash, own: Consistency::PerFile };
        let never = async { panic!("the work was begun") };
        let error = hold_to::<()>(&call, Some(hook.clone()), demand, never).await.unwrap_err();
        assert_eq!((error.kind(), hook.seen()), (ErrorKind::Unsupported, vec!["freeze", "thaw"]));
        let error = hold_to::<()>(&call, None, demand, async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_hook_alone_would_reach_is_given_up_when_it_lets_go_too_early() {
        let (calls, hook) = (Calls::default(), Arc::new(Hook::default()));
        let call = calls.begin(&CallOptions::default()).unwrap();
        let demand = Demand { least: Consistency::Crash, own: Consistency::PerFile };
        let never = std::future::pending::<Result<()>>();
        let error = hold_to(&call, Some(hook.clone()), demand, never).await.unwrap_err();
        assert_eq!((error.kind(), hook.seen()), (ErrorKind::Unsupported, vec!["freeze", "thaw"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_thaws() {
        let (calls, hook) = (Calls::default(), Arc::new(Hook::default()));
        let never = std::future::pending::<Result<()>>();
        let mut call = Box::pin(hold(&calls, Some(hook.clone()), never));
        assert!((&mut call).now_or_never().is_none());
        while hook.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        drop(call);
        calls.close().await;
        assert_eq!(hook.seen(), ["freeze", "thaw"]);
    }
}
