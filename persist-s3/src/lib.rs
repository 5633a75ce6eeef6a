//! **An application's `fsync` on a volume of an object store is durable on this host only.** The durable step is
//! [`sync`](persist_core::VolumeStore::sync): when it returns, what was written before it is in the bucket, and
//! survives the loss of the host.
//!
//! A volume lives in an S3-compatible bucket, and any host attaches it that knows a URL and has credentials.
//! What is attached is a copy in a directory of that host, the *workspace*: files are read and written at its
//! speed, by the kernel alone, without any mount call. A sync uploads what changed; a detach syncs, and removes
//! the copy.
//!
//! # Opening
//!
//! ```no_run
//! use persist_s3::{Credentials, S3Options};
//! # async fn open() -> persist_core::Result<()> {
//! let url = "s3://bucket/prefix?region=eu-central-1&workspace=/var/lib/shop".parse()?;
//! let s3 = S3Options::default().with_credentials(Credentials::keys("KEY", "SECRET"));
//! let options = persist_core::OpenOptions::default().with_extension(s3);
//! let store = persist_s3::open(&url, options).await?;
//! println!("{}", store.info().capabilities);
//! # Ok(()) }
//! ```
//!
//! [`url::KEYS`] are the options of a URL, [`S3Config`] says what they mean; [`S3Options`] holds what is no plain
//! field: credentials, an encryption key, the HTTP connector. Without credentials a store does not open. This
//! crate reads no environment: `from_env` of the facade passes its variables to [`open_by_variables`].
//!
//! The bucket must be there. A prefix without a store is `NotFound`, unless the mode says
//! [`CreateIfMissing`](persist_core::OpenMode::CreateIfMissing). Before it is given to a writer, the
//! bucket is [probed](mod@probe), in full once for each endpoint: one that ignores conditional writes, or checks first and acts
//! later, is refused for writers. A store that is opened
//! [`ReadOnly`](persist_core::OpenMode::ReadOnly) is not probed, and says `unproven`.
//!
//! # What is behind it
//!
//! - [`head`]: one mutable record a volume, changed by compare-and-swap only, whose change *is* the commit: a
//!   writer that lost its lease cannot commit ([`CommitGate`](persist_core::Fencing::CommitGate)), and its work is
//!   kept as a salvage;
//! - [`mod@format`]: deduplicated, compressed and, with a key, encrypted packs, normative to the byte in
//!   `docs/format.md`;
//! - [`workspace`]: the copies on this node;
//! - [`operations`]: access policies, lifecycle rules, lease times and their cost, what is durable when.

pub mod client;
pub mod config;
pub mod format;
pub mod head;
mod keys;
mod open;
#[doc = include_str!("../docs/operations.md")]
pub mod operations {}
pub mod probe;
mod remote;
mod store;
mod transfer;
pub mod url;
pub mod workspace;

pub use client::{Clients, Credentials, S3Options};
pub use config::S3Config;
pub use open::{ENDPOINT_VARIABLES, REGION_VARIABLES, open, open_by_variables, require_workspace};
pub use store::S3Store;
pub use url::SCHEME;
