//! Where a store is: its URL, and what it is opened with.

mod extension;

pub use extension::Extension;

use crate::{
    clock::Environment,
    error::{Error, Result},
    holder::Node,
    name::VolumeName,
    needs::Needs,
};
use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

/// The URL of a store: `local:///path`, `nfs://server/export`, `nfs+mounted:///path`,
/// `s3://bucket/prefix`, with `?key=value&...` for options.
///
/// Never holds a secret: user names, passwords and the keys that providers use for credentials are
/// refused, and the refusal does not repeat them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoreUrl {
    scheme: String,
    authority: String,
    path: String,
    query: BTreeMap<String, String>,
}

/// A store's URL with `#name`: one volume of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeUrl {
    /// The store.
    pub store: StoreUrl,
    /// The volume.
    pub volume: VolumeName,
}

impl StoreUrl {
    /// The URL of the store at the absolute `path` of this host.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) unless the path is absolute and UTF-8.
    pub fn local(path: &std::path::Path) -> Result<Self> {
        let text = path.to_str().filter(|text| text.starts_with('/'));
        let text = text.ok_or_else(|| Error::invalid("url", "a local store needs an absolute UTF-8 path"))?;
        let url = Self {
            scheme: "local".into(),
            authority: String::new(),
            path: text.into(),
            query: BTreeMap::new(),
        };
        Ok(url)
    }

    /// What comes before `://`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Server or bucket, with its port; empty for a local path.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The decoded path, with its leading slash; empty if there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The options, decoded.
    pub fn query(&self) -> &BTreeMap<String, String> {
        &self.query
    }

    /// Refuses every option that is not among `known`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) names the unknown one and the known ones.
    pub fn allow_keys(&self, known: &[&str]) -> Result<()> {
        let unknown = self.query.keys().find(|key| !known.contains(&key.as_str()));
        unknown.map_or(Ok(()), |key| {
            let options = if known.is_empty() { "no options".into() } else { known.join(", ") };
            let advice = format!("this kind of store takes {options}");
            Err(invalid("unknown option").context("option", format_args!("{key:?}")).advise(advice))
        })
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.contains('#') {
            return Err(invalid("this is the URL of a volume, not of a store").advise("leave out `#name`"));
        }
        parse(text)
    }
}

impl FromStr for VolumeUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (store, name) = text.rsplit_once('#').ok_or_else(|| {
            invalid("the URL of a volume ends in `#name`").advise("write it as STORE-URL#VOLUME-NAME")
        })?;
        Ok(Self { store: parse(store)?, volume: VolumeName::new(name)? })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, encoded(&self.path, b"/"))?;
        self.query.iter().enumerate().try_for_each(|(i, (key, value))| {
            let mark = if i == 0 { '?' } else { '&' };
            write!(f, "{mark}{}={}", encoded(key, b""), encoded(value, b""))
        })
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for VolumeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.store, self.volume)
    }
}

/// Whether opening may make a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenMode {
    /// The store must be there: a mistyped path must not look like an empty store.
    #[default]
    Existing,
    /// It is made if it is not there.
    CreateIfMissing,
    /// It must be there, and nothing of it is changed.
    ReadOnly,
}

/// What a store is opened with, beside its URL.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Whether opening may make a store.
    pub mode: OpenMode,
    /// The node that attaches; without it, `attach` and `adopt` are refused.
    pub node: Option<Node>,
    /// A directory of this node for what may be lost: copies of records, locks. Without it, the store
    /// chooses a place inside itself where it can.
    pub state_directory: Option<PathBuf>,
    /// The clock and the randomness.
    pub environment: Environment,
    /// Refuse the store unless it meets these.
    pub needs: Needs,
    /// What only one kind of store understands; any other refuses to open.
    pub extension: Option<Extension>,
}

fn invalid(message: &'static str) -> Error {
    Error::invalid("url", message)
}

