//! One request through the faults, the protocol and the log.

use crate::{
    faults::{Answer, Broken, Fault, Faults},
    log::{Entry, Outcome, RequestLog},
    protocol::Behind,
    seen::{Seen, Verb},
};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt;
use s3s::service::S3Service;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// A reply: its head, and as much of its body as the client gets.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Bytes,
    pub(crate) end: End,
}

/// How a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Cut,
}

/// What all connections of a server share.
pub(crate) struct Exchange {
    service: S3Service,
    pub(crate) faults: Arc<Faults>,
    pub(crate) log: Arc<RequestLog>,
    number: AtomicU64,
    /// Requests whose client was told that they are lost, and that are applied later.
    late: Mutex<JoinSet<()>>,
}

impl Exchange {
    pub(crate) fn new(service: S3Service) -> Self {
        Self {
            service,
            faults: Arc::default(),
            log: Arc::default(),
            number: AtomicU64::new(0),
            late: Mutex::default(),
        }
    }

    /// Answers one request, or breaks its connection.
    pub(crate) async fn handle(&self, request: Request<Bytes>) -> Result<Reply, Broken> {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = request.body().len() as u64;
        let seen = Seen::of(number, request.method(), request.uri(), request.headers(), bytes);
        let fault = self.faults.decide(&seen);
        let reply = match fault {
            None => self.apply(request).await,
            Some(fault) => self.fail(fault, &seen, request).await,
        };
        let outcome =
            reply.as_ref().map_or(Outcome::Broken, |reply| Outcome::Status(reply.head.status.as_u16()));
        let sent = reply.as_ref().map_or(0, |reply| reply.body.len() as u64);
        self.log.add(Entry { seen, outcome, fault }, sent);
        reply
    }

    /// Waits until every late request has been applied.
    pub(crate) async fn settle(&self) {
        let mut late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        while late.join_next().await.is_some() {}
    }

    async fn apply(&self, request: Request<Bytes>) -> Result<Reply, Broken> {
        apply(&self.service, request).await
    }

    async fn fail(&self, fault: Fault, seen: &Seen, mut request: Request<Bytes>) -> Result<Reply, Broken> {
        match fault {
            Fault::LostRequest(broken) => Err(broken),
            Fault::LostReply(broken) => {
                self.apply(request).await?;
                Err(broken)
            }
            Fault::Late(after) => {
                self.apply_late(request, after);
                Err(Broken::TimedOut)
            }
            Fault::Delay(by) => {
                tokio::time::sleep(by).await;
                self.apply(request).await
            }
            Fault::Duplicate => {
                let first = self.apply(request.clone()).await;
                self.apply(request).await?;
                first
            }
            Fault::Instead(answer) => refusal(answer, seen),
            Fault::After(answer) => {
                self.apply(request).await?;
                refusal(answer, seen)
            }
            Fault::StaleList(changes) => {
                request.extensions_mut().insert(Behind(changes));
                self.apply(request).await
            }
            Fault::CutBody | Fault::ShortBody | Fault::FlippedBit(_) => {
                Ok(damaged(self.apply(request).await?, fault))
            }
        }
    }

    fn apply_late(&self, request: Request<Bytes>, after: Duration) {
        let service = self.service.clone();
        let late = async move {
            tokio::time::sleep(after).await;
            // Nobody waits for this reply.
            drop(apply(&service, request).await);
        };
        self.late.lock().unwrap_or_else(PoisonError::into_inner).spawn(late);
    }
}

async fn apply(service: &S3Service, request: Request<Bytes>) -> Result<Reply, Broken> {
    let response = service.call(request.map(s3s::Body::from)).await.map_err(|_| Broken::Reset)?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|_| Broken::Reset)?.to_bytes();
    Ok(Reply { head, body, end: End::Whole })
}

fn refusal(answer: Answer, seen: &Seen) -> Result<Reply, Broken> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{0}</Code><Message>{0}</Message><RequestId>{1}</RequestId></Error>",
        answer.code, seen.number
    );
    // The reply to a HEAD has no body: the client sees the status alone.
    let body = if seen.verb == Verb::Head { Bytes::new() } else { Bytes::from(text) };
    let response = Response::builder().status(answer.status).header(header::CONTENT_TYPE, "application/xml");
    let (head, ()) = response.body(()).map_err(|_| Broken::Reset)?.into_parts();
    Ok(Reply { head, body, end: End::Whole })
}

fn damaged(mut reply: Reply, fault: Fault) -> Reply {
    let bytes = reply.body.len();
    match fault {
        _ if bytes == 0 || !reply.head.status.is_success() => {}
        Fault::CutBody => {
            reply.body.truncate(bytes / 2);
            reply.end = End::Cut;
        }
        Fault::ShortBody => {
            reply.body.truncate(bytes / 2);
            reply.head.headers.insert(header::CONTENT_LENGTH, ((bytes / 2) as u64).into());
        }
        Fault::FlippedBit(at) => {
            let at = usize::try_from(at % (bytes as u64 * 8)).unwrap_or_default();
            let mut body = reply.body.to_vec();
            body[at / 8] ^= 1 << (at % 8);
            reply.body = body.into();
        }
        _ => {}
    }
    reply
}
