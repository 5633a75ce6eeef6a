//! What an attach asks for, checked before any I/O, and who asks.

use super::{
    decide::{Identity, Wanted},
    plan::{Plan, Wish},
    served::Cuts,
    watch::Watch,
};
use crate::{
    attachment::AttachOptions,
    capability::Consistency,
    directory::{engine::Engine, hooks::Demand, inside::Granted},
    error::{Error, Result},
    holder::{Holder, Liveness, Node, ProcessId, Workload},
    id::{AttachmentId, Epoch},
    linux::process,
    name::VolumeName,
    quiesce::{Quiesce, SyncPolicy},
};
use std::{collections::HashMap, sync::Mutex};

/// An attach that can be done on this store, if the volume and the target are free.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) volume: VolumeName,
    pub(super) options: AttachOptions,
    pub(super) plan: Plan,
    /// What the store that this one is inside of has granted; none for a store of its own.
    pub(super) granted: Option<Granted>,
    /// The holders that stood in the way of the looks so far, by the waits of this one call.
    pub(super) watches: Mutex<HashMap<AttachmentId, Watch>>,
    node: Node,
}

impl Request {
    /// # Errors
    /// `Denied` on a store that is read-only; `Invalid` and `Unsupported` for what no state of the store
    /// would make right.
    pub(super) fn new(
        engine: &Engine,
        volume: &VolumeName,
        options: AttachOptions,
        granted: Option<Granted>,
    ) -> Result<Self> {
        engine.check_writable()?;
        let node = engine.node()?.clone();
        let wish = Wish {
            access: options.access,
            snapshot: options.snapshot.as_ref(),
            target: options.target.as_deref(),
            kind: options.target_kind,
            policy: options.policy.as_ref(),
        };
        let plan = Plan::of(&wish, &engine.info)?;
        check_sync(options.sync)?;
        check_reachable(options.consistency, options.quiesce.as_deref())?;
        Ok(Self { volume: volume.clone(), options, plan, granted, watches: Mutex::default(), node })
    }

    /// Who asks; without a workload, the calling process.
    ///
    /// # Errors
    /// As the system reports them for the calling process.
    pub(super) fn holder(&self) -> Result<Holder> {
        let (workload, usual) = match &self.options.workload {
            Some(workload) => (workload.clone(), Liveness::External),
            None => (name_of(&process::this_process()?)?, Liveness::Process(None)),
        };
        let liveness = of_process(self.options.liveness.clone().unwrap_or(usual))?;
        Ok(Holder::new(self.node.clone(), workload, liveness))
    }

    /// The epoch that was granted, if epochs are not this store's to give.
    pub(super) fn granted_epoch(&self) -> Option<Epoch> {
        self.granted.as_ref().map(|granted| granted.epoch)
    }

    pub(super) fn wanted<'a>(&'a self, holder: &'a Holder) -> Wanted<'a> {
        let options = &self.options;
        let identity = Identity {
            access: options.access,
            target: options.target.as_deref(),
            kind: options.target_kind,
            snapshot: options.snapshot.as_ref(),
        };
        Wanted { holder, identity, takeover: &options.takeover }
    }

    pub(super) fn cuts(&self) -> Cuts {
        Cuts { quiesce: self.options.quiesce.clone(), consistency: self.options.consistency }
    }
}

/// A sync by itself needs a period.
///
/// # Errors
/// `Invalid`.
pub(super) fn check_sync(policy: SyncPolicy) -> Result<()> {
    match policy {
        SyncPolicy::Every(period) if period.is_zero() => {
            Err(Error::invalid("sync", "the period of a sync is not zero"))
        }
        _ => Ok(()),
    }
}

/// A flush is no cut: without a hook it is worth what a copy file by file is.
///
/// # Errors
/// `Unsupported`.
pub(super) fn check_reachable(least: Consistency, hook: Option<&dyn Quiesce>) -> Result<()> {
    Demand { least, own: FLUSH }.check_reachable(hook)
}

/// What a flush is worth by itself: files are written while it runs.
pub(super) const FLUSH: Consistency = Consistency::PerFile;

/// `Process(None)` is the calling process.
///
/// # Errors
/// As the system reports them for the calling process.
pub(super) fn of_process(liveness: Liveness) -> Result<Liveness> {
    match liveness {
        Liveness::Process(None) => Ok(Liveness::Process(Some(process::this_process()?))),
        other => Ok(other),
    }
}

fn name_of(process: &ProcessId) -> Result<Workload> {
    let ProcessId { pid, start_ticks, namespace } = process;
    Workload::new(format!("process {pid} of pid namespace {namespace}, started at tick {start_ticks}"))
}
