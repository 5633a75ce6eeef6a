//! Credentials with marks in them, and everything that is printed searched for the marks.

#![allow(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::panic, reason = "a test")]

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    ClientOptions, ObjectStoreExt, PutPayload,
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    },
    path::Path,
};
use persist_core::{Extension, OpenOptions};
use persist_s3::{Clients, Credentials, S3Config, S3Options, client::Effect, config::Transport};
use std::{
    ffi::OsString,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex},
};
use tracing_subscriber::fmt::MakeWriter;

const KEY: &str = "canaryKEYid";
const SECRET: &str = "canarySECRETkey";
const TOKEN: &str = "canaryTOKENofSession";

/// A server that answers every request with all that it was told, as an error.
#[derive(Debug, Clone)]
struct Parrot(u16);

impl HttpConnector for Parrot {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Parrot {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let told = format!("{:?}", request.headers());
        assert!(told.contains(KEY) && told.contains(TOKEN), "the marks do not travel: {told}");
        let body = format!("<Error><Code>{told}</Code><Message>{told} {SECRET}</Message></Error>");
        let response = http::Response::builder().status(self.0).header("location", told.len());
        Ok(response.body(HttpResponseBody::from(Bytes::from(body))).unwrap())
    }
}

fn config() -> S3Config {
    let mut config = S3Config::new("bucket");
    config.endpoint = Some("http://in.process".into());
    config.transport = Transport::PlainAllowed;
    config
}

fn credentials() -> [Credentials; 2] {
    let variables = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some(OsString::from(KEY)),
        "AWS_SECRET_ACCESS_KEY" => Some(OsString::from(SECRET)),
        "AWS_SESSION_TOKEN" => Some(OsString::from(TOKEN)),
        _ => None,
    };
    let keys = Credentials::keys(KEY, SECRET).with_session_token(TOKEN);
    [keys, Credentials::from_variables(variables).unwrap()]
}

/// What the clients, their options and every error of theirs print.
async fn printed(status: u16, credentials: Credentials) -> String {
    let options = S3Options::default().with_credentials(credentials).with_connector(Parrot(status));
    let clients = Clients::connect(&config(), &options).unwrap();
    let open = OpenOptions::default().with_extension(Extension::from(options));
    let mut out = format!("{open:?} {clients:?} {:?} {}", clients.head, clients.head);
    write!(out, "{:?} {}", clients.data, clients.data).unwrap();
    let key = Path::from("k");
    let errors = [
        clients.head.get(&key).await.err(),
        clients.head.put(&key, PutPayload::from_static(b"x")).await.err(),
        clients.head.delete(&key).await.err(),
        clients.head.list(None).try_collect::<Vec<_>>().await.err(),
        clients.data.get(&key).await.err(),
    ];
    for error in errors {
        let error = persist_s3::client::error(&error.unwrap(), Effect::Write);
        write!(out, "{error} {error:?} {error:#?}").unwrap();
    }
    out
}

#[tokio::test(start_paused = true)]
async fn no_credential_is_ever_printed_even_if_the_server_repeats_it() {
    let log = Log::default();
    let traced = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    let guard = tracing::subscriber::set_default(traced.finish());
    tracing::info!("this is written");
    for status in [301, 400, 401, 403, 404, 409, 412, 503] {
        for credentials in credentials() {
            let out = printed(status, credentials).await;
            assert!(!out.contains("canary"), "{status}: {out}");
        }
    }
    drop(guard);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("this is written"), "nothing was traced");
    assert!(!log.contains("canary"), "{log}");
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
