//! The conformance suite for the local store, in a temporary directory of this host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

use async_trait::async_trait;
use persist_core::{
    Node, OpenMode, OpenOptions, Result, StoreUrl, VolumeStore,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    conformance::Subject,
};
use std::{path::Path, sync::Arc};

/// A local store that goes with its directory.
struct Local {
    directory: tempfile::TempDir,
    clock: ManualClock,
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

fn fresh() -> Arc<dyn Subject> {
    let clock = ManualClock::at(SystemEnvironment.now());
    Arc::new(Local { directory: tempfile::tempdir().unwrap(), clock })
}

persist_core::conformance!(fresh);
