//! The conformance suite for the local store, in a temporary directory of this host.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test crate")]

#[path = "root/subject.rs"]
mod subject;

use persist_core::conformance::Subject;
use std::sync::Arc;

fn fresh() -> Arc<dyn Subject> {
    subject::Local::fresh(tempfile::tempdir().unwrap())
}

persist_core::conformance!(fresh);
