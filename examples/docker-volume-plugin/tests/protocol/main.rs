//! The protocol over a real unix socket, without Docker and without privilege.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its ground gives way"
)]

mod bad_input;
mod bench;
mod buckets;
mod claims;
mod counts;
mod late;
mod options;
mod volumes;
