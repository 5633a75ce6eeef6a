//! One host writes a volume and detaches it; another attaches it, and finds the same bytes, owners, holes and
//! links. Only the bucket is between them.
//!
//! ```text
//! cargo run --features s3 --example s3_roundtrip               a bucket in this process
//! cargo run --features s3 --example s3_roundtrip -- URL        s3://bucket/prefix?..., credentials by AWS_...
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

mod bucket;

use bucket::{Bucket, Outcome};
use persist::volume::{DeleteOptions, Trash};
use persist::{BindOptions, VolumeName, VolumeStoreExt};
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
    time::Instant,
};

/// The hole in the file that has one.
const HOLE_BYTES: u64 = 64 << 20;

#[tokio::main]
async fn main() {
    if let Err(error) = roundtrip().await {
        eprintln!("s3_roundtrip: {error}");
        std::process::exit(1);
    }
}

async fn roundtrip() -> Outcome {
    let bucket = Bucket::from_arguments()?;
    let volume = VolumeName::new("roundtrip")?;
    println!("1. The store {}", bucket.url());
    let alpha = bucket.open("alpha").await?;
    println!("   probed and opened: {}", bucket.moved());

    println!("2. Host alpha attaches a new volume, writes, and detaches");
    let bound = alpha.bind(&volume, BindOptions::default()).await?;
    let path = bound.path().to_owned();
    write(&path)?;
    let written = describe(&path)?;
    println!("   {} entries in {}", written.len(), path.display());
    let started = Instant::now();
    bound.detach().await?;
    println!("   detached in {:.2?}: {}", started.elapsed(), bucket.moved());
    println!("   left on alpha: {}", if path.exists() { "the copy" } else { "nothing of it" });
    alpha.close().await?;

    println!("3. Host beta, which has nothing, attaches it");
    let beta = bucket.open("beta").await?;
    println!("   opened: {}", bucket.moved());
    let started = Instant::now();
    let bound = beta.bind(&volume, BindOptions::default()).await?;
    println!("   attached in {:.2?}: {}", started.elapsed(), bucket.moved());
    let found = describe(bound.path())?;
    compare(&written, &found)?;
    for (path, facts) in &found {
        println!("   the same  {path:<10} {facts}");
    }
    bound.detach().await?;
    beta.delete(&volume, DeleteOptions::default().with_trash(Trash::Bypass)).await?;
    Ok(beta.close().await?)
}

/// A little of everything that a copy could lose.
fn write(root: &Path) -> Outcome {
    fs::create_dir(root.join("etc"))?;
    fs::write(root.join("etc/shop.conf"), "currency = apples\n")?;
    fs::set_permissions(root.join("etc/shop.conf"), Permissions::from_mode(0o640))?;
    fs::hard_link(root.join("etc/shop.conf"), root.join("same-file"))?;
    symlink("etc/shop.conf", root.join("current"))?;
    let mut sparse = File::create(root.join("sparse"))?;
    sparse.seek(SeekFrom::Start(HOLE_BYTES))?;
    sparse.write_all(b"after the hole")?;
    fs::write(root.join("theirs"), "of another user\n")?;
    // Only root may give files away; without, the volume is its user's alone.
    if root.metadata()?.uid() == 0 {
        chown(root.join("theirs"), Some(1234), Some(5678))?;
    }
    Ok(())
}

/// Every entry with what this example compares: kind, mode, owner, names, time, holes, content.
fn describe(root: &Path) -> Outcome<BTreeMap<String, String>> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let meta = path.symlink_metadata()?;
            let what = if meta.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path)?.display())
            } else {
                let mut hasher = DefaultHasher::new();
                fs::read(&path)?.hash(&mut hasher);
                // st_blocks counts units of 512 bytes, inode(7).
                let holes = if meta.blocks() * 512 < meta.len() { "with a hole" } else { "no hole" };
                let (names, content) = (meta.nlink(), hasher.finish());
                format!("{} bytes, {holes}, {names} names, {content:016x}", meta.len())
            };
            let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
            let facts = format!("{mode:04o} {uid}:{gid} {}.{:09} {what}", meta.mtime(), meta.mtime_nsec());
            found.insert(path.strip_prefix(root)?.display().to_string(), facts);
        }
    }
    Ok(found)
}

fn compare(written: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Outcome {
    let all = written.keys().chain(found.keys());
    match all.into_iter().find(|path| written.get(*path) != found.get(*path)) {
        None => Ok(()),
        Some(path) => {
            Err(format!("{path}: written {:?}, found {:?}", written.get(path), found.get(path)).into())
        }
    }
}
