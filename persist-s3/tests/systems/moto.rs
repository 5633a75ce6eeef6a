//! moto: S3 as Amazon documents it today, in Python. It looks at no signature.

use super::{program::Running, service::Service};
use persist_s3::client::IfMatch;
use std::process::Command;

/// What it needs.
pub const PROGRAMS: &[&str] = &["moto_server"];

/// Starts it on a port that is free; it keeps everything in memory.
pub fn started() -> Service {
    let mut command = Command::new("moto_server");
    let url = |line: &str| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned());
    let (running, endpoint) = Running::start_and_hear(command.args(["-H", "127.0.0.1", "-p", "0"]), url);
    Service {
        endpoint,
        access_key: "AK".into(),
        secret_key: "SK".into(),
        if_match: IfMatch::Quoted,
        alive: (vec![running], None),
    }
}
