//! The conformance suite for the testing store: as it is, wrapped, and with nothing claimed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "a test crate")]

use async_trait::async_trait;
use persist_core::{
    Capabilities, Node, Result, VolumeStore,
    clock::ManualClock,
    conformance::Subject,
    observe::ObservedStore,
    testing::{FaultStore, TestStore},
};
use std::{path::Path, sync::Arc};

/// A testing store, each opening wrapped.
struct Wrapped {
    store: TestStore,
    wrap: fn(Arc<dyn VolumeStore>) -> Arc<dyn VolumeStore>,
}

#[async_trait]
impl Subject for Wrapped {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        self.store.open(node).await.map(self.wrap)
    }

    fn scratch(&self) -> &Path {
        self.store.scratch()
    }

    fn clock(&self) -> &ManualClock {
        self.store.clock()
    }
}

fn subject(
    capabilities: Capabilities,
    wrap: fn(Arc<dyn VolumeStore>) -> Arc<dyn VolumeStore>,
) -> Arc<dyn Subject> {
    Arc::new(Wrapped { store: TestStore::new().unwrap().with_capabilities(capabilities), wrap })
}

mod plain {
    fn fresh() -> super::Arc<dyn super::Subject> {
        super::subject(super::Capabilities::all(), |store| store)
    }

    persist_core::conformance!(fresh);
}

mod observed {
    fn fresh() -> super::Arc<dyn super::Subject> {
        super::subject(super::Capabilities::all(), |store| super::Arc::new(super::ObservedStore::new(store)))
    }

    persist_core::conformance!(fresh);
}

/// Wrapped for faults of which none is planned, and with no capability: every refusal, without a trace.
mod bare {
    fn fresh() -> super::Arc<dyn super::Subject> {
        super::subject(super::Capabilities::empty(), |store| super::Arc::new(super::FaultStore::new(store)))
    }

    persist_core::conformance!(fresh);
}
