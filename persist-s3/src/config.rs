//! What an S3 store is opened with: plain fields, and no secret among them.

mod check;

use crate::transfer::upload::UploadOptions;
use persist_core::Result;
use serde::{Deserialize, Serialize};
use std::{num::NonZeroU64, path::PathBuf};

/// Requests at once, unless told otherwise: enough to fill a link of some Gbit/s with objects of 32 MiB,
/// each connection giving 85 to 90 MB/s
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html>).
pub const CONNECTIONS: u16 = 16;

/// Bytes held in memory for the transfer of one volume, unless told otherwise: two packs under way, two being
/// filled, and the pages of the tree that is changed.
pub const MEMORY_BYTES: u64 = 256 << 20;

/// The least memory that a transfer works with: what an upload needs, and the pages of the tree that is changed.
pub const LEAST_MEMORY_BYTES: u64 = UploadOptions::MEMORY_MIN + BASE_BYTES;

/// Of the memory of a transfer, what the pages of a commit's base may take while it is written.
pub(crate) const BASE_BYTES: u64 = 32 << 20;

/// How many commits up to the head's a prune keeps, unless told otherwise: readers without a pin finish on what they
/// began with, and a mistake of the last minutes can be looked up.
pub const RETAINED_COMMITS: NonZeroU64 = NonZeroU64::new(8).unwrap();

/// The ttl of a lease, unless told otherwise.
pub const LEASE_TTL_SECONDS: u64 = crate::head::lease::TTL.as_secs();

/// Where a store is and how it is used. Everything but the bucket has a default, and no field is a secret:
/// credentials are [`S3Options`](crate::S3Options).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Config {
    /// The bucket. It must be there: persist makes none.
    pub bucket: String,
    /// What all keys of the store begin with: segments with `/` between them, or nothing.
    #[serde(default)]
    pub prefix: String,
    /// The URL of the service, without the bucket; without it, Amazon's for the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region; without it `us-east-1`, which most other services take as well.
    #[serde(default)]
    pub region: Option<String>,
    /// Where the bucket's name stands.
    #[serde(default)]
    pub addressing: Addressing,
    /// Whether an `http://` endpoint is accepted.
    #[serde(default)]
    pub transport: Transport,
    /// The directory of this node for the copies of attached volumes; absolute. Without it nothing can be
    /// attached.
    #[serde(default)]
    pub workspace: Option<PathBuf>,
    /// How many bytes warm copies may take in the workspace; without it, as many as there are.
    #[serde(default)]
    pub workspace_limit_bytes: Option<u64>,
    /// How many requests for data are made at once, 4 to 256. Requests for heads come on top, on connections
    /// of their own.
    #[serde(default = "connections")]
    pub connections: u16,
    /// How many bytes of memory a transfer may take, at least [`LEAST_MEMORY_BYTES`].
    #[serde(default = "memory_bytes")]
    pub memory_bytes: u64,
    /// How long a writer that has gone silent keeps its volume, in seconds: 5 to 86,400. It renews three
    /// times in that.
    #[serde(default = "lease_ttl_seconds")]
    pub lease_ttl_seconds: u64,
    /// How many of a volume's last commits a prune keeps although no snapshot names them.
    #[serde(default = "retained_commits")]
    pub retained_commits: NonZeroU64,
    /// A prune also keeps commits that are younger than this, in seconds by the clocks of their writers. None by
    /// default. Each one that is kept costs a prune a request or two.
    #[serde(default)]
    pub retained_seconds: u64,
}

/// Where the bucket's name stands in a request
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html>).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Addressing {
    /// In the path: `https://host/bucket/key`. Works everywhere, also for names with dots.
    #[default]
    Path,
    /// In the host's name: `https://bucket.host/key`.
    VirtualHost,
}

/// What requests may travel by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transport {
    /// Only by TLS.
    #[default]
    Tls,
    /// By what the endpoint says, also in the clear: for a server on this host or in a network of its own.
    PlainAllowed,
}

impl S3Config {
    /// The store at the root of `bucket`, with defaults.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            addressing: Addressing::default(),
            transport: Transport::default(),
            workspace: None,
            workspace_limit_bytes: None,
            connections: CONNECTIONS,
            memory_bytes: MEMORY_BYTES,
            lease_ttl_seconds: LEASE_TTL_SECONDS,
            retained_commits: RETAINED_COMMITS,
            retained_seconds: 0,
        }
    }

    /// Refuses what cannot work, before anything is asked of the store.
    ///
    /// # Errors
    /// `Invalid`, naming the field and what it may be.
    pub fn check(&self) -> Result<()> {
        check::check(self)
    }

    /// How often a lease is renewed, in seconds: three times in its ttl.
    pub fn beat_seconds(&self) -> u64 {
        (self.lease_ttl_seconds / 3).max(1)
    }

    /// `s3://bucket/prefix`, for messages.
    pub fn location(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("s3://{}{slash}{}", self.bucket, self.prefix)
    }
}

fn connections() -> u16 {
    CONNECTIONS
}

fn memory_bytes() -> u64 {
    MEMORY_BYTES
}

fn retained_commits() -> NonZeroU64 {
    RETAINED_COMMITS
}

fn lease_ttl_seconds() -> u64 {
    LEASE_TTL_SECONDS
}

#[cfg(test)]
mod tests;
