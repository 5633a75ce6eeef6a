//! HTTP and JSON to calls, and errors to the protocol's form: `{"Err": "..."}`.

use crate::{
    Plugin,
    protocol::{
        Activated, CapabilitiesAnswer, ClaimRequest, CreateRequest, Done, DriverCapabilities, Got, Listed,
        MEDIA_TYPE, Mountpoint, NameRequest, VouchRequest,
    },
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{fmt::Display, sync::Arc, time::Duration};

/// The largest request. Docker's are below a kilobyte; labels may be long.
const BODY_MAX_BYTES: usize = 1 << 20;

/// How long a request may take to arrive over a socket of this host.
const BODY_LIMIT: Duration = Duration::from_secs(10);

/// An answer, or a refusal in the protocol's form.
type Answer<T> = Result<Json<T>, Refusal>;

/// An answer as Docker reads it.
struct Json<T>(T);

/// A call that was refused, or failed.
struct Refusal(StatusCode, String);

/// The calls of the protocol, and an operator's. Docker sends all of them by POST.
pub(crate) fn router(plugin: Arc<Plugin>) -> Router {
    Router::new()
        .route("/Plugin.Activate", post(activate))
        .route("/VolumeDriver.Create", post(create))
        .route("/VolumeDriver.Remove", post(remove))
        .route("/VolumeDriver.Mount", post(mount))
        .route("/VolumeDriver.Unmount", post(unmount))
        .route("/VolumeDriver.Path", post(path))
        .route("/VolumeDriver.Get", post(get))
        .route("/VolumeDriver.List", post(list))
        .route("/VolumeDriver.Capabilities", post(capabilities))
        .route("/Persist.Vouch", post(vouch))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(plugin)
}

type Called = State<Arc<Plugin>>;

async fn activate() -> Json<Activated> {
    Json(Activated { implements: ["VolumeDriver"] })
}

async fn create(State(plugin): Called, body: Body) -> Answer<Done> {
    let CreateRequest { name, options } = read(body).await?;
    plugin.create(&name, options.unwrap_or_default()).await?;
    Ok(Json(Done {}))
}

async fn remove(State(plugin): Called, body: Body) -> Answer<Done> {
    let NameRequest { name } = read(body).await?;
    plugin.remove(&name).await?;
    Ok(Json(Done {}))
}

async fn mount(State(plugin): Called, body: Body) -> Answer<Mountpoint> {
    let ClaimRequest { name, id } = read(body).await?;
    Ok(Json(Mountpoint { path: plugin.mount(&name, &id).await? }))
}

async fn unmount(State(plugin): Called, body: Body) -> Answer<Done> {
    let ClaimRequest { name, id } = read(body).await?;
    plugin.unmount(&name, &id).await?;
    Ok(Json(Done {}))
}

async fn vouch(State(plugin): Called, body: Body) -> Answer<Done> {
    let VouchRequest { name, attachment, epoch, reason } = read(body).await?;
    plugin.vouch(&name, &attachment, epoch, &reason).await?;
    Ok(Json(Done {}))
}

async fn path(State(plugin): Called, body: Body) -> Answer<Mountpoint> {
    let NameRequest { name } = read(body).await?;
    Ok(Json(Mountpoint { path: plugin.path(&name).await? }))
}

async fn get(State(plugin): Called, body: Body) -> Answer<Got> {
    let NameRequest { name } = read(body).await?;
    Ok(Json(Got { volume: plugin.get(&name).await? }))
}

async fn list(State(plugin): Called) -> Json<Listed> {
    Json(plugin.list().await)
}

async fn capabilities(State(plugin): Called) -> Json<CapabilitiesAnswer> {
    let scope = plugin.scope().await;
    Json(CapabilitiesAnswer { capabilities: DriverCapabilities { scope } })
}

async fn unknown(uri: Uri) -> Refusal {
    let what = format!("no such call of the volume plugin protocol: {:?}", uri.path());
    Refusal(StatusCode::NOT_FOUND, what)
}

/// Reads a request, which is bounded in size and time.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let collected = tokio::time::timeout(BODY_LIMIT, Limited::new(body, BODY_MAX_BYTES).collect()).await;
    let bytes: Bytes = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let what = format!("the request is larger than {BODY_MAX_BYTES} bytes");
            return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, what));
        }
        Ok(Err(error)) => return Err(malformed(error)),
        Err(_) => {
            let what = format!("the request did not arrive within {} seconds", BODY_LIMIT.as_secs());
            return Err(Refusal(StatusCode::REQUEST_TIMEOUT, what));
        }
    };
    serde_json::from_slice(&bytes).map_err(malformed)
}

fn malformed(why: impl Display) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, format!("the request is not as the protocol says: {why}"))
}

/// What the store or the plugin refused. Docker shows the line; it does not read the status further.
impl From<persist::Error> for Refusal {
    fn from(error: persist::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(CONTENT_TYPE, MEDIA_TYPE)], bytes).into_response(),
            Err(error) => {
                let what = format!("the answer cannot be written: {error}");
                Refusal(StatusCode::INTERNAL_SERVER_ERROR, what).into_response()
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, line) = self;
        tracing::warn!(status = status.as_u16(), refused = %line);
        (status, [(CONTENT_TYPE, MEDIA_TYPE)], json!({ "Err": line }).to_string()).into_response()
    }
}
