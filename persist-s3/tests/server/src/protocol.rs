//! The operations of S3 over the store.

use crate::{
    conditions::{Conditions, Wanted},
    store::{Ask, Draft, Facts, Key, Page, Store},
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use s3s::{
    S3, S3Error, S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
        DeletedObject, ETag, ETagCondition, GetObjectInput, GetObjectOutput, HeadBucketInput,
        HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
        PutObjectInput, PutObjectOutput, StreamingBlob,
    },
    s3_error,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Between the check and the act of a store that does not do both at once: long enough, in virtual and in
/// real time, for all writers of a race to pass the check.
const BETWEEN: Duration = Duration::from_millis(5);

/// The most names of a page, of ListObjectsV2.
const PAGE: i32 = 1000;

/// How far behind a listing shall be; travels in the extensions of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind(pub(crate) usize);

/// The operations of S3 that the server has.
pub(crate) struct Protocol {
    pub(crate) store: Arc<Store>,
    pub(crate) conditions: Conditions,
}

impl Protocol {
    /// Runs `work` where it may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> S3Result<T> + Send + 'static,
    ) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        if !store.blocks() {
            return work(&store);
        }
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|error| Err(S3Error::internal_error(error)))
    }

    fn wanted(&self, input: &PutObjectInput, headers: &HeaderMap) -> S3Result<Wanted> {
        let quoted = headers.get(header::IF_MATCH).is_some_and(|value| value.as_bytes().starts_with(b"\""));
        match (self.conditions, &input.if_none_match, &input.if_match) {
            (Conditions::Ignored, _, _) | (_, None, None) => Ok(Wanted::Anything),
            (_, Some(ETagCondition::Any), None) => Ok(Wanted::Absent),
            (Conditions::QuotedEtagRefused, None, Some(_)) if quoted => Ok(Wanted::Never),
            (_, None, Some(ETagCondition::ETag(etag))) => Ok(Wanted::Etag(etag.value().to_owned())),
            _ => Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            )),
        }
    }
}

