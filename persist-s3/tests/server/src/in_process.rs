//! The server as a transport of `object_store`: no socket, no thread, no clock but tokio's.

use crate::{
    exchange::{End, Exchange, Reply},
    faults::Broken,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use std::{fmt, io, sync::Arc};

/// Connects clients of `object_store` to a [`Server`](crate::Server) in this process.
///
/// The timeouts of [`ClientOptions`] are its transport's to keep, so here they do not apply: a delay ends
/// when it ends, or when the caller drops the request. A dropped request is not applied.
#[derive(Clone)]
pub struct InProcess(pub(crate) Arc<Exchange>);

impl HttpConnector for InProcess {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for InProcess {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        complete(&mut head, body.len());
        let reply = self.0.handle(http::Request::from_parts(head, body)).await;
        reply.map(response).map_err(error)
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

/// Adds what a client leaves to its transport: the host, which it signs, and the length
/// (RFC 9112, 3.2 and 6.2).
fn complete(head: &mut http::request::Parts, bytes: usize) {
    let host = head.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    host.map(|host| head.headers.insert(header::HOST, host));
    if bytes > 0 {
        head.headers.insert(header::CONTENT_LENGTH, (bytes as u64).into());
    }
}

fn response(reply: Reply) -> HttpResponse {
    let Reply { head, body, end } = reply;
    let body = match end {
        End::Whole => HttpResponseBody::from(body),
        End::Cut => {
            let frames: [Result<Frame<Bytes>, HttpError>; 2] =
                [Ok(Frame::data(body)), Err(error(Broken::Reset))];
            HttpResponseBody::new(StreamBody::new(stream::iter(frames)))
        }
    };
    HttpResponse::from_parts(head, body)
}

fn error(broken: Broken) -> HttpError {
    let (kind, what, text) = match broken {
        Broken::Refused => (HttpErrorKind::Connect, io::ErrorKind::ConnectionRefused, "connection refused"),
        Broken::Reset => (HttpErrorKind::Interrupted, io::ErrorKind::ConnectionReset, "connection reset"),
        Broken::TimedOut => (HttpErrorKind::Timeout, io::ErrorKind::TimedOut, "operation timed out"),
    };
    HttpError::new(kind, io::Error::new(what, text))
}
