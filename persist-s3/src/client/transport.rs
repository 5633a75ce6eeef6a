//! Requests that end in time, whatever makes the connections.

use async_trait::async_trait;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
        ReqwestConnector,
    },
};
use std::{io, sync::Arc, time::Duration};

/// Connections of `connector`, or of the usual one, whose requests are given up after `timeout`.
///
/// A transport's own timeout also covers the body. This one covers transports that have none, and runs on
/// tokio's clock, which tests pause.
pub(super) fn bounded(connector: Option<Arc<dyn HttpConnector>>, timeout: Duration) -> impl HttpConnector {
    let inner = connector.unwrap_or_else(|| Arc::new(ReqwestConnector::default()));
    Bounded { inner, timeout }
}

/// Connections of a connector that others have as well.
pub(super) fn shared(connector: Arc<dyn HttpConnector>) -> impl HttpConnector {
    Shared(connector)
}

#[derive(Debug)]
struct Shared(Arc<dyn HttpConnector>);

impl HttpConnector for Shared {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        self.0.connect(options)
    }
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<dyn HttpConnector>,
    timeout: Duration,
}

#[derive(Debug)]
struct BoundedClient {
    inner: HttpClient,
    timeout: Duration,
}

impl HttpConnector for Bounded {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.inner.connect(options)?;
        Ok(HttpClient::new(BoundedClient { inner, timeout: self.timeout }))
    }
}

#[async_trait]
impl HttpService for BoundedClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let late = |_| {
            let error = io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
            HttpError::new(HttpErrorKind::Timeout, error)
        };
        tokio::time::timeout(self.timeout, self.inner.execute(request)).await.map_err(late)?
    }
}
