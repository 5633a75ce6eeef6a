//! Where a store keeps its promises in its own way.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// What the probe found to be different from S3, and can be lived with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quirks {
    /// How an ETag stands in `If-Match`.
    pub if_match: IfMatch,
}

/// How an ETag stands in `If-Match` on a PUT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfMatch {
    /// As the store gave it, in quotes (RFC 9110, 8.8.3).
    #[default]
    Quoted,
    /// Without its quotes: Ceph RGW 16 compares them literally with a tag that it keeps without.
    Bare,
}

/// `store`, used as `quirks` require.
pub(super) fn kept(store: Arc<dyn ObjectStore>, quirks: Quirks) -> Arc<dyn ObjectStore> {
    match quirks.if_match {
        IfMatch::Quoted => store,
        IfMatch::Bare => Arc::new(BareIfMatch(store)),
    }
}

/// Sends ETags without quotes in the `If-Match` of a PUT: object_store sends what it is given.
#[derive(Debug)]
struct BareIfMatch(Arc<dyn ObjectStore>);

impl fmt::Display for BareIfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[async_trait]
impl ObjectStore for BareIfMatch {
    async fn put_opts(&self, at: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if let PutMode::Update(version) = &mut options.mode {
            version.e_tag = version.e_tag.take().map(|tag| tag.trim_matches('"').to_owned());
        }
        self.0.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
