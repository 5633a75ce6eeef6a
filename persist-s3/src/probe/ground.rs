//! Keys that nobody else has, and requests that end as won, refused, or in trouble.

use super::PREFIX;
use crate::client::{Cause, Clients, Effect, Quirks, error};
use bytes::Bytes;
use futures::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, UpdateVersion, path::Path};
use persist_core::{Error, clock::Environment};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a round did not pass.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store did what must not happen. This was seen.
    Unfit(String),
    /// The store did what is strange and may have another reason, such as a proxy that asks twice.
    Doubtful(String),
    /// A request failed.
    Failed(Error),
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// The store says that it is applied; its ETag.
    Won(String),
    /// The store says that its condition does not hold.
    Refused,
}

/// A part of the bucket for one probe. Clones are the same part.
#[derive(Clone)]
pub(super) struct Ground<'a> {
    clients: Clients,
    environment: &'a Environment,
    base: Path,
    used: Arc<Mutex<Vec<Path>>>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(clients: &Clients, environment: &'a Environment) -> Self {
        let base = Path::from(format!("{PREFIX}/{}", random(environment)));
        Self { clients: clients.clone(), environment, base, used: Arc::default() }
    }

    /// The same part, through clients that keep to `quirks`.
    pub(super) fn with_quirks(&self, quirks: Quirks) -> Self {
        Self { clients: self.clients.clone().with_quirks(quirks), ..self.clone() }
    }

    /// A key that nobody has used.
    pub(super) fn key(&self) -> Path {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.base.clone().join(used.len().to_string());
        used.push(key.clone());
        key
    }

    /// A body that no other write has, so that no other write has its ETag.
    pub(super) fn body(&self) -> Bytes {
        Bytes::from(random(self.environment))
    }

    pub(super) async fn create(&self, key: &Path, body: &Bytes) -> Result<Written, Trouble> {
        self.put(key, body, PutMode::Create).await
    }

    pub(super) async fn replace(&self, key: &Path, body: &Bytes, etag: &str) -> Result<Written, Trouble> {
        let version = UpdateVersion { e_tag: Some(etag.to_owned()), version: None };
        self.put(key, body, PutMode::Update(version)).await
    }

    /// What is at `key`.
    pub(super) async fn read(&self, key: &Path) -> Result<Option<Bytes>, Trouble> {
        let read = match self.clients.head.get(key).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if Cause::of(&error) == Cause::NotFound => Ok(None),
            Err(error) => Err(failed(&error, Effect::Read)),
        }
    }

    /// Bytes 2 to 4 of what is at `key`.
    pub(super) async fn read_part(&self, key: &Path) -> Result<Bytes, Trouble> {
        self.clients.head.get_range(key, 2..5).await.map_err(|error| failed(&error, Effect::Read))
    }

    /// All keys of this part.
    pub(super) async fn list(&self) -> Result<Vec<Path>, Trouble> {
        let mut listed = self.clients.head.list(Some(&self.base));
        let mut keys = Vec::new();
        while let Some(found) = listed.next().await {
            keys.push(found.map_err(|error| failed(&error, Effect::Read))?.location);
        }
        Ok(keys)
    }

    /// Removes what was written. Not everyone who may write may remove, and a verdict does not depend on it.
    pub(super) async fn clear(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let mut removed = self.clients.data.delete_stream(stream::iter(used.into_iter().map(Ok)).boxed());
        while let Some(removed) = removed.next().await {
            if let Err(error) = removed {
                let error = crate::client::error(&error, Effect::Write);
                tracing::debug!(%error, below = %self.base, "the probe could not remove its objects");
                return;
            }
        }
    }

    async fn put(&self, key: &Path, body: &Bytes, mode: PutMode) -> Result<Written, Trouble> {
        match self.clients.head.put_opts(key, body.clone().into(), mode.into()).await {
            Ok(put) => put
                .e_tag
                .map(Written::Won)
                .ok_or_else(|| Trouble::Unfit("a PUT was answered without an ETag".into())),
            Err(error) => match Cause::of(&error) {
                // Missing is how S3 refuses an If-Match where nothing is.
                Cause::Precondition | Cause::Conflict | Cause::NotFound => Ok(Written::Refused),
                _ => Err(failed(&error, Effect::Write)),
            },
        }
    }
}

fn failed(cause: &object_store::Error, effect: Effect) -> Trouble {
    Trouble::Failed(error(cause, effect))
}

/// 128 random bits in hexadecimal.
fn random(environment: &Environment) -> String {
    let mut bytes = [0; 16];
    environment.entropy.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
