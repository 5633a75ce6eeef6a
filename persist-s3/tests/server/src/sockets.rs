//! The server on a socket, HTTP/1.1.

use crate::exchange::{End, Exchange, Reply};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{io, sync::Arc};
use tokio::{net::TcpListener, task::JoinSet};

/// The largest body that is taken, and held in memory: the largest object of persist-s3 is a pack of some 32 MiB, but
/// a tool that the benchmarks compare it with sends a file of a toolchain, of 200 MiB, as one object.
const LARGEST: usize = 512 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until `stop` is done; connections that are open then are closed.
pub(crate) async fn serve(
    exchange: Arc<Exchange>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                let exchange = Arc::clone(&exchange);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&exchange), request));
                    // A connection that breaks is the client's to notice.
                    drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
    Ok(())
}

async fn answer(
    exchange: Arc<Exchange>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, Failure>>, Failure> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
    let reply = exchange.handle(Request::from_parts(head, body)).await;
    let Reply { head, body, end } = reply.map_err(|broken| format!("planned: {broken:?}"))?;
    let cut = (end == End::Cut).then(|| Err("planned: cut".into()));
    let frames = stream::iter([Ok(Frame::data(body))].into_iter().chain(cut));
    Ok(Response::from_parts(head, BodyExt::boxed(StreamBody::new(frames))))
}
