//! Volumes on a directory: the engine that the local and the NFS store share.
//!
//! A store is a directory with a marker; each volume describes itself under it. What a record does not
//! name is garbage, and what it names is whole: trees are built and flushed before the record that names
//! them is made by link(2), so a crash leaves the old state or the new one. See `docs/architecture.md`.

mod attachments;
mod calls;
mod care;
pub mod durable;
mod engine;
pub mod exclusion;
#[cfg(test)]
mod fixture;
mod fresh;
mod hooks;
pub mod host;
mod inside;
mod intents;
mod layout;
mod marker;
mod names;
mod open;
mod place;
#[cfg(test)]
mod plain_place;
mod prune;
pub mod records;
mod recovery;
mod snapshots;
#[cfg(test)]
mod stopped;
mod store;
mod stored;

mod trees;
mod volumes;

pub use inside::{Granted, HeldTree, Judged, Quiesced};
pub use open::{PeriodicSyncs, StoreAt};
pub use place::{Cut, CutMode, MountMode, MountRequest, MountSite, Place, Unmounted, Verdict};
pub use store::DirectoryStore;
