//! What can be read from an error of `object_store` 0.14.
//!
//! The type that holds a reply's status and body is private to that crate, so they are read from its text;
//! the tests go through the real client, and fail when that text changes.

use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;

/// How its text begins where a reply came that is no success.
const REPLY: &str = "Server returned non-2xx status code: ";

/// Where a reply is a success by its status alone.
const RESPONSE: &str = "Server returned error response: ";

/// Where one is sent elsewhere without being told where: S3's answer for a bucket of another region.
const REDIRECT: &str = "Received redirect without LOCATION";

/// Errors nest less than this; a cycle must end.
const DEEPEST: usize = 32;

/// The longest word or sentence that is repeated.
const LONGEST: usize = 200;

/// The parts of an error that say why.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) status: Option<u16>,
    pub(super) code: Option<String>,
    request: Option<String>,
    /// How the transport failed, and its innermost reason.
    pub(super) broken: Option<(HttpErrorKind, String)>,
}

impl Said {
    pub(super) fn by(error: &object_store::Error) -> Self {
        let mut said = Self::default();
        chain(error).for_each(|link| said.read(link));
        said
    }

    /// What may be repeated in an error of ours.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let facts = [
            ("status", self.status.map(|status| status.to_string())),
            ("code", self.code.clone()),
            ("request id", self.request.clone()),
            ("because", self.broken.as_ref().map(|(_, text)| text.clone())),
        ];
        facts.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    fn read(&mut self, link: &(dyn StdError + 'static)) {
        if let Some(http) = link.downcast_ref::<HttpError>() {
            self.broken = Some((http.kind(), innermost(http)));
            return;
        }
        let text = link.to_string();
        if text.starts_with(REDIRECT) {
            // S3 documents this status for it.
            self.status = Some(301);
        } else if let Some(reply) = text.strip_prefix(REPLY) {
            self.status = reply.get(..3).and_then(|digits| digits.parse().ok());
            self.read_body(reply);
        } else if let Some(body) = text.strip_prefix(RESPONSE) {
            self.read_body(body);
        }
    }

    fn read_body(&mut self, body: &str) {
        self.code = between(body, "<Code>", "</Code>");
        self.request = between(body, "<RequestId>", "</RequestId>");
    }
}

/// The word between `open` and `close`, if it is one that an S3 service would send: what a server writes is
/// not trusted.
fn between(text: &str, open: &str, close: &str) -> Option<String> {
    let (_, rest) = text.split_once(open)?;
    let (word, _) = rest.split_once(close)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (!word.is_empty() && word.len() <= 64 && word.bytes().all(plain)).then(|| word.to_owned())
}

fn innermost(error: &HttpError) -> String {
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    text.chars().take(LONGEST).collect()
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let link = next?;
        next = link.source();
        Some(link)
    })
    .take(DEEPEST)
}
