//! A build publishes configuration and static files; any number of readers follow. A reader sees one version
//! or the next one, never half of each.
//!
//! ```text
//! cargo run --features s3 --example publish-and-read             a bucket in this process
//! cargo run --features s3 --example publish-and-read -- URL      s3://bucket/prefix?..., credentials by AWS_...
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

mod bucket;

use bucket::{Bucket, Outcome};
use persist::attachment::RefreshOptions;
use persist::volume::{DeleteOptions, Trash};
use persist::{
    Access, AttachOptions, Attachment, BindOptions, Bound, DetachOptions, VolumeName, VolumeStore,
    VolumeStoreExt,
};
use std::{fs, path::Path, sync::Arc, time::Instant};

const READERS: usize = 3;
const PAGES: usize = 200;

/// A host that reads what was published.
struct Reader {
    name: String,
    store: Arc<dyn VolumeStore>,
    attachment: Attachment,
}

#[tokio::main]
async fn main() {
    if let Err(error) = publish_and_read().await {
        eprintln!("publish-and-read: {error}");
        std::process::exit(1);
    }
}

async fn publish_and_read() -> Outcome {
    let bucket = Bucket::from_arguments()?;
    let volume = VolumeName::new("site")?;
    println!("The store {}", bucket.url());
    let build = bucket.open("build").await?;
    let bound = build.bind(&volume, BindOptions::default()).await?;
    bucket.moved();
    publish(&bucket, &bound, 1).await?;

    let mut readers = Vec::new();
    for n in 1..=READERS {
        readers.push(Reader::attach(&bucket, format!("reader-{n}"), &volume).await?);
    }
    for version in 2..=3 {
        publish(&bucket, &bound, version).await?;
        for reader in &readers {
            reader.follow(&bucket, version).await?;
        }
    }

    for reader in readers {
        reader.leave().await?;
    }
    bound.detach().await?;
    build.delete(&volume, DeleteOptions::default().with_trash(Trash::Bypass)).await?;
    Ok(build.close().await?)
}

/// Writes a version, and makes it the one that readers get: that is what a sync is.
async fn publish(bucket: &Bucket, bound: &Bound, version: u32) -> Outcome {
    let site = bound.path();
    fs::create_dir_all(site.join("static"))?;
    fs::write(site.join("config.toml"), format!("version = {version}\n"))?;
    fs::write(site.join("static/index.html"), format!("<p>version {version}</p>\n"))?;
    if version == 1 {
        for n in 0..PAGES {
            fs::write(site.join(format!("static/page-{n}.html")), format!("<p>{n}</p>").repeat(400))?;
        }
    }
    let started = Instant::now();
    bound.sync().await?;
    println!("\nbuild: published version {version} in {:.2?}\n  {}", started.elapsed(), bucket.moved());
    Ok(())
}

impl Reader {
    async fn attach(bucket: &Bucket, name: String, volume: &VolumeName) -> Outcome<Self> {
        let store = bucket.open(&name).await?;
        bucket.moved();
        let started = Instant::now();
        let options = AttachOptions::default().with_access(Access::ReadOnly);
        let attachment = store.attach(volume, options).await?;
        check(attachment.path(), 1)?;
        println!("{name}: reads version 1 after {:.2?}\n  {}", started.elapsed(), bucket.moved());
        Ok(Self { name, store, attachment })
    }

    /// Moves on to the newest version; until then the old one stays as it was.
    async fn follow(&self, bucket: &Bucket, version: u32) -> Outcome {
        let started = Instant::now();
        let newer = self.store.refresh(&self.attachment.id, RefreshOptions::default()).await?;
        check(&newer.path, version)?;
        println!("{}: moved to version {version} in {:.2?}", self.name, started.elapsed());
        println!("  {}", bucket.moved());
        Ok(())
    }

    async fn leave(self) -> Outcome {
        self.store.detach(&self.attachment.id, DetachOptions::default()).await?;
        Ok(self.store.close().await?)
    }
}

/// A version is whole: its configuration and its pages are of one build.
fn check(site: &Path, version: u32) -> Outcome {
    let config = fs::read_to_string(site.join("config.toml"))?;
    let index = fs::read_to_string(site.join("static/index.html"))?;
    let pages = fs::read_dir(site.join("static"))?.count() - 1;
    let whole = config == format!("version = {version}\n") && index.contains(&format!("version {version}<"));
    if whole && pages == PAGES {
        return Ok(());
    }
    Err(format!("not version {version}: {config:?}, {index:?}, {pages} pages").into())
}
