//! The contract of persist: a named filesystem volume is bound to whatever machine a program runs on.
//!
//! This crate knows no place where data lives, no HTTP and no cloud. It holds the contract
//! ([`VolumeStore`]), its words and records, and, behind features, the engines that stores share:
//!
//! | Feature | What it adds |
//! |---|---|
//! | `tree` | the directory data plane: walk, copy, apply, compare |
//! | `directory` | volumes on a directory; implies `tree` |
//! | `conformance` | the suite that every store runs |
//! | `testing` | a strict store with several nodes and faults on demand |
//!
//! A feature adds names; it never changes what was there.

pub mod attachment;
pub mod capability;
pub mod care;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "directory")]
pub mod directory;
pub mod docs;
pub mod error;
pub mod holder;
pub mod id;
pub mod lease;
#[cfg(feature = "tree")]
pub mod linux;
pub mod name;
pub mod needs;
pub mod observe;
pub mod open;
pub mod progress;
pub mod quiesce;
pub mod render;
pub mod snapshot;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tree;
pub mod volume;
#[cfg(feature = "tree")]
mod wait;
mod with;

pub use attachment::{Access, AttachOptions, Attachment, AttachmentRecord, DetachOptions};
pub use capability::{Capabilities, Characteristics, Consistency, Fencing, StoreInfo, Survives};
pub use error::{Error, ErrorKind, Result, Retry};
pub use holder::{Holder, Liveness, Node, NodeId, Workload};
pub use id::{AttachmentId, Epoch, StoreId, VolumeId};
pub use lease::{LeaseState, Takeover, Vouch};
pub use name::VolumeName;
pub use needs::{Needs, pick};
pub use open::{Extension, OpenMode, OpenOptions, StoreUrl, VolumeUrl};
pub use quiesce::{Quiesce, SyncOptions, SyncPolicy};
pub use snapshot::{Outcome, SnapshotName, SnapshotOptions};
pub use store::{BindOptions, Bound, VolumeStore, VolumeStoreExt};
pub use volume::{CreateOptions, Lifetime, Source, VolumeRecord, VolumeSpec};
