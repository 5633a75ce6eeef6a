//! Objects in files: one file an object, its facts in front of its content.
//!
//! An object is written beside the others, made durable, and renamed to its place, whose directory is made
//! durable as well: a server that is killed at any point has the old object or the new one, and has every
//! object that it acknowledged.

use super::{Facts, Key, hex};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Where unfinished objects are; they are removed at the next start.
const STAGING: &str = ".staging";

/// Held by the server of a directory while it lives.
const LOCK: &str = ".lock";

/// A directory of buckets, for this server alone.
#[derive(Debug)]
pub(crate) struct Files {
    root: PathBuf,
    _lock: File,
}

/// An object's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(PathBuf);

/// An object that is durable and not visible yet.
#[derive(Debug)]
pub(crate) struct Staged {
    file: NamedTempFile,
    place: Place,
}

#[derive(Serialize, Deserialize)]
struct Header {
    key: String,
    facts: Facts,
}

impl Files {
    /// Takes the directory at `root`, which is made if it is not there.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let lock = File::create(root.join(LOCK))?;
        lock.try_lock().map_err(|_| io::Error::other("another server has this directory"))?;
        match fs::remove_dir_all(root.join(STAGING)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir(root.join(STAGING))?,
        }
        Ok(Self { root, _lock: lock })
    }

    /// The objects of a bucket, which is made if it is not there.
    pub(crate) fn load(&self, bucket: &str) -> io::Result<Vec<(String, Facts, Place)>> {
        let dir = self.root.join(bucket);
        fs::create_dir_all(&dir)?;
        sync(&self.root)?;
        let files = fs::read_dir(dir)?.map(|entry| {
            let place = Place(entry?.path());
            let (_, header) = place.header()?;
            Ok((header.key, header.facts, place))
        });
        files.collect()
    }

    /// Writes an object and makes it durable, without showing it.
    pub(crate) fn stage(&self, at: &Key, facts: &Facts, body: &[u8]) -> io::Result<Staged> {
        let header = serde_json::to_vec(&Header { key: at.key.clone(), facts: facts.clone() })?;
        let length = u32::try_from(header.len()).map_err(io::Error::other)?;
        let mut file = NamedTempFile::new_in(self.root.join(STAGING))?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&header)?;
        file.write_all(body)?;
        file.as_file().sync_all()?;
        let name = hex(&Md5::digest(at.key.as_bytes()));
        Ok(Staged { file, place: Place(self.root.join(&at.bucket).join(name)) })
    }
}

impl Staged {
    /// Shows the object under its name; it stays through a power cut from here on.
    pub(crate) fn publish(self) -> io::Result<Place> {
        self.file.persist(&self.place.0)?;
        self.place.sync_directory()?;
        Ok(self.place)
    }
}

impl Place {
    /// The open file, and where in it the content begins.
    pub(crate) fn open(&self) -> io::Result<(File, u64)> {
        let mut file = File::open(&self.0)?;
        let length = header_length(&mut file)?;
        Ok((file, 4 + u64::from(length)))
    }

    /// Removes the object for good.
    pub(crate) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.0)?;
        self.sync_directory()
    }

    fn header(&self) -> io::Result<(File, Header)> {
        let mut file = File::open(&self.0)?;
        let length = header_length(&mut file)?;
        let mut header = Vec::new();
        (&mut file).take(length.into()).read_to_end(&mut header)?;
        Ok((file, serde_json::from_slice(&header)?))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.parent().map_or(Ok(()), sync)
    }
}

fn header_length(file: &mut File) -> io::Result<u32> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    Ok(u32::from_le_bytes(length))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
