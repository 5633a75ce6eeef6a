//! The barrier of durability: when it runs, and how writers are stopped around a cut.

use crate::{capability::Consistency, clock::Timestamp, error::Result, progress::CallOptions};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// When the store syncs an attachment by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// At detach.
    #[default]
    OnDetach,
    /// Every so often, and at detach: the recovery point that a lost host costs.
    Every(Duration),
    /// Only when the caller asks, not even at detach.
    Manual,
}

/// Stops the writers of a volume around a cut, and lets them go on.
#[async_trait]
pub trait Quiesce: Debug + Send + Sync + 'static {
    /// A name for the records.
    fn name(&self) -> &str;

    /// What a cut is worth while this hook holds the writers.
    fn reaches(&self) -> Consistency;

    /// For how long [`freeze`](Self::freeze) may take, and for how long the writers may be held. Past it
    /// they are thawed and the cut counts as one without a hook.
    fn deadline(&self) -> Duration;

    /// Stops the writers. On an error they are thawed.
    async fn freeze(&self) -> Result<()>;

    /// Lets the writers go on. Always called after [`freeze`](Self::freeze) was, also when it failed, was
    /// cancelled or ran out of time; must be safe to repeat.
    async fn thaw(&self) -> Result<()>;
}

/// One run of a hook, kept with the cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HookRun {
    /// The hook's name.
    pub hook: String,
    /// What went wrong; `None` if the writers were held for the whole cut.
    pub failure: Option<String>,
}

impl HookRun {
    /// Records a run.
    pub fn new(hook: impl Into<String>, failure: Option<String>) -> Self {
        Self { hook: hook.into(), failure }
    }
}

/// How a sync is made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SyncOptions {
    /// Progress and deadline.
    pub call: CallOptions,
    /// The least consistency of the cut that the caller accepts, where the store cuts.
    pub consistency: Consistency,
    /// Stops and thaws the writers around the cut.
    pub quiesce: Option<Arc<dyn Quiesce>>,
}

/// What `sync` did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SyncReport {
    /// When the cut was made: what was written before it is kept.
    pub cut: Timestamp,
    /// The consistency that it reached.
    pub consistency: Consistency,
    /// The hooks that ran.
    pub hooks: Vec<HookRun>,
    /// What covers more or less than the caller may think, one sentence each.
    pub remarks: Vec<String>,
}

impl SyncReport {
    /// Reports a sync.
    pub fn new(cut: Timestamp, consistency: Consistency) -> Self {
        Self { cut, consistency, hooks: Vec::new(), remarks: Vec::new() }
    }
}
