//! One request to a plugin's socket: what an operator asks by this program, and what tests ask.

use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use persist::{Error, ErrorKind, Result, Retry, linux::cause::cause};
use serde_json::Value;
use std::{path::Path, time::Duration};
use tokio::net::UnixStream;

/// Longer than a plugin takes, and than Docker waits: two minutes.
const LIMIT: Duration = Duration::from_secs(150);

/// More than a list of a hundred thousand volumes.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// Asks the plugin at `socket`, and gives its answer, or its refusal as an error of kind `Unavailable`.
///
/// # Errors
/// `Unavailable`, with the plugin's own line; else as the system reports them for the socket.
pub async fn call(socket: &Path, endpoint: &str, request: &Value) -> Result<Value> {
    let answered = tokio::time::timeout(LIMIT, exchange(socket, endpoint, request.to_string().into())).await;
    let (_, answer) = answered.unwrap_or_else(|_| Err(unanswered("no answer in time")))?;
    match answer.get("Err").and_then(Value::as_str).filter(|line| !line.is_empty()) {
        Some(line) => Err(Error::new(ErrorKind::Unavailable, line.to_owned()).during("ask", endpoint)),
        None => Ok(answer),
    }
}

/// Sends these bytes, and gives the status and the answer whatever they are.
///
/// # Errors
/// As the system reports them for the socket; `Unavailable` for what is no HTTP or no JSON.
pub async fn exchange(socket: &Path, endpoint: &str, body: Bytes) -> Result<(u16, Value)> {
    let stream = UnixStream::connect(socket).await.map_err(|e| cause(e, "connect to", socket.display()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unanswered)?;
    let request = Request::post(format!("/{endpoint}")).header("Host", "plugin").body(Full::new(body));
    let request = request.map_err(|e| Error::invalid("endpoint", e.to_string()))?;
    let talk = async move {
        let response = sender.send_request(request).await.map_err(unanswered)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
        let bytes = body.map_err(unanswered)?.to_bytes();
        serde_json::from_slice(&bytes).map(|answer| (status, answer)).map_err(unanswered)
    };
    // The connection ends with its sender; how is told by the answer.
    let (answer, _) = tokio::join!(talk, connection);
    answer
}

fn unanswered(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Unavailable, "the plugin does not answer as it should")
        .with_retry(Retry::Verify)
        .with_source(error)
}