#[async_trait]
impl S3 for Protocol {
    #[expect(clippy::disallowed_methods, reason = "the server's clock, as S3 shows it in Last-Modified")]
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut wanted = self.wanted(&req.input, &req.headers)?;
        let input = req.input;
        let at = Key { bucket: input.bucket, key: input.key };
        let draft = Draft {
            body: collected(input.body).await?,
            modified: SystemTime::now(),
            content_type: input.content_type,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let conditions = self.conditions;
        if conditions == Conditions::CheckThenAct && wanted != Wanted::Anything {
            let (at, check) = (at.clone(), std::mem::replace(&mut wanted, Wanted::Anything));
            self.with(move |store| store.check(&at, &check, conditions)).await?;
            tokio::time::sleep(BETWEEN).await;
        }
        let facts = self.with(move |store| store.put(&at, draft, &wanted, conditions)).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(facts.etag)), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (range, if_match, if_none) = (input.range, input.if_match, input.if_none_match);
        let at = Key { bucket: input.bucket, key: input.key };
        let read = move |store: &Store| {
            let found = store.get(&at)?;
            may_read(&found.facts, if_match.as_ref(), if_none.as_ref())?;
            let part = range.map(|range| range.check(found.facts.bytes)).transpose();
            let part = part.map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
            let bytes = found.read(part.clone().unwrap_or(0..found.facts.bytes));
            Ok((found.facts, part, bytes.map_err(S3Error::internal_error)?))
        };
        let (facts, part, bytes) = self.with(read).await?;
        let content_range = part.map(|p| format!("bytes {}-{}/{}", p.start, p.end - 1, facts.bytes));
        let output = GetObjectOutput {
            content_length: Some(signed(bytes.len() as u64)?),
            content_range,
            e_tag: Some(ETag::Strong(facts.etag)),
            last_modified: Some(facts.modified.into()),
            content_type: facts.content_type,
            metadata: Some(facts.metadata.into_iter().collect()),
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let (if_match, if_none) = (input.if_match, input.if_none_match);
        let at = Key { bucket: input.bucket, key: input.key };
        let facts = self.with(move |store| store.get(&at).map(|found| found.facts)).await?;
        may_read(&facts, if_match.as_ref(), if_none.as_ref())?;
        let output = HeadObjectOutput {
            content_length: Some(signed(facts.bytes)?),
            e_tag: Some(ETag::Strong(facts.etag)),
            last_modified: Some(facts.modified.into()),
            content_type: facts.content_type,
            metadata: Some(facts.metadata.into_iter().collect()),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let at = Key { bucket: req.input.bucket, key: req.input.key };
        self.with(move |store| store.delete(&at)).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let (bucket, objects) = (req.input.bucket, req.input.delete.objects);
        let delete = move |store: &Store| {
            let deleted = objects.into_iter().map(|object| {
                store.delete(&Key { bucket: bucket.clone(), key: object.key.clone() })?;
                Ok(DeletedObject { key: Some(object.key), ..Default::default() })
            });
            deleted.collect::<S3Result<Vec<_>>>()
        };
        let deleted = Some(self.with(delete).await?);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let behind = req.extensions.get::<Behind>().map_or(0, |behind| behind.0);
        let input = req.input;
        let limit = input.max_keys.unwrap_or(PAGE).clamp(0, PAGE);
        let ask = Ask {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.start_after.clone().unwrap_or_default(),
            token: input.continuation_token.clone(),
            limit: usize::try_from(limit).unwrap_or_default(),
        };
        let bucket = input.bucket.clone();
        let page = self.with(move |store| store.list(&bucket, &ask, behind)).await?;
        Ok(S3Response::new(listed(input, limit, page)?))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        if self.store.has(&req.input.bucket) {
            return Ok(S3Response::new(HeadBucketOutput::default()));
        }
        Err(s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }
}

fn listed(input: ListObjectsV2Input, limit: i32, page: Page) -> S3Result<ListObjectsV2Output> {
    let count = i32::try_from(page.objects.len() + page.common.len()).map_err(S3Error::internal_error)?;
    let contents = page.objects.into_iter().map(|(key, facts)| {
        Ok(Object {
            key: Some(key),
            e_tag: Some(ETag::Strong(facts.etag)),
            size: Some(signed(facts.bytes)?),
            last_modified: Some(facts.modified.into()),
            ..Default::default()
        })
    });
    let common = page.common.into_iter().map(|prefix| CommonPrefix { prefix: Some(prefix) });
    Ok(ListObjectsV2Output {
        contents: Some(contents.collect::<S3Result<_>>()?),
        common_prefixes: Some(common.collect()),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next,
        key_count: Some(count),
        max_keys: Some(limit),
        name: Some(input.bucket),
        prefix: input.prefix,
        delimiter: input.delimiter,
        start_after: input.start_after,
        continuation_token: input.continuation_token,
        ..Default::default()
    })
}

fn may_read(
    facts: &Facts,
    if_match: Option<&ETagCondition>,
    if_none: Option<&ETagCondition>,
) -> S3Result<()> {
    let is = |condition: &ETagCondition| match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == facts.etag,
    };
    if if_match.is_some_and(|condition| !is(condition)) {
        return Err(s3_error!(PreconditionFailed, "a condition of the request did not hold"));
    }
    if if_none.is_some_and(is) {
        return Err(s3_error!(NotModified, "not modified"));
    }
    Ok(())
}

async fn collected(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut whole = BytesMut::new();
    if let Some(mut body) = body {
        while let Some(part) = body.next().await {
            whole.extend_from_slice(
                &part.map_err(|e| S3Error::with_source(s3s::S3ErrorCode::IncompleteBody, e))?,
            );
        }
    }
    Ok(whole.freeze())
}

fn signed(bytes: u64) -> S3Result<i64> {
    i64::try_from(bytes).map_err(S3Error::internal_error)
}
