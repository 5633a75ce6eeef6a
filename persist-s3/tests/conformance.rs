//! The conformance suite for the object store, on a server in this process.

#![allow(missing_docs, clippy::unwrap_used, unreachable_pub, reason = "a test crate")]

mod subject;

use persist_core::conformance::Subject;
use std::sync::Arc;

fn fresh() -> Arc<dyn Subject> {
    Arc::new(subject::OnServer::new())
}

persist_core::conformance!(fresh);
