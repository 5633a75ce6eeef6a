//! Volumes on a directory: the engine that the local and the NFS store share.
//!
//! A store is a directory with a marker; each volume describes itself under it. What a record does not
//! name is garbage, and what it names is whole: trees are built and flushed before the record that names
//! them is made by link(2), so a crash leaves the old state or the new one. See `docs/architecture.md`.

#[expect(dead_code, reason = "the engine lands on top of it")]
mod layout;
mod place;

pub use place::{Cut, CutMode, MountMode, MountRequest, Place, Unmounted, Verdict};
