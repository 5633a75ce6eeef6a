//! moto: S3 as Amazon documents it today, in Python. It looks at no signature.
//!
//! Its own program answers in several threads and checks a condition before it writes, without a lock: on a busy
//! machine the probe saw two of sixteen writers win, and refused it. Here one request is answered after the
//! other, so that it is what it stands for.

use super::{
    program::Running,
    service::{self, Service},
};
use persist_s3::client::IfMatch;
use std::{path::PathBuf, process::Command};
use tokio::sync::OnceCell;

/// What it needs; the second is the one beside the first.
pub const PROGRAMS: &[&str] = &["moto_server", "python3"];

/// Reads requests in threads of their own, and lets them in one by one.
const ONE_BY_ONE: &str = r#"
import io, threading
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

moto, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
    with turn:
        return [b"".join(moto(environ, start_response))]

run_simple("127.0.0.1", 0, application, threaded=True)
"#;

/// Starts it on a port that is free; it keeps everything in memory.
pub fn started() -> Service {
    let url = |line: &str| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned());
    let (running, endpoint) = Running::start_and_hear(Command::new(python()).args(["-c", ONE_BY_ONE]), url);
    service::ready(Service {
        endpoint,
        access_key: "AK".into(),
        secret_key: "SK".into(),
        if_match: IfMatch::Quoted,
        cluster: None,
        marker: OnceCell::new(),
        alive: vec![running],
    })
}

/// The interpreter that has moto.
fn python() -> PathBuf {
    super::program::found("moto_server").unwrap().with_file_name("python3")
}
