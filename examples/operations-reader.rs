//! An operations application reads the logs while production writes them, and cannot change a byte.
//!
//! ```text
//! cargo run --features nfs --example operations-reader -- write 'nfs://files/srv?directory=volumes#logs'
//! cargo run --features nfs --example operations-reader -- read 'nfs://files/srv?directory=volumes#logs' /mnt/logs
//! ```
//!
//! `write` adds a line and leaves; `read` shows the volume at a directory, read-only, prints what is in it, and tries
//! to write, which the kernel refuses. Both need root for their mounts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use persist::{Access, AttachOptions, BindOptions, OpenMode, OpenOptions, VolumeUrl, Workload};
use std::{fs, io::Write};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["write", url] => write(url).await,
        ["read", url, target] => read(url, target).await,
        _ => Err("usage: operations-reader write STORE-URL#VOLUME | read STORE-URL#VOLUME DIRECTORY".into()),
    };
    if let Err(error) = done {
        eprintln!("operations-reader: {error}");
        std::process::exit(1);
    }
}

fn options() -> OpenOptions {
    OpenOptions::default().with_state_directory("/run/operations-reader")
}

/// Production: the one writer.
async fn write(url: &str) -> Outcome {
    let open = options().with_mode(OpenMode::CreateIfMissing);
    let logs = persist::bind_with(url, open, BindOptions::default()).await?;
    let mut log = fs::File::options().create(true).append(true).open(logs.path().join("log"))?;
    writeln!(log, "written by process {}", std::process::id())?;
    logs.sync().await?;
    logs.detach().await?;
    Ok(logs.store().close().await?)
}

/// Operations: looks, live, beside the writer. It never creates what it was to read.
async fn read(url: &str, target: &str) -> Outcome {
    let VolumeUrl { store, volume } = url.parse()?;
    let store = persist::open_with(&store.to_string(), options().with_node(persist::this_host()?)).await?;
    fs::create_dir_all(target)?;
    let reader = AttachOptions::default()
        .with_access(Access::ReadOnly)
        .with_workload(Workload::new("operations")?)
        .with_target(target);
    let logs = store.attach(&volume, reader).await?;
    match logs.report().lag {
        None => println!("live at {}", logs.path().display()),
        Some(lag) => println!("as of {lag:?} ago at {}", logs.path().display()),
    }
    print!("{}", fs::read_to_string(logs.path().join("log"))?);
    match fs::write(logs.path().join("log"), "") {
        Err(refused) => println!("cannot write: {refused}"),
        Ok(()) => return Err("a reader wrote".into()),
    }
    store.detach(&logs.id, Default::default()).await?;
    Ok(store.close().await?)
}
