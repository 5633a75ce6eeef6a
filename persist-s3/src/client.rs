//! The clients of a store's bucket.
//!
//! Two of them, so that data never starves a heartbeat: one for data, which retries inside until a deadline
//! of its own, and one for heads and other small records, which asks once, soon gives up, and leaves every
//! doubtful answer to its caller. Keys are relative to the store's prefix on both.

mod cause;
mod credentials;
mod options;
mod quirks;
mod transport;

pub use cause::{Cause, Effect, Outcome, error};
pub use credentials::{Credentials, VARIABLES};
pub use options::S3Options;
pub use quirks::{IfMatch, Quirks};

use crate::config::{Addressing, S3Config, Transport};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, Checksum},
    limit::LimitStore,
    prefix::PrefixStore,
};
use persist_core::{Error, Result};
use std::{fmt, sync::Arc, time::Duration};

/// How long one request for data may take with its body: a pack of 32 MiB over a link of 2.3 Mbit/s. Two fit
/// into [`DATA_DEADLINE`], so that one stuck connection costs time and no more.
const DATA_TIMEOUT: Duration = Duration::from_secs(120);

/// How long requests for data are tried again: object_store signs once, and S3 takes a signature for 15
/// minutes (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>), object_store
/// asks for less than five.
const DATA_DEADLINE: Duration = Duration::from_secs(240);

/// As often as fits into [`DATA_DEADLINE`]: the deadline rules, not the count.
const DATA_RETRIES: usize = 1000;

/// The longest pause between two tries: throttling lasts seconds, not minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest that a request for a head may take; shorter where the beat is.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that the head client keeps: as many as the probe's writers, whose races would be spread out by
/// the making of connections.
const HEAD_CONNECTIONS: usize = 16;

/// The clients of one store's bucket. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Clients {
    /// For packs, commits, trees and listings: bounded in number, retried inside. A write through it must
    /// be one that may be repeated: an object whose name is never used again.
    pub data: Arc<dyn ObjectStore>,
    /// For heads, names and pins: one request a call. What is not a clear answer is the caller's to resolve.
    pub head: Arc<dyn ObjectStore>,
    /// What the probe found, which both clients keep to.
    pub quirks: Quirks,
    plain: Plain,
}

/// The clients without any quirk.
#[derive(Clone)]
struct Plain {
    data: Arc<dyn ObjectStore>,
    head: Arc<dyn ObjectStore>,
}

impl Clients {
    /// Makes the clients. Asks nothing of the bucket.
    ///
    /// # Errors
    /// `Invalid` for a configuration that cannot work; `Denied` without credentials.
    pub fn connect(config: &S3Config, options: &S3Options) -> Result<Self> {
        config.check()?;
        let data = LimitStore::new(data(config, options)?, config.connections.into());
        let head = head(config, options)?;
        let prefix = config.prefix.as_str();
        let (data, head) = (PrefixStore::new(data, prefix), PrefixStore::new(head, prefix));
        Ok(Self::over(Plain { data: Arc::new(data), head: Arc::new(head) }, Quirks::default()))
    }

    /// The same connections, used as `quirks` require and as nothing before did.
    #[must_use]
    pub fn with_quirks(self, quirks: Quirks) -> Self {
        Self::over(self.plain, quirks)
    }

    fn over(plain: Plain, quirks: Quirks) -> Self {
        let (data, head) = (Arc::clone(&plain.data), Arc::clone(&plain.head));
        Self { data: quirks::kept(data, quirks), head: quirks::kept(head, quirks), quirks, plain }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("quirks", &self.quirks).finish_non_exhaustive()
    }
}

fn data(config: &S3Config, options: &S3Options) -> Result<impl ObjectStore> {
    let backoff = BackoffConfig { max_backoff: LONGEST_PAUSE, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: DATA_RETRIES, retry_timeout: DATA_DEADLINE };
    let client = ClientOptions::new().with_pool_max_idle_per_host(config.connections.into());
    build(config, options, client, retry, DATA_TIMEOUT)
}

fn head(config: &S3Config, options: &S3Options) -> Result<impl ObjectStore> {
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = ClientOptions::new().with_pool_max_idle_per_host(HEAD_CONNECTIONS);
    // Two tries fit into a beat.
    let timeout = HEAD_TIMEOUT.min(Duration::from_secs(config.beat_seconds()) / 2);
    build(config, options, client, once, timeout)
}

fn build(
    config: &S3Config,
    options: &S3Options,
    client: ClientOptions,
    retry: RetryConfig,
    timeout: Duration,
) -> Result<impl ObjectStore> {
    let allow_http = config.transport == Transport::PlainAllowed;
    // Both before the options of the client, which they would not change any more.
    let client = client.with_timeout(timeout).with_allow_http(allow_http);
    let builder = AmazonS3Builder::new()
        .with_client_options(client)
        .with_http_connector(transport::bounded(options.connector.clone(), timeout))
        .with_retry(retry)
        .with_bucket_name(&config.bucket)
        .with_region(config.region.as_deref().unwrap_or("us-east-1"))
        .with_virtual_hosted_style_request(config.addressing == Addressing::VirtualHost)
        // The client would send each single removal as a list of one, which not every service knows, and for which
        // Ceph's gateway asks for a right on the bucket besides that on the object.
        .with_disable_bulk_delete(true)
        .with_credentials(options.credentials(config)?);
    let store = with_service(builder, config).build();
    store.map_err(|error| {
        Error::invalid("endpoint", "no client can be made for this configuration").with_source(error)
    })
}

/// Over TLS to Amazon the body is protected by the transport and by a CRC that S3 checks and keeps. Other
/// services need not know that CRC, so their bodies are signed, which all of them check.
fn with_service(builder: AmazonS3Builder, config: &S3Config) -> AmazonS3Builder {
    match (&config.endpoint, config.addressing) {
        (None, _) => builder.with_unsigned_payload(true).with_checksum_algorithm(Checksum::CRC64NVME),
        (Some(endpoint), Addressing::Path) => builder.with_endpoint(endpoint),
        (Some(endpoint), Addressing::VirtualHost) => {
            builder.with_endpoint(endpoint.replacen("://", &format!("://{}.", config.bucket), 1))
        }
    }
}

#[cfg(test)]
mod tests;
