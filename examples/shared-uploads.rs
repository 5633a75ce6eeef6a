//! Two front ends, one directory: each keeps what its users upload, and serves what users of the other did.
//! Run it on two hosts, or in two terminals:
//!
//! ```text
//! cargo run --features nfs --example shared-uploads -- 'nfs://files/srv?directory=volumes#uploads' front-1
//! cargo run --features nfs --example shared-uploads -- 'nfs://files/srv?directory=volumes#uploads' front-2
//! ```
//!
//! Mounting needs root; `nfs+mounted:///mnt/files/volumes#uploads`, on a mount that is there, does not.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use futures::TryStreamExt;
use persist::{
    Access, AttachOptions, BindOptions, OpenMode, OpenOptions, Workload, attachment::AttachmentFilter,
};
use std::{fs, path::Path};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() {
    if let Err(error) = serve().await {
        eprintln!("shared-uploads: {error}");
        std::process::exit(1);
    }
}

async fn serve() -> Outcome {
    let mut words = std::env::args().skip(1);
    let (Some(url), Some(name)) = (words.next(), words.next()) else {
        return Err("usage: shared-uploads STORE-URL#VOLUME FRONT-END".into());
    };
    let open = OpenOptions::default()
        .with_mode(OpenMode::CreateIfMissing)
        .with_state_directory("/run/shared-uploads");
    // Without it, the second front end would be refused: one writer is the default.
    let shared = AttachOptions::default()
        .with_access(Access::SharedAcrossNodes)
        .with_workload(Workload::new(name.as_str())?);
    let uploads = persist::bind_with(&url, open, BindOptions::default().with_attach(shared)).await?;
    println!("{name} serves {}; fencing is {:?}", uploads.path().display(), uploads.attachment().fencing());

    keep(uploads.path(), &name, b"a picture")?;
    uploads.sync().await?; // the server has it now
    for file in fs::read_dir(uploads.path())? {
        println!("  {}", file?.file_name().display());
    }
    let all = uploads.store().attachments(AttachmentFilter::default());
    for front in all.try_collect::<Vec<_>>().await? {
        println!("  attached: {} since {}", front.holder.workload, front.since);
    }

    uploads.detach().await?;
    Ok(uploads.store().close().await?)
}

/// Keeps an upload whole: the other front end sees all of it or nothing. Names begin with the front end, so
/// two of them never write one file.
fn keep(directory: &Path, front_end: &str, content: &[u8]) -> Outcome {
    let number = fs::read_dir(directory)?.count();
    let path = directory.join(format!("{front_end}-{number}"));
    let draft = directory.join(format!(".draft-{front_end}"));
    fs::write(&draft, content)?;
    fs::File::open(&draft)?.sync_all()?;
    Ok(fs::rename(&draft, &path)?)
}
