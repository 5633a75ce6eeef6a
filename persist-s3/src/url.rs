//! `s3://bucket/prefix?endpoint=…&region=…` read into a configuration.

use crate::config::{Addressing, S3Config, Transport};
use persist_core::{Error, Result, StoreUrl};
use std::{path::PathBuf, str::FromStr};

/// The scheme of the URLs of this store.
pub const SCHEME: &str = "s3";

/// The options that a URL of this store may carry; the fields of [`S3Config`] say what they mean.
///
/// `path_style` and `allow_http` are `true` or `false`: [`Addressing::Path`] and
/// [`Transport::PlainAllowed`].
pub const KEYS: [&str; 11] = [
    "endpoint",
    "region",
    "path_style",
    "allow_http",
    "workspace",
    "workspace_limit_bytes",
    "connections",
    "memory_bytes",
    "lease_ttl_seconds",
    "retained_commits",
    "retained_seconds",
];

impl S3Config {
    /// Reads a store's URL.
    ///
    /// # Errors
    /// `Invalid` for a URL of another kind, without a bucket, with an unknown option, or with a value that
    /// [`check`](Self::check) refuses.
    pub fn from_url(url: &StoreUrl) -> Result<Self> {
        // Without the options: one that is refused may hold what no message should.
        read(url).map_err(|e| e.during("open", format_args!("{SCHEME}://{}{}", url.authority(), url.path())))
    }
}

fn read(url: &StoreUrl) -> Result<S3Config> {
    if url.scheme() != SCHEME {
        return Err(Error::invalid("url", "not the URL of an S3 store").advise("write s3://bucket/prefix"));
    }
    url.allow_keys(&KEYS)?;
    let text = |key: &str| url.query().get(key).cloned();
    let mut config = S3Config::new(url.authority());
    config.prefix = url.path().trim_start_matches('/').trim_end_matches('/').to_owned();
    config.endpoint = text("endpoint");
    config.region = text("region");
    config.workspace = text("workspace").map(PathBuf::from);
    config.workspace_limit_bytes = number(url, "workspace_limit_bytes")?;
    config.connections = number(url, "connections")?.unwrap_or(config.connections);
    config.memory_bytes = number(url, "memory_bytes")?.unwrap_or(config.memory_bytes);
    config.lease_ttl_seconds = number(url, "lease_ttl_seconds")?.unwrap_or(config.lease_ttl_seconds);
    config.retained_commits = number(url, "retained_commits")?.unwrap_or(config.retained_commits);
    config.retained_seconds = number(url, "retained_seconds")?.unwrap_or(config.retained_seconds);
    if choice(url, "path_style")? == Some(Choice::False) {
        config.addressing = Addressing::VirtualHost;
    }
    if choice(url, "allow_http")? == Some(Choice::True) {
        config.transport = Transport::PlainAllowed;
    }
    config.check()?;
    Ok(config)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    True,
    False,
}

fn number<T: FromStr>(url: &StoreUrl, key: &'static str) -> Result<Option<T>> {
    let parsed = url.query().get(key).map(|text| text.parse());
    parsed.transpose().map_err(|_| Error::invalid(key, "not a number, or one that is out of range"))
}

fn choice(url: &StoreUrl, key: &'static str) -> Result<Option<Choice>> {
    match url.query().get(key).map(String::as_str) {
        None => Ok(None),
        Some("true") => Ok(Some(Choice::True)),
        Some("false") => Ok(Some(Choice::False)),
        Some(_) => Err(Error::invalid(key, "write `true` or `false`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use persist_core::ErrorKind;

    fn config(url: &str) -> Result<S3Config> {
        S3Config::from_url(&url.parse()?)
    }

    #[test]
    fn every_option_reaches_its_field() {
        let url = "s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu-1&path_style=false&allow_http=true\
                   &workspace=/w&workspace_limit_bytes=7&connections=8&memory_bytes=300000000\
                   &lease_ttl_seconds=30&retained_commits=3&retained_seconds=3600";
        let config = config(url).unwrap();
        assert_eq!((config.bucket.as_str(), config.prefix.as_str()), ("bucket", "a/b"));
        assert_eq!(config.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(config.region.as_deref(), Some("eu-1"));
        assert_eq!((config.addressing, config.transport), (Addressing::VirtualHost, Transport::PlainAllowed));
        assert_eq!(config.workspace, Some(PathBuf::from("/w")));
        assert_eq!((config.workspace_limit_bytes, config.connections), (Some(7), 8));
        assert_eq!(
            (config.memory_bytes, config.lease_ttl_seconds, config.beat_seconds()),
            (300_000_000, 30, 10)
        );
        assert_eq!((config.retained_commits.get(), config.retained_seconds), (3, 3600));
    }

    #[test]
    fn a_bucket_alone_has_defaults() {
        let config = config("s3://bucket").unwrap();
        assert_eq!(config, S3Config::new("bucket"));
        assert_eq!((config.lease_ttl_seconds, config.beat_seconds()), (60, 20));
    }

    #[test]
    fn what_cannot_work_is_refused_and_named() {
        for (url, word) in [
            ("s3:///prefix", "bucket"),
            ("s3://b", "bucket"),
            ("s3://bucket/a//b", "prefix"),
            ("s3://bucket/a/../b", "prefix"),
            ("s3://bucket?color=red", "color"),
            ("s3://bucket?endpoint=http://host", "allow_http"),
            ("s3://bucket?endpoint=ftp://host", "endpoint"),
            ("s3://bucket?endpoint=https://me:hunter2@host", "endpoint"),
            ("s3://bucket?path_style=yes", "path_style"),
            ("s3://bucket?connections=1", "connections"),
            ("s3://bucket?connections=70000", "connections"),
            ("s3://bucket?memory_bytes=1", "memory_bytes"),
            ("s3://bucket?lease_ttl_seconds=0", "lease_ttl_seconds"),
            ("s3://bucket?workspace=relative", "workspace"),
            ("s3://bucket?retained_commits=0", "retained_commits"),
            ("s3://my.bucket?path_style=false", "bucket"),
            ("s3://bucket?secret_access_key=hunter2", "credentials"),
            ("local:///srv", "s3://"),
        ] {
            let error = config(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(error.to_string().contains(word), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
