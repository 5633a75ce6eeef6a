//! A store in a bucket of a server in this process, opened by any node with a workspace of its own.

use async_trait::async_trait;
use persist_core::{
    Node, OpenMode, OpenOptions, Result, VolumeStore,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    conformance::Subject,
};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use rustix::mount::{UnmountFlags, unmount};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

pub const BUCKET: &str = "bucket";

/// A bucket, and the directories of its nodes.
pub struct OnServer {
    /// What was asked of it, by its log.
    pub server: Server,
    directory: TempDir,
    clock: ManualClock,
}

impl OnServer {
    /// A fresh bucket.
    pub fn new() -> Self {
        Self {
            server: Server::in_memory(ServerOptions::new(BUCKET, keys())),
            // A workspace is refused in memory, which a temporary directory may be.
            directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            clock: ManualClock::at(SystemEnvironment.now()),
        }
    }

    /// The configuration of a node.
    pub fn config(&self, node: &str) -> S3Config {
        let mut config = S3Config::new(BUCKET);
        (config.endpoint, config.prefix) = (Some("http://in.process".into()), "store".into());
        config.transport = Transport::PlainAllowed;
        config.workspace = Some(self.directory.path().join("nodes").join(node));
        config
    }

    /// What a store is opened with.
    pub fn options(&self, node: Node) -> OpenOptions {
        let environment = Environment { clock: Arc::new(self.clock.clone()), ..Environment::default() };
        let credentials = Credentials::keys("access", "secret");
        let s3 = S3Options::default().with_credentials(credentials).with_connector(self.server.connector());
        OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_environment(environment)
            .with_extension(s3)
    }
}

fn keys() -> KeyPair {
    KeyPair::new("access", "secret")
}

/// Takes away the mounts of attachments that a test left, as it may: else the directory stays, and they do.
impl Drop for OnServer {
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
impl Subject for OnServer {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        let config = self.config(node.id.as_str());
        let store = S3Store::open(config, self.options(node)).await?;
        Ok(Arc::new(store))
    }

    fn scratch(&self) -> &Path {
        self.directory.path()
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}
