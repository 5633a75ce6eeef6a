//! A store that fails where a test wants it to.

mod wrapper;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    store::VolumeStore,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Wraps a store and fails chosen calls. Clones share their faults and their counts.
///
/// Every call is counted, `info` excepted; the lists count when they are asked for.
#[derive(Debug, Clone)]
pub struct FaultStore {
    inner: Arc<dyn VolumeStore>,
    state: Arc<Mutex<State>>,
}

/// A failure to come; it happens once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The operation that fails, by the name of its method; `None` for any.
    pub operation: Option<&'static str>,
    /// Which of those calls fails, counted from 1 since the fault was planned.
    pub call: u64,
    /// Whether the store does what was asked before the call fails.
    pub moment: Moment,
    /// The kind of the error.
    pub kind: ErrorKind,
    /// Its retry class.
    pub retry: Retry,
}

/// When a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The store never hears of it.
    Before,
    /// The store did it, and the caller is not told: a lost answer. Where the store fails by itself, its
    /// own error stays.
    After,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl Fault {
    /// Call number `call` from now fails with `Unavailable`: with `Backoff` before it is applied, with
    /// `Verify` after.
    pub fn on_call(call: u64, moment: Moment) -> Self {
        let retry = match moment {
            Moment::Before => Retry::Backoff,
            Moment::After => Retry::Verify,
        };
        Self { operation: None, call, moment, kind: ErrorKind::Unavailable, retry }
    }

    /// The next call of the method `operation` fails.
    pub fn next(operation: &'static str, moment: Moment) -> Self {
        Self { operation: Some(operation), ..Self::on_call(1, moment) }
    }

    /// Only calls of the method `operation` count, and fail.
    #[must_use]
    pub fn of(mut self, operation: &'static str) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Fails with this kind and retry class.
    #[must_use]
    pub fn with_error(mut self, kind: ErrorKind, retry: Retry) -> Self {
        (self.kind, self.retry) = (kind, retry);
        self
    }

    fn error(&self, operation: &'static str, target: &str) -> Error {
        let message = match self.moment {
            Moment::Before => "a fault that the test planned, before the call",
            Moment::After => "a fault that the test planned, after the call",
        };
        Error::new(self.kind, message).with_retry(self.retry).during(operation, target)
    }
}

impl FaultStore {
    /// Wraps `inner`; without faults it does what `inner` does.
    pub fn new(inner: Arc<dyn VolumeStore>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Plans a failure.
    pub fn plan(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// The calls so far, by the names of their methods.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    /// The faults that are still to come. A test whose fault never fired tested nothing.
    pub fn pending(&self) -> Vec<Fault> {
        self.state().faults.clone()
    }

    /// Counts a call; gives the fault that is due with it.
    fn due(&self, operation: &'static str) -> Option<Fault> {
        let mut state = self.state();
        state.calls.push(operation);
        for fault in &mut state.faults {
            if fault.operation.is_none_or(|name| name == operation) {
                fault.call = fault.call.saturating_sub(1);
            }
        }
        let due = state
            .faults
            .iter()
            .position(|fault| fault.call == 0 && fault.operation.is_none_or(|name| name == operation))?;
        Some(state.faults.remove(due))
    }

    /// Runs `call` unless a fault comes before it; fails after it if one comes then.
    async fn run<T>(
        &self,
        operation: &'static str,
        target: &str,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let Some(fault) = self.due(operation) else { return call.await };
        if fault.moment == Moment::After {
            call.await?;
        }
        Err(fault.error(operation, target))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