fn parse(text: &str) -> Result<StoreUrl> {
    let (scheme, rest) = text.split_once("://").ok_or_else(|| {
        invalid("not a URL").advise("write local:///path, nfs://server/export or s3://bucket/prefix")
    })?;
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+';
    if scheme.is_empty() || !scheme.bytes().all(word) {
        return Err(invalid("the scheme has only lower-case letters, digits and `+`"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    if authority.contains('@') {
        return Err(invalid("a URL must not carry credentials").advise("pass them by the options of open"));
    }
    let query = parse_query(query)?;
    Ok(StoreUrl { scheme: scheme.into(), authority: authority.into(), path: decoded(path)?, query })
}

fn parse_query(text: &str) -> Result<BTreeMap<String, String>> {
    let mut query = BTreeMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| invalid("an option is written key=value"))?;
        let (key, value) = (decoded(key)?, decoded(value)?);
        if is_secret(&key) {
            return Err(invalid("a URL must not carry credentials")
                .context("option", format_args!("{key:?}"))
                .advise("pass them by the options of open"));
        }
        if query.insert(key, value).is_some() {
            return Err(invalid("an option is given twice"));
        }
    }
    Ok(query)
}

/// Whether an option's name says that its value is a secret.
fn is_secret(key: &str) -> bool {
    let plain: String =
        key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    [
        "secret",
        "password",
        "passwd",
        "token",
        "accesskey",
        "credential",
        "privatekey",
        "signature",
        "encryptionkey",
    ]
    .iter()
    .any(|word| plain.contains(word))
}

/// Percent-encodes what RFC 3986 does not allow plainly, and `keep` as it is.
fn encoded(text: &str, keep: &[u8]) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~+".contains(&b) || keep.contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
        out
    })
}

fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        (rest, bytes) = match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(b)) => (&tail[2..], pushed(bytes, b)),
            (b'%', None) => return Err(invalid("`%` is followed by two hexadecimal digits")),
            (b, _) => (tail, pushed(bytes, *b)),
        };
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| invalid("the decoded URL is UTF-8 without NUL"))
}

fn pushed(mut bytes: Vec<u8>, b: u8) -> Vec<u8> {
    bytes.push(b);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_volume_url_has_its_parts() {
        let url: VolumeUrl = "s3://bucket/a%20b?region=eu-1#shop".parse().unwrap();
        assert_eq!((url.store.scheme(), url.store.authority(), url.store.path()), ("s3", "bucket", "/a b"));
        assert_eq!(url.store.query()["region"], "eu-1");
        assert_eq!(url.to_string(), "s3://bucket/a%20b?region=eu-1#shop");
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        for text in [
            "s3://AKIA:hunter2@bucket/x",
            "s3://b/x?secret_access_key=hunter2",
            "s3://b/x?aws-session-Token=hunter2",
            "nfs://h/x?password=hunter2",
        ] {
            let error = text.parse::<StoreUrl>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn unknown_and_doubled_options_are_refused() {
        let url: StoreUrl = "local:///x?sise=3".parse().unwrap();
        let error = url.allow_keys(&["size"]).unwrap_err();
        assert!(error.to_string().contains("sise") && error.to_string().contains("size"), "{error}");
        assert!("local:///x?a=1&a=2".parse::<StoreUrl>().is_err());
        assert!("local:///x#v".parse::<StoreUrl>().is_err());
        assert!("local:///x".parse::<VolumeUrl>().is_err());
    }

    proptest! {
        #[test]
        fn any_url_that_parses_prints_and_parses_to_itself(text in "(local|s3)://[a-z]{0,4}(/[a-z%0-9 é]{0,6}){0,3}(\\?[a-c]=[^#&]{0,5})?") {
            if let Ok(url) = text.parse::<StoreUrl>() {
                prop_assert_eq!(url.to_string().parse::<StoreUrl>().unwrap(), url);
            }
        }
    }
}
