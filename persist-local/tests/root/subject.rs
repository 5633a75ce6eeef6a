//! The local store as a subject of the conformance suite.

use async_trait::async_trait;
use persist_core::{
    Node, OpenMode, OpenOptions, Result, StoreUrl, VolumeStore,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    conformance::Subject,
};
use rustix::mount::{UnmountFlags, unmount};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// A local store that goes with its directory.
pub struct Local {
    directory: TempDir,
    clock: ManualClock,
}

impl Local {
    /// A fresh store in `directory`.
    pub fn fresh(directory: TempDir) -> Arc<dyn Subject> {
        Arc::new(Self { directory, clock: ManualClock::at(SystemEnvironment.now()) })
    }
}

/// Takes away the mounts of attachments that a test left, as it may: else the directory stays, and they do.
impl Drop for Local {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // Field 5 of proc_pid_mountinfo(5); the last one mounted first.
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.directory.path())) {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
}

#[async_trait]
impl Subject for Local {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        let url = StoreUrl::local(&self.directory.path().join("store"))?;
        let environment = Environment { clock: Arc::new(self.clock.clone()), ..Environment::default() };
        let options = OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_environment(environment);
        persist_local::open(&url, options).await
    }

    fn scratch(&self) -> &Path {
        self.directory.path()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}
