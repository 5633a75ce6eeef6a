//! The smallest embedding: a counter that outlives its process. Run it twice:
//! `cargo run --example embed -- local:///var/tmp/persist-embed#counter`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use persist::{BindOptions, OpenMode, OpenOptions};

#[tokio::main]
async fn main() {
    if let Err(error) = count().await {
        eprintln!("embed: {error}");
        std::process::exit(1);
    }
}

async fn count() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args_os().nth(1).unwrap_or_else(|| "local:///var/tmp/persist-embed#counter".into());
    let open = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
    let volume = persist::bind_with(&url.to_string_lossy(), open, BindOptions::default()).await?;

    let file = volume.path().join("runs");
    let runs: u64 = std::fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
    std::fs::write(&file, runs.to_string())?;
    volume.sync().await?;
    println!("run {runs}, kept in {}", file.display());

    volume.detach().await?;
    Ok(volume.store().close().await?)
}
