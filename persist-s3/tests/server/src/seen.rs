//! What a request is, read from its line and headers alone.

use http::{HeaderMap, Method, Uri, header};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// An object is written.
    Put,
    /// An object or a range of it is read.
    Get,
    /// An object is asked about.
    Head,
    /// An object is removed.
    Delete,
    /// Up to 1,000 objects are removed.
    DeleteMany,
    /// Names are listed.
    List,
    /// Everything else.
    Other,
}

/// What an object is by its name, wherever the store's prefix ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `store`
    Marker,
    /// `n/<name>`
    Name,
    /// `v/<id>/fmt`
    Format,
    /// `v/<id>/head`
    Head,
    /// `v/<id>/c/…`
    Commit,
    /// `v/<id>/p/<xx>/…`
    Pack,
    /// `v/<id>/salvage/…`
    Salvage,
    /// `v/<id>/pin/…`
    Pin,
    /// Anything else.
    Other,
}

/// The condition that a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// None.
    None,
    /// `If-None-Match`
    IfNoneMatch,
    /// `If-Match`
    IfMatch,
}

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Counts all requests of the server, from 1.
    pub number: u64,
    /// What it asks for.
    pub verb: Verb,
    /// What the object is; for a listing, what its prefix holds.
    pub kind: ObjectKind,
    /// The bucket.
    pub bucket: String,
    /// The object's key; for a listing, its prefix.
    pub key: String,
    /// The condition it carries.
    pub condition: Condition,
    /// Bytes of its body.
    pub bytes: u64,
}

impl Seen {
    /// Reads a path-style request.
    pub(crate) fn of(number: u64, method: &Method, uri: &Uri, headers: &HeaderMap, bytes: u64) -> Self {
        let path = percent_decoded(uri.path());
        let (bucket, key) =
            path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let verb = verb(method, key, uri.query().unwrap_or_default());
        let key = match verb {
            Verb::List => parameter(uri.query().unwrap_or_default(), "prefix").unwrap_or_default(),
            _ => key.to_owned(),
        };
        let kind = match verb {
            Verb::List => ObjectKind::of(&format!("{}/-", key.trim_end_matches('/'))),
            _ => ObjectKind::of(&key),
        };
        Self { number, verb, kind, bucket: bucket.to_owned(), key, condition: condition(headers), bytes }
    }
}

impl Verb {
    /// The verb of an operation by its name in the S3 documentation.
    pub(crate) fn of_operation(name: &str) -> Self {
        match name {
            "PutObject" => Self::Put,
            "GetObject" => Self::Get,
            "HeadObject" => Self::Head,
            "DeleteObject" => Self::Delete,
            "DeleteObjects" => Self::DeleteMany,
            "ListObjectsV2" => Self::List,
            _ => Self::Other,
        }
    }
}

impl ObjectKind {
    /// What the object at `key` is.
    pub fn of(key: &str) -> Self {
        let from_end: Vec<&str> = key.rsplit('/').take(5).collect();
        match from_end.as_slice() {
            ["head", _, "v", ..] => Self::Head,
            ["fmt", _, "v", ..] => Self::Format,
            [_, "c", _, "v", ..] => Self::Commit,
            [_, "salvage", _, "v", ..] => Self::Salvage,
            [_, "pin", _, "v", ..] => Self::Pin,
            [_, _, "p", _, "v"] | [_, "p", _, "v", ..] => Self::Pack,
            [_, "n", ..] => Self::Name,
            ["store", ..] => Self::Marker,
            _ => Self::Other,
        }
    }
}

fn verb(method: &Method, key: &str, query: &str) -> Verb {
    match *method {
        Method::GET if key.is_empty() && parameter(query, "list-type").is_some() => Verb::List,
        Method::GET if !key.is_empty() => Verb::Get,
        Method::HEAD if !key.is_empty() => Verb::Head,
        Method::PUT if !key.is_empty() => Verb::Put,
        Method::DELETE if !key.is_empty() => Verb::Delete,
        Method::POST if key.is_empty() && parameter(query, "delete").is_some() => Verb::DeleteMany,
        _ => Verb::Other,
    }
}

fn condition(headers: &HeaderMap) -> Condition {
    match () {
        () if headers.contains_key(header::IF_NONE_MATCH) => Condition::IfNoneMatch,
        () if headers.contains_key(header::IF_MATCH) => Condition::IfMatch,
        () => Condition::None,
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let found = pairs.find(|(key, _)| *key == name);
    found.map(|(_, value)| percent_decoded(&value.replace('+', " ")))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_known_by_its_name_below_any_prefix() {
        for (key, kind) in [
            ("a/b/store", ObjectKind::Marker),
            ("n/shop", ObjectKind::Name),
            ("a/n/shop", ObjectKind::Name),
            ("a/v/0198/head", ObjectKind::Head),
            ("a/v/0198/fmt", ObjectKind::Format),
            ("a/v/0198/c/1-1-00", ObjectKind::Commit),
            ("a/v/0198/p/0f/1-1-00", ObjectKind::Pack),
            ("v/0198/pin/s-x", ObjectKind::Pin),
            ("v/0198/salvage/1-2-3", ObjectKind::Salvage),
            ("something/else", ObjectKind::Other),
        ] {
            assert_eq!(ObjectKind::of(key), kind, "{key}");
        }
    }

    #[test]
    fn a_listing_is_known_by_its_prefix() {
        let uri = "http://h/b?list-type=2&prefix=a%2Fn%2F".parse().unwrap();
        let seen = Seen::of(1, &Method::GET, &uri, &HeaderMap::new(), 0);
        assert_eq!((seen.verb, seen.kind, seen.bucket.as_str()), (Verb::List, ObjectKind::Name, "b"));
        let uri = "http://h/b/v/1/head".parse().unwrap();
        let seen = Seen::of(1, &Method::PUT, &uri, &HeaderMap::new(), 3);
        assert_eq!((seen.verb, seen.kind, seen.key.as_str()), (Verb::Put, ObjectKind::Head, "v/1/head"));
    }
}
