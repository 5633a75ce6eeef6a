//! The nodes of a store on this machine: each with a workspace of its own, all with one clock.

use persist_core::{
    Node, OpenMode, OpenOptions,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
};
use persist_s3::{S3Config, S3Options};
use rustix::mount::{UnmountFlags, unmount};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

/// The directories of the nodes, and their clock.
pub struct Place {
    directory: TempDir,
    /// What every opening is given.
    pub clock: ManualClock,
}

impl Place {
    /// A place that is empty, and goes with this.
    pub fn new() -> Self {
        Self {
            // A workspace is refused in memory, which a temporary directory may be.
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            clock: ManualClock::at(SystemEnvironment.now()),
        }
    }

    /// Where all of it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration of a node, in the store of `config`.
    pub fn config(&self, mut config: S3Config, node: &str) -> S3Config {
        config.workspace = Some(self.path().join("nodes").join(node));
        config
    }

    /// What a node opens a store with.
    pub fn options(&self, node: Node, s3: S3Options) -> OpenOptions {
        let environment = Environment { clock: Arc::new(self.clock.clone()), ..Environment::default() };
        OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_environment(environment)
            .with_extension(s3)
    }
}

/// Takes away the mounts of attachments that a test left, as it may: else the directory stays, and they do.
impl Drop for Place {
    fn drop(&mut self) {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // Field 5 of proc_pid_mountinfo(5); the last one mounted first.
        let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.path())) {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
}
