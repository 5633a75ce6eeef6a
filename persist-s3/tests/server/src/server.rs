//! A server, and what it is made with.

use crate::{
    access::{KeyPair, Keys},
    conditions::Conditions,
    conditions::Wanted,
    exchange::Exchange,
    faults::Faults,
    in_process::InProcess,
    log::RequestLog,
    protocol::Protocol,
    sockets,
    store::{Ask, Draft, Files, Key, Store},
};
use bytes::Bytes;
use s3s::service::S3ServiceBuilder;
use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc, time::SystemTime};
use tokio::net::TcpListener;

/// What a server is made with.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its buckets; no others can be made.
    pub buckets: Vec<String>,
    /// Who may use it.
    pub keys: Vec<KeyPair>,
    /// How well it keeps conditional writes.
    pub conditions: Conditions,
}

/// An S3 server.
///
/// Cheap to clone; all clones are the same server. Beside the protocol, a test may look at objects and
/// change them directly: [`object`](Self::object), [`plant`](Self::plant), [`remove`](Self::remove) and
/// [`keys`](Self::keys) meet no fault and no permission, and are not logged.
#[derive(Clone)]
pub struct Server {
    store: Arc<Store>,
    exchange: Arc<Exchange>,
}

impl ServerOptions {
    /// A server with one bucket, one pair of keys and atomic conditions.
    pub fn new(bucket: impl Into<String>, keys: KeyPair) -> Self {
        Self { buckets: vec![bucket.into()], keys: vec![keys], conditions: Conditions::Atomic }
    }

    /// With other conditions.
    #[must_use]
    pub fn with_conditions(mut self, conditions: Conditions) -> Self {
        self.conditions = conditions;
        self
    }

    /// With one more pair of keys.
    #[must_use]
    pub fn with_keys(mut self, keys: KeyPair) -> Self {
        self.keys.push(keys);
        self
    }

    /// With one more bucket.
    #[must_use]
    pub fn with_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.buckets.push(bucket.into());
        self
    }
}

impl Server {
    /// A server whose objects are gone with it.
    pub fn in_memory(options: ServerOptions) -> Self {
        Self::over(Store::in_memory(&options.buckets), options)
    }

    /// A server whose objects are in files below `dir`: every write that it acknowledged is there again
    /// after a kill or a power cut. Only one server may have the directory at a time. Blocks.
    ///
    /// # Errors
    /// As the filesystem reports them; also where another server has the directory.
    pub fn in_files(dir: PathBuf, options: ServerOptions) -> io::Result<Self> {
        Ok(Self::over(Store::in_files(Files::open(dir)?, &options.buckets)?, options))
    }

    /// Connects clients of `object_store` in this process. Their endpoint is any `http://` URL, and they
    /// must use path-style requests, which is their default.
    pub fn connector(&self) -> InProcess {
        InProcess(Arc::clone(&self.exchange))
    }

    /// Serves HTTP on `listener` until `stop` is done.
    ///
    /// # Errors
    /// As the system reports them for the listener.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> io::Result<()> {
        sockets::serve(Arc::clone(&self.exchange), listener, stop).await
    }

    /// What goes wrong, and what did.
    pub fn faults(&self) -> &Faults {
        &self.exchange.faults
    }

    /// What was asked.
    pub fn log(&self) -> &RequestLog {
        &self.exchange.log
    }

    /// Waits until every request that a fault made late has been applied.
    pub async fn settle(&self) {
        self.exchange.settle().await;
    }

    /// The content of an object, if it is there.
    ///
    /// # Errors
    /// As the filesystem reports them.
    pub fn object(&self, bucket: &str, key: &str) -> io::Result<Option<Bytes>> {
        let at = Key { bucket: bucket.to_owned(), key: key.to_owned() };
        let found = self.store.get(&at).ok();
        found.map(|found| found.read(0..found.facts.bytes)).transpose()
    }

    /// Writes an object, whatever is there.
    ///
    /// # Errors
    /// Where there is no such bucket, and as the filesystem reports them.
    #[expect(clippy::disallowed_methods, reason = "the server's clock, as S3 shows it in Last-Modified")]
    pub fn plant(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> io::Result<()> {
        let at = Key { bucket: bucket.to_owned(), key: key.to_owned() };
        let (body, modified, metadata) = (body.into(), SystemTime::now(), BTreeMap::new());
        let draft = Draft { body, modified, content_type: None, metadata };
        self.store.put(&at, draft, &Wanted::Anything, Conditions::Atomic).map(drop).map_err(io::Error::other)
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// Where there is no such bucket, and as the filesystem reports them.
    pub fn remove(&self, bucket: &str, key: &str) -> io::Result<()> {
        let at = Key { bucket: bucket.to_owned(), key: key.to_owned() };
        self.store.delete(&at).map_err(io::Error::other)
    }

    /// The names of all objects of a bucket below `prefix`, in order.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let ask = Ask { prefix: prefix.to_owned(), limit: usize::MAX, ..Ask::default() };
        let page = self.store.list(bucket, &ask, 0).unwrap_or_default();
        page.objects.into_iter().map(|(key, _)| key).collect()
    }

    fn over(store: Store, options: ServerOptions) -> Self {
        let store = Arc::new(store);
        let protocol = Protocol { store: Arc::clone(&store), conditions: options.conditions };
        let keys = Keys::new(&options.keys);
        let mut service = S3ServiceBuilder::new(protocol);
        service.set_auth(keys.clone());
        service.set_access(keys);
        Self { store, exchange: Arc::new(Exchange::new(service.build())) }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
