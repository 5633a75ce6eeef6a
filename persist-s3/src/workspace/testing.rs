//! Workspaces whose filesystem fails when a test says so.

use super::{Workspaces, place};
use persist_core::{
    Capabilities, Characteristics, Error, ErrorKind, Holder, Node, Result, Retry,
    attachment::BusyFiles,
    clock::Environment,
    directory::{Cut, CutMode, MountRequest, Place, Unmounted, Verdict},
    progress::Meter,
    volume::Import,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Has one flush fail, as after a write-back that failed: the kernel tells of it once.
#[derive(Debug, Clone, Default)]
pub(crate) struct FlushFault(Arc<Fault>);

#[derive(Debug, Default)]
struct Fault {
    next: AtomicBool,
    fired: Notify,
}

impl FlushFault {
    /// Has the next flush fail, and waits for it.
    pub(crate) async fn fire(&self) {
        let fired = self.0.fired.notified();
        self.0.next.store(true, SeqCst);
        fired.await;
    }

    fn fires(&self) -> bool {
        let fires = self.0.next.swap(false, SeqCst);
        if fires {
            self.0.fired.notify_one();
        }
        fires
    }
}

/// Opens workspaces whose flushes fail as `fault` says.
pub(crate) async fn open_failing(at: &Path, node: Node, fault: FlushFault) -> Result<Workspaces> {
    let probe = |at: &Path| Ok(Arc::new(Failing { inner: place::probe(at)?, fault }) as Arc<dyn Place>);
    Workspaces::open_on(at, Some(node), Environment::default(), probe).await
}

#[derive(Debug)]
struct Failing {
    inner: Arc<dyn Place>,
    fault: FlushFault,
}

impl Place for Failing {
    fn flush(&self, at: &Path, meter: &Meter) -> Result<()> {
        if self.fault.fires() {
            return Err(Error::new(ErrorKind::Unavailable, "EIO, as planned").with_retry(Retry::Verify));
        }
        self.inner.flush(at, meter)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn characteristics(&self) -> Characteristics {
        self.inner.characteristics()
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        self.inner.make_tree(at)
    }

    fn cut(&self, from: &Path, to: &Path, mode: CutMode, meter: &Meter) -> Result<Cut> {
        self.inner.cut(from, to, mode, meter)
    }

    fn seal(&self, at: &Path) -> Result<()> {
        self.inner.seal(at)
    }

    fn import(&self, from: &Path, to: &Path, import: Import, meter: &Meter) -> Result<Cut> {
        self.inner.import(from, to, import, meter)
    }

    fn remove_tree(&self, at: &Path, meter: &Meter) -> Result<()> {
        self.inner.remove_tree(at, meter)
    }

    fn limit_size(&self, at: &Path, size_bytes: Option<u64>) -> Result<()> {
        self.inner.limit_size(at, size_bytes)
    }

    fn reach(&self) -> Result<()> {
        self.inner.reach()
    }

    fn lease(&self) -> Option<Duration> {
        self.inner.lease()
    }

    fn free_bytes(&self, at: &Path) -> Result<u64> {
        self.inner.free_bytes(at)
    }

    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict {
        self.inner.verdict(holder, here)
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<()> {
        self.inner.mount(request)
    }

    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles) -> Result<Unmounted> {
        self.inner.unmount(source, target, busy)
    }
}
