//! A bucket in memory that counts what is put, fails, or never answers.

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use std::{
    fmt,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::sync::{Notify, mpsc};

#[derive(Debug, Default)]
pub(super) struct Bucket {
    inner: InMemory,
    answer: Answer,
    puts: AtomicUsize,
    begun: Notify,
}

#[derive(Debug, Default)]
enum Answer {
    #[default]
    Yes,
    No,
    Never(mpsc::Sender<()>),
}

impl Bucket {
    /// Refuses every object.
    pub(super) fn failing() -> Self {
        Self { answer: Answer::No, ..Self::default() }
    }

    /// Never answers; the receiver learns when a request was dropped.
    pub(super) fn hanging() -> (Self, mpsc::Receiver<()>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self { answer: Answer::Never(sender), ..Self::default() }, receiver)
    }

    pub(super) fn puts(&self) -> usize {
        self.puts.load(SeqCst)
    }

    /// Waits until a request has begun.
    pub(super) async fn begun(&self) {
        self.begun.notified().await;
    }
}

struct Dropped<'a>(&'a mpsc::Sender<()>);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.puts.fetch_add(1, SeqCst);
        self.begun.notify_one();
        match &self.answer {
            Answer::Yes => {}
            Answer::No => {
                return Err(object_store::Error::NotImplemented {
                    operation: "put".to_owned(),
                    implementer: "a bucket that refuses".to_owned(),
                });
            }
            Answer::Never(dropped) => {
                let _dropped = Dropped(dropped);
                std::future::pending::<()>().await;
            }
        }
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bucket in memory")
    }
}
