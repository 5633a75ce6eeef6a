//! The promises of snapshots, on a place that counts and can be interrupted.

mod bench;
mod restoring;
mod taking;
