//! Volumes in an S3-compatible object store: **designed, not in this version yet**. What is here are
//! the decisions of its head protocol ([`head`]), which a model checker searches; no store opens yet.
//!
//! An application's `fsync` on an S3 volume will be durable on this host only: the durable step is
//! [`sync`](persist_core::VolumeStore::sync), after which the volume survives the loss of the host.
//!
//! It will hold, on top of the `object_store` client:
//!
//! - the head protocol: one mutable record a volume, changed by compare-and-swap, so that a writer that
//!   lost its lease cannot commit ([`CommitGate`](persist_core::Fencing::CommitGate));
//! - a format of deduplicated, compressed and optionally encrypted packs, normative to the byte;
//! - a workspace: the copy on this node, so that reads and writes run at this host's speed;
//! - stores that check first and act later are probed at open and refused for writers.
//!
//! Until then the facade refuses an `s3://` URL. It does not fall back to anything.

pub mod client;
pub mod config;
pub mod format;
pub mod head;
mod keys;
pub mod probe;
mod remote;
mod store;
mod transfer;
pub mod url;
pub mod workspace;

pub use client::{Clients, Credentials, S3Options};
pub use config::S3Config;
pub use store::S3Store;
pub use url::SCHEME;
