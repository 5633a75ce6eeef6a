//! Who may do what.

use crate::seen::Verb;
use async_trait::async_trait;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    s3_error,
};
use std::{collections::BTreeMap, fmt};

/// A pair of keys, and what it may not do.
#[derive(Clone)]
pub struct KeyPair {
    pub(crate) access_key: String,
    secret_key: String,
    denied: Vec<Verb>,
}

impl KeyPair {
    /// A pair that may do everything.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self { access_key: access_key.into(), secret_key: secret_key.into(), denied: Vec::new() }
    }

    /// The same, but requests of these verbs are answered `AccessDenied`.
    #[must_use]
    pub fn without(mut self, verbs: &[Verb]) -> Self {
        self.denied.extend(verbs);
        self
    }

    /// The same, but it may only read.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.without(&[Verb::Put, Verb::Delete, Verb::DeleteMany, Verb::Other])
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("denied", &self.denied).finish_non_exhaustive()
    }
}

/// The keys of a server.
#[derive(Clone)]
pub(crate) struct Keys(BTreeMap<String, KeyPair>);

impl Keys {
    pub(crate) fn new(keys: &[KeyPair]) -> Self {
        Self(keys.iter().map(|pair| (pair.access_key.clone(), pair.clone())).collect())
    }
}

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let pair = self.0.get(access_key);
        let pair = pair.ok_or_else(|| s3_error!(InvalidAccessKeyId, "this access key is not known"))?;
        Ok(SecretKey::from(pair.secret_key.as_str()))
    }
}

#[async_trait]
impl S3Access for Keys {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let pair = cx.credentials().and_then(|credentials| self.0.get(&credentials.access_key));
        let verb = Verb::of_operation(cx.s3_op().name());
        match pair {
            Some(pair) if !pair.denied.contains(&verb) => Ok(()),
            _ => Err(s3_error!(AccessDenied, "Access Denied")),
        }
    }
}
