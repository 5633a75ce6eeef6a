//! What a URL says: the way in, the server, the export, and the store's directory below it. Pure.

use crate::{
    profile::{self, Profile},
    times::{LEASE, PATIENCE, Times},
};
use persist_core::{Error, Result, StoreUrl};
use std::{
    fmt,
    path::{Component, Path, PathBuf},
};

/// A server's export is mounted by us.
pub(crate) const SCHEME: &str = "nfs";

/// A directory of a mount that is there already.
pub(crate) const MOUNTED_SCHEME: &str = "nfs+mounted";

/// How a store is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a mount of ours.
    Export(Box<Address>),
    /// By a mount of somebody else, at this absolute path.
    Mounted(PathBuf, Times),
}

/// What is mounted how, and where below it the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) export: Export,
    pub(crate) profile: Profile,
    /// Relative, without `..`; empty for the export itself.
    pub(crate) directory: PathBuf,
    pub(crate) times: Times,
}

/// An export of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    /// A name or an address, an IPv6 address without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Absolute.
    pub(crate) path: String,
}

/// The port of NFSv4 (RFC 8881, section 2.9.1).
pub(crate) const PORT: u16 = 2049;

impl Way {
    /// Reads a URL of this store.
    ///
    /// # Errors
    /// `Invalid`, naming what is wrong.
    pub(crate) fn parse(url: &StoreUrl) -> Result<Self> {
        match url.scheme() {
            SCHEME => Address::parse(url).map(|address| Self::Export(Box::new(address))),
            MOUNTED_SCHEME => Ok(Self::Mounted(mounted_path(url)?, Times::parse(url)?)),
            _ => Err(invalid("not the URL of an NFS store")),
        }
    }
}

impl Address {
    fn parse(url: &StoreUrl) -> Result<Self> {
        let profile = Profile::parse(url)?;
        let (host, port) = server(url.authority())?;
        if !matches!(url.path(), path if path.starts_with('/')) {
            return Err(invalid("the export is missing").advise("write nfs://server/export"));
        }
        let path = match url.path().trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        // The kernel splits `host:path` and its own options at these.
        if path.contains(['\n', ',']) {
            return Err(invalid("an export with a comma or a newline cannot be mounted"));
        }
        let directory = url.query().get(profile::DIRECTORY).map_or("", String::as_str);
        let (directory, times) = (below(directory)?, Times::parse(url)?);
        Ok(Self { export: Export { host, port, path }, profile, directory, times })
    }
}

impl Export {
    /// What is mounted, as the mount table shows it.
    pub(crate) fn source(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.path)
        } else {
            format!("{}:{}", self.host, self.path)
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (port {})", self.source(), self.port)
    }
}

fn server(authority: &str) -> Result<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some("") => Some(PORT),
        port => port.and_then(|text| text.parse().ok()).filter(|port| *port != 0),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:%".contains(&b);
    match port {
        Some(port) if !host.is_empty() && host.bytes().all(plain) => Ok((host.to_owned(), port)),
        _ => Err(invalid("the server is a name or an address, and a port if it is not 2049")
            .context("server", format_args!("{authority:?}"))
            .advise("write nfs://server/export or nfs://server:port/export")),
    }
}

fn below(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(path.to_owned());
    }
    Err(Error::invalid(profile::DIRECTORY, "the store's directory is relative to the export, without `..`")
        .context("value", format_args!("{text:?}")))
}

fn mounted_path(url: &StoreUrl) -> Result<PathBuf> {
    let advice = "write nfs+mounted:///absolute/path";
    if !url.authority().is_empty() {
        return Err(invalid("what is mounted already has no server in its URL").advise(advice));
    }
    url.allow_keys(&[PATIENCE, LEASE])?;
    match url.path() {
        "" | "/" => Err(invalid("the store has a directory of its own").advise(advice)),
        path => Ok(PathBuf::from(path)),
    }
}

fn invalid(what: &'static str) -> Error {
    Error::invalid("url", what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn export(url: &str) -> Result<Address> {
        match Way::parse(&url.parse()?)? {
            Way::Export(address) => Ok(*address),
            way => panic!("{way:?}"),
        }
    }

    #[test]
    fn server_port_export_and_directory_are_read() {
        for (url, host, port, source, directory) in [
            ("nfs://files/srv/a", "files", 2049, "files:/srv/a", ""),
            ("nfs://files:20049/", "files", 20049, "files:/", ""),
            ("nfs://[fe80::1]:7/x/", "fe80::1", 7, "[fe80::1]:/x", ""),
            ("nfs://10.0.0.1/srv?directory=a/b", "10.0.0.1", 2049, "10.0.0.1:/srv", "a/b"),
        ] {
            let found = export(url).unwrap();
            assert_eq!((found.export.host.as_str(), found.export.port), (host, port), "{url}");
            assert_eq!((found.export.source().as_str(), &found.directory), (source, &directory.into()));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_invalid() {
        for url in [
            "nfs:///srv",
            "nfs://files",
            "nfs://files:0/srv",
            "nfs://files:x/srv",
            "nfs://[::1]x/srv",
            "nfs://fi,les/srv",
            "nfs://files/a,b",
            "nfs://files/srv?directory=/a",
            "nfs://files/srv?directory=a/../b",
            "nfs+mounted://files/srv",
            "nfs+mounted:///",
            "nfs+mounted:///srv?version=4.2",
            "nfs+mounted:///srv?patience=0",
            "nfs://files/srv?patience=9999",
            "local:///srv",
        ] {
            let error = Way::parse(&url.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), persist_core::ErrorKind::Invalid, "{url}: {error}");
        }
    }

    #[test]
    fn a_path_that_is_mounted_already_is_taken_as_it_is() {
        let way = Way::parse(&"nfs+mounted:///srv/a".parse().unwrap()).unwrap();
        let times = |patience, lease| Times {
            patience: Duration::from_secs(patience),
            lease: Duration::from_secs(lease),
        };
        assert_eq!(way, Way::Mounted("/srv/a".into(), times(5, 60)));
        let patient = Way::parse(&"nfs+mounted:///srv/a?patience=60&lease=10".parse().unwrap()).unwrap();
        assert_eq!(patient, Way::Mounted("/srv/a".into(), times(60, 10)));
    }
}
