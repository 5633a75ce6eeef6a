//! The objects: every check and the change it allows are one step under one lock.

mod files;
mod listing;

pub(crate) use files::Files;
pub(crate) use listing::{Ask, Page};

use crate::conditions::{Conditions, Wanted};
use bytes::Bytes;
use md5::{Digest, Md5};
use s3s::{S3Error, S3Result, s3_error};
use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// How many changes of a bucket a stale listing can be behind.
const REMEMBERED: usize = 64;

/// An object as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) facts: Facts,
    body: Body,
}

/// What is known of an object without its content.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Facts {
    /// MD5 of the content in hexadecimal, without quotes: the same content has the same tag again.
    pub(crate) etag: String,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Body {
    Memory(Bytes),
    File(files::Place),
}

/// An object that is open: what it was when it was found, whatever is written since.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) facts: Facts,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    File(fs::File, u64),
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<String, Stored>,
    /// The latest changes, oldest first: the key and what was there before.
    changes: VecDeque<(String, Option<Stored>)>,
}

/// Buckets and their objects.
#[derive(Debug)]
pub(crate) struct Store {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    files: Option<Files>,
}

impl Store {
    /// Empty buckets in memory.
    pub(crate) fn in_memory(buckets: &[String]) -> Self {
        let buckets = buckets.iter().map(|name| (name.clone(), Bucket::default())).collect();
        Self { buckets: Mutex::new(buckets), files: None }
    }

    /// The buckets below the directory of `files`, with what a server before this one kept there.
    pub(crate) fn in_files(files: Files, buckets: &[String]) -> io::Result<Self> {
        let mut found = BTreeMap::new();
        for name in buckets {
            let objects = files.load(name)?.into_iter();
            let objects = objects.map(|(key, facts, place)| (key, Stored { facts, body: Body::File(place) }));
            found.insert(name.clone(), Bucket { objects: objects.collect(), changes: VecDeque::new() });
        }
        Ok(Self { buckets: Mutex::new(found), files: Some(files) })
    }

    /// Whether its calls do file work.
    pub(crate) fn blocks(&self) -> bool {
        self.files.is_some()
    }

    /// Whether a PUT with this condition would go on now.
    pub(crate) fn check(&self, at: &Key, wanted: &Wanted, conditions: Conditions) -> S3Result<()> {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, &at.bucket)?;
        wanted.check(bucket.objects.get(&at.key).map(|stored| stored.facts.etag.as_str()), conditions)
    }

    /// Writes an object if `wanted` holds, and gives its facts. With files it is durable on return.
    pub(crate) fn put(
        &self,
        at: &Key,
        draft: Draft,
        wanted: &Wanted,
        conditions: Conditions,
    ) -> S3Result<Facts> {
        let facts = draft.facts();
        let staged = self.files.as_ref().map(|files| files.stage(at, &facts, &draft.body)).transpose();
        let staged = staged.map_err(S3Error::internal_error)?;
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, &at.bucket)?;
        wanted.check(bucket.objects.get(&at.key).map(|stored| stored.facts.etag.as_str()), conditions)?;
        let body = match staged {
            Some(staged) => Body::File(staged.publish().map_err(S3Error::internal_error)?),
            None => Body::Memory(draft.body),
        };
        bucket.change(&at.key, Some(Stored { facts: facts.clone(), body }));
        Ok(facts)
    }

    /// Opens an object.
    pub(crate) fn get(&self, at: &Key) -> S3Result<Found> {
        let mut buckets = self.buckets();
        let stored = bucket(&mut buckets, &at.bucket)?.objects.get(&at.key);
        let stored = stored.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?;
        let content = match &stored.body {
            Body::Memory(bytes) => Content::Memory(bytes.clone()),
            // Opened under the lock: a later PUT replaces the name, not this file.
            Body::File(place) => {
                place.open().map(|(file, at)| Content::File(file, at)).map_err(S3Error::internal_error)?
            }
        };
        Ok(Found { facts: stored.facts.clone(), content })
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) fn delete(&self, at: &Key) -> S3Result<()> {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, &at.bucket)?;
        if let Some(Stored { body: Body::File(place), .. }) = bucket.objects.get(&at.key) {
            place.remove().map_err(S3Error::internal_error)?;
        }
        if bucket.objects.contains_key(&at.key) {
            bucket.change(&at.key, None);
        }
        Ok(())
    }

    /// Lists one page, as the bucket was `behind` changes ago.
    pub(crate) fn list(&self, bucket_name: &str, ask: &Ask, behind: usize) -> S3Result<Page> {
        let mut buckets = self.buckets();
        let bucket = bucket(&mut buckets, bucket_name)?;
        if behind == 0 {
            return Ok(listing::page(ask, bucket.objects.iter().map(|(key, stored)| (key, &stored.facts))));
        }
        let old = bucket.before(behind);
        Ok(listing::page(ask, old.iter().map(|(key, stored)| (key, &stored.facts))))
    }

    pub(crate) fn has(&self, bucket_name: &str) -> bool {
        self.buckets().contains_key(bucket_name)
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

/// An object before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) body: Bytes,
    pub(crate) modified: SystemTime,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Draft {
    fn facts(&self) -> Facts {
        Facts {
            etag: hex(&Md5::digest(&self.body)),
            bytes: self.body.len() as u64,
            modified: self.modified,
            content_type: self.content_type.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

impl Found {
    /// Reads a range that lies within the object.
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        match &self.content {
            Content::Memory(bytes) => {
                let start = usize::try_from(range.start).map_err(io::Error::other)?;
                Ok(bytes.slice(start..start + length))
            }
            Content::File(file, at) => {
                let mut read = vec![0; length];
                file.read_exact_at(&mut read, at + range.start)?;
                Ok(read.into())
            }
        }
    }
}

impl Bucket {
    fn change(&mut self, key: &str, to: Option<Stored>) {
        let before = match to {
            Some(stored) => self.objects.insert(key.to_owned(), stored),
            None => self.objects.remove(key),
        };
        if self.changes.len() == REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back((key.to_owned(), before));
    }

    fn before(&self, changes: usize) -> BTreeMap<String, Stored> {
        let mut objects = self.objects.clone();
        for (key, before) in self.changes.iter().rev().take(changes) {
            match before {
                Some(stored) => objects.insert(key.clone(), stored.clone()),
                None => objects.remove(key),
            };
        }
        objects
    }
}

fn bucket<'a>(buckets: &'a mut BTreeMap<String, Bucket>, name: &str) -> S3Result<&'a mut Bucket> {
    buckets.get_mut(name).ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
