//! `persist-s3-server`: an S3 server over files, for trying persist-s3 without a cloud and for its tests.

use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{env, io, path::PathBuf, process::ExitCode};
use tokio::net::TcpListener;

const USAGE: &str = "persist-s3-server --dir DIR --access-key KEY --secret-key SECRET
                  [--bucket NAME (default: persist)] [--port PORT (default: 0, any that is free)]

Serves S3 on 127.0.0.1 until SIGINT or SIGTERM, and prints its URL when it does.";

/// What the command line says.
struct Arguments {
    dir: PathBuf,
    access_key: String,
    secret_key: String,
    bucket: String,
    port: u16,
}

#[expect(clippy::print_stderr, reason = "a program says what went wrong")]
fn main() -> ExitCode {
    let done = match parse(env::args().skip(1)) {
        Ok(arguments) => run(arguments).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error}\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("persist-s3-server: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the URL is the program's output")]
async fn run(arguments: Arguments) -> io::Result<()> {
    let keys = KeyPair::new(arguments.access_key, arguments.secret_key);
    let server = Server::in_files(arguments.dir, ServerOptions::new(arguments.bucket, keys))?;
    let listener = TcpListener::bind(("127.0.0.1", arguments.port)).await?;
    println!("http://{}", listener.local_addr()?);
    server.serve(listener, stopped()).await
}

/// Waits for SIGINT or SIGTERM; without a handler for them, for ever.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut dir, mut access_key, mut secret_key) = (None, None, None);
    let (mut bucket, mut port) = ("persist".to_owned(), 0);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--dir" => dir = Some(PathBuf::from(value)),
            "--access-key" => access_key = Some(value),
            "--secret-key" => secret_key = Some(value),
            "--bucket" => bucket = value,
            "--port" => port = value.parse().map_err(|_| "--port needs a number up to 65535")?,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(Arguments {
        dir: dir.ok_or("--dir is missing")?,
        access_key: access_key.ok_or("--access-key is missing")?,
        secret_key: secret_key.ok_or("--secret-key is missing")?,
        bucket,
        port,
    })
}
