//! A tiny orchestrator, to copy from. It runs services, each a process that writes into a volume.
//!
//! ```text
//! cargo run -p embed-orchestrator -- STORE-URL STATE-DIRECTORY SERVICE...
//! ```
//!
//! It stops its services in order when its standard input ends. Killed with -9 it stops nothing: the
//! services go on, and the next start with the same arguments takes up what lives and replaces what died.
//! `tests/restart.rs` does exactly that.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

mod journal;
mod orchestrator;
mod workload;

use orchestrator::Orchestrator;
use persist::{OpenMode, OpenOptions};
use std::{path::Path, process::ExitCode};
use tokio::io::{AsyncReadExt, stdin};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        // Not for people: what the orchestrator starts for a service.
        ["--workload", volume] => workload::run(Path::new(volume)).await,
        [url, state, ref services @ ..] if !services.is_empty() => supervise(url, state, services).await,
        _ => Err("usage: embed-orchestrator STORE-URL STATE-DIRECTORY SERVICE...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embed-orchestrator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn supervise(url: &str, state: &str, services: &[&str]) -> Outcome {
    let node = persist::this_host()?;
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing).with_node(node.clone());
    let store = persist::open_with(url, options).await?;
    let mut orchestrator = Orchestrator::new(store, node, Path::new(state))?;
    orchestrator.show_strangers().await;
    for service in services {
        println!("{}", orchestrator.ensure(service).await?);
    }
    println!("ready");
    stdin().read_to_end(&mut Vec::new()).await?;
    orchestrator.stop().await
}
