//! What the fields of a configuration may be.

use super::{Addressing, LEAST_MEMORY_BYTES, S3Config, Transport};
use crate::head::lease::TTL_MAX;
use object_store::path::Path;
use persist_core::{Error, Result};
use std::ops::RangeInclusive;

/// Fewer would let a listing wait for the requests that it gives rise to.
const CONNECTIONS: RangeInclusive<u16> = 4..=256;

/// Shorter ones expire on an ordinary hiccup of a network; longer ones than a day are leases without beats.
const TTL_SECONDS: RangeInclusive<u64> = 5..=TTL_MAX.as_secs();

/// A key has at most 1,024 bytes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>); half of it is for our names.
const LONGEST_PREFIX: usize = 512;

pub(super) fn check(config: &S3Config) -> Result<()> {
    bucket(&config.bucket)?;
    prefix(&config.prefix)?;
    config.endpoint.as_deref().map_or(Ok(()), |url| endpoint(url, config.transport))?;
    region(config.region.as_deref())?;
    if config.addressing == Addressing::VirtualHost && config.bucket.contains('.') {
        return Err(invalid(
            "bucket",
            "a name with dots cannot stand in a host's name, whose certificate would not match",
        ));
    }
    if config.workspace.as_ref().is_some_and(|path| !path.is_absolute()) {
        return Err(invalid("workspace", "the path is absolute"));
    }
    within("connections", config.connections, &CONNECTIONS)?;
    within("memory_bytes", config.memory_bytes, &(LEAST_MEMORY_BYTES..=u64::MAX))?;
    within("lease_ttl_seconds", config.lease_ttl_seconds, &TTL_SECONDS)
}

/// The rules of
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html> that other services share.
fn bucket(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let length = (3..=63).contains(&name.len());
    if length
        && name.bytes().all(allowed)
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && !name.contains("..")
    {
        return Ok(());
    }
    Err(invalid("bucket", "a bucket's name has 3 to 63 lower-case letters, digits, hyphens and dots"))
}

fn prefix(prefix: &str) -> Result<()> {
    if prefix.len() > LONGEST_PREFIX {
        return Err(invalid("prefix", "a prefix has at most 512 bytes"));
    }
    match Path::parse(prefix) {
        Ok(path) if path.as_ref() == prefix => Ok(()),
        _ => Err(invalid(
            "prefix",
            "a prefix is made of segments with one `/` between them, none of which is `.` or `..`",
        )),
    }
}

fn endpoint(url: &str, transport: Transport) -> Result<()> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['?', '#', ' ']) || rest.contains('@') {
        return Err(invalid("endpoint", "an endpoint is written https://host or https://host:port"));
    }
    match (scheme, transport) {
        ("https", _) | ("http", Transport::PlainAllowed) => Ok(()),
        ("http", _) => Err(invalid("endpoint", "requests would travel in the clear")
            .advise("use https, or say allow_http=true")),
        _ => Err(invalid("endpoint", "an endpoint begins with https:// or http://")),
    }
}

fn region(region: Option<&str>) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match region {
        Some(name) if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) => {
            Err(invalid("region", "a region's name has up to 64 letters, digits and hyphens"))
        }
        _ => Ok(()),
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: T,
    allowed: &RangeInclusive<T>,
) -> Result<()> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    Err(invalid(field, "out of range")
        .context("value", value)
        .context("allowed", format_args!("{least} to {most}")))
}

fn invalid(field: &'static str, message: &'static str) -> Error {
    Error::invalid(field, message)
}
