//! Single requests, and the compare-and-swap of one small object with its resolution.

use super::{Remote, cause, time::Tries};
use crate::head::writer::ETag;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{
    GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion, path::Path,
};
use persist_core::{Error, ErrorKind, Result};
use std::future::Future;

/// The largest small object in bytes: a salvage that names the packs of 8 TiB (a name takes 60 bytes, a pack
/// has 32 MiB).
pub(crate) const OBJECT_MAX_BYTES: u64 = 16 << 20;

/// A version of a small object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its content.
    pub(crate) body: Bytes,
    /// What the store calls this version.
    pub(crate) etag: ETag,
}

/// What a conditional write replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: `If-None-Match: *`.
    Absent,
    /// A version: `If-Match`.
    Version(ETag),
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It is there.
    Applied(ETag),
    /// Something else is there, or nothing any more.
    Other(Option<Object>),
}

impl Base {
    /// The version that was found, or that there was none.
    pub(crate) fn of(found: Option<&Object>) -> Self {
        found.map_or(Self::Absent, |object| Self::Version(object.etag.clone()))
    }

    fn is(&self, found: Option<&Object>) -> bool {
        *self == Self::of(found)
    }

    fn mode(&self) -> PutMode {
        match self {
            Self::Absent => PutMode::Create,
            Self::Version(etag) => {
                PutMode::Update(UpdateVersion { e_tag: Some(etag.0.clone()), version: None })
            }
        }
    }
}

impl Remote {
    /// One PUT. Any error leaves open whether it was applied, or will be.
    pub(crate) async fn put_once(&self, path: &Path, body: Bytes, base: &Base) -> Result<ETag> {
        let put = self.head.put_opts(path, PutPayload::from_bytes(body), base.mode().into());
        let done = self.in_time(put).await?.map_err(|e| cause::of_write(&e))?;
        // Without an ETag nothing is known: the look that follows an error finds one, or says so.
        done.e_tag.map(ETag).ok_or_else(|| Error::new(ErrorKind::Unavailable, "an answer without an ETag"))
    }

    /// One GET; none if the object is not there.
    pub(crate) async fn get_once(&self, path: &Path) -> Result<Option<Object>> {
        let (meta, body) = match self.in_time(get(self.head.as_ref(), path)).await? {
            Err(e) if cause::is_missing(&e) => return Ok(None),
            found => found.map_err(|e| cause::of_read(&e))?,
        };
        let Some(body) = body else { return Err(too_large(path, meta.size)) };
        let etag = meta.e_tag.map(ETag).ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "the object store gives its objects no ETag")
                .advise("use a store with conditional writes")
        })?;
        Ok(Some(Object { body, etag }))
    }

    /// The newest version, with patience; none if the object is not there.
    pub(crate) async fn read(&self, path: &Path) -> Result<Option<Object>> {
        let mut tries = self.tries();
        loop {
            match self.get_once(path).await {
                Ok(found) => return Ok(found),
                Err(e) => tries.pause(self, e.context("object", path)).await?,
            }
        }
    }

    /// Writes `body`, which is like no other, on `base`, and finds out what became of it.
    ///
    /// # Errors
    /// `Unavailable` with `Verify` once the patience is over: it may be written then, or later.
    pub(crate) async fn settle(&self, path: &Path, body: Bytes, base: &Base) -> Result<Settled> {
        let mut tries = self.tries();
        loop {
            let error = match self.put_once(path, body.clone(), base).await {
                Ok(etag) => return Ok(Settled::Applied(etag)),
                Err(e) => e.context("object", path),
            };
            let found = self.look_again(path, &mut tries).await?;
            match found {
                Some(object) if object.body == body => return Ok(Settled::Applied(object.etag)),
                found if base.is(found.as_ref()) => tries.pause(self, error).await?,
                found => return Ok(Settled::Other(found)),
            }
        }
    }

    /// Writes an object whose name is used once.
    ///
    /// # Errors
    /// `Unavailable` with `Verify`: it may be written, and is an orphan then.
    pub(crate) async fn put_unique(&self, path: &Path, body: Bytes) -> Result<()> {
        let mut tries = self.tries();
        loop {
            let put = self.data.put(path, PutPayload::from_bytes(body.clone()));
            match tokio::time::timeout(self.limits.patience, put).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e)) => tries.pause(self, cause::of_write(&e).context("object", path)).await?,
                Err(_) => return Err(cause::timed_out().context("object", path)),
            }
        }
    }

    /// The objects below `prefix`, of whatever name, after `after` in the order of their names.
    pub(crate) fn list(&self, prefix: &Path, after: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = match after {
            Some(after) => self.data.list_with_offset(Some(prefix), after),
            None => self.data.list(Some(prefix)),
        };
        listed.map_err(|e| cause::of_read(&e)).boxed()
    }

    /// Whether an object is there. One HEAD.
    pub(crate) async fn is_stored(&self, path: &Path) -> Result<bool> {
        let mut tries = self.tries();
        loop {
            let error = match self.in_time(self.data.head(path)).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(e)) if cause::is_missing(&e) => return Ok(false),
                Ok(Err(e)) => cause::of_read(&e),
                Err(e) => e,
            };
            tries.pause(self, error.context("object", path)).await?;
        }
    }

    /// Removes an object, whether it is there or not; returns once the store has acknowledged that.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        let mut tries = self.tries();
        loop {
            let error = match self.in_time(self.data.delete(path)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) if cause::is_missing(&e) => return Ok(()),
                Ok(Err(e)) => cause::of_write(&e),
                Err(e) => e,
            };
            tries.pause(self, error.context("object", path)).await?;
        }
    }

    async fn look_again(&self, path: &Path, tries: &mut Tries) -> Result<Option<Object>> {
        loop {
            match self.get_once(path).await {
                Ok(found) => return Ok(found),
                Err(e) => tries.pause(self, e.context("object", path)).await?,
            }
        }
    }

    async fn in_time<T>(&self, request: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(self.limits.request, request).await.map_err(|_| cause::timed_out())
    }
}

/// One GET; no content if it is larger than any small object.
async fn get(store: &dyn ObjectStore, path: &Path) -> object_store::Result<(ObjectMeta, Option<Bytes>)> {
    let found = store.get_opts(path, GetOptions::default()).await?;
    let meta = found.meta.clone();
    let body = if meta.size > OBJECT_MAX_BYTES { None } else { Some(found.bytes().await?) };
    Ok((meta, body))
}

fn too_large(path: &Path, size: u64) -> Error {
    Error::new(ErrorKind::Corrupt, "an object is larger than any of its kind")
        .context("object", path)
        .context("bytes", size)
        .context("limit", OBJECT_MAX_BYTES)
}
