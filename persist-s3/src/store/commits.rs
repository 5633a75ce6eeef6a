//! The commits of volumes and the keys that they are read with.

use crate::{
    client::{self, Effect},
    format::{
        commit::{self, Commit, CommitObject, OpenedCommit},
        crypt::CallerKey,
        fmt::{self, FMT_MAX_BYTES, Keyring, NewFormat},
        frame::Opener,
        table::{Home, Needs, PackTable},
    },
    head::names::{CommitName, Condemned},
    keys::Part,
    remote::{Commits as Reach, Facts, History, Remote},
    transfer::read::KnownBytes,
};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutPayload};
use persist_core::{Error, ErrorKind, Result, VolumeId};
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

/// How much of a commit object is read before it is known how much holds its record: the record of a small
/// volume, and of a large one's delta, in one request.
const FIRST_TAIL_BYTES: u64 = 64 << 10;

/// Keys that are kept: those of the volumes that this process works with, and few of a `verify` of all.
const KEYRINGS_MAX: usize = 256;

/// Reads and writes the commits of one store.
#[derive(Debug)]
pub(super) struct Commits {
    remote: Remote,
    key: Option<CallerKeyOf>,
    keyrings: Mutex<HashMap<VolumeId, Keyring>>,
}

/// A commit with everything that its tree refers to.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) commit: Commit,
    pub(super) name: CommitName,
    pub(super) table: Arc<PackTable>,
    /// What of its objects was read with it.
    pub(super) known: Vec<KnownBytes>,
}

/// The caller's key, which is never printed.
struct CallerKeyOf(CallerKey);

impl Debug for CallerKeyOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallerKey")
    }
}

impl Read {
    /// The objects without which it cannot be read.
    pub(super) fn needs(&self) -> Needs {
        self.table.needs(&self.commit.volume, &self.name)
    }
}

impl Commits {
    pub(super) fn new(remote: Remote, key: Option<CallerKey>) -> Self {
        Self { remote, key: key.map(CallerKeyOf), keyrings: Mutex::default() }
    }

    /// Writes the `fmt` object of a new volume, which shares the keys of `origin` if it is forked from it.
    ///
    /// # Errors
    /// `Unavailable` with `Verify`: the volume has no name yet, so what was written is an orphan.
    pub(super) async fn begin(&self, volume: &VolumeId, origin: Option<&VolumeId>) -> Result<Keyring> {
        let origin = match origin {
            Some(origin) => Some(self.keyring(origin).await?),
            None => None,
        };
        let new = NewFormat { volume, origin: origin.as_ref(), caller: self.caller() };
        let (bytes, keyring) = fmt::create(&new, &*self.remote.environment.entropy)?;
        self.remote.put_unique(&self.remote.keys.of(volume, Part::Fmt), Bytes::from(bytes)).await?;
        self.remember(volume, &keyring);
        Ok(keyring)
    }

    /// The keys of a volume.
    ///
    /// # Errors
    /// `Corrupt` without its `fmt` object; `Denied` for the wrong key.
    pub(super) async fn keyring(&self, volume: &VolumeId) -> Result<Keyring> {
        if let Some(known) = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner).get(volume) {
            return Ok(known.clone());
        }
        let found = self.remote.read(&self.remote.keys.of(volume, Part::Fmt)).await?;
        let object = found.filter(|object| object.body.len() <= FMT_MAX_BYTES).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the volume's fmt object is gone, or larger than any")
                .context("id", volume)
                .advise("bring it back: without its keys the volume cannot be read")
        })?;
        let keyring = fmt::open(&object.body, volume, self.caller())?;
        self.remember(volume, &keyring);
        Ok(keyring)
    }

    /// Reads a commit and the pack table that its tree refers to: one or two requests, and as many again for
    /// the commit that the table builds on.
    ///
    /// # Errors
    /// `NotFound` for a commit that was pruned; `Corrupt`; `Denied`.
    pub(super) async fn read(&self, volume: &VolumeId, name: &CommitName) -> Result<Read> {
        let (opened, tail) = self.open(volume, name).await?;
        let base = match opened.base() {
            Some(base) => Some(self.open(volume, &base.clone()).await?.0.table(None)?),
            None => None,
        };
        let table = opened.table(base.as_ref())?;
        Ok(Read { commit: opened.commit, name: opened.name, table: Arc::new(table), known: vec![tail] })
    }

    /// Uploads a commit: nothing is accepted by that.
    ///
    /// # Errors
    /// `Unavailable` with `Verify`: it may be there, and is an orphan then.
    pub(super) async fn put(&self, volume: &VolumeId, object: &CommitObject) -> Result<()> {
        let path = self.remote.keys.of(volume, Part::Commit(object.name.clone()));
        let payload: PutPayload = object.parts.iter().cloned().collect();
        let put = self.remote.data.put(&path, payload).await;
        put.map(drop).map_err(|e| client::error(&e, Effect::Write).context("object", path))
    }

    /// Opens a commit's record; with the end of its object, which often holds pages and content too.
    async fn open(&self, volume: &VolumeId, name: &CommitName) -> Result<(OpenedCommit, KnownBytes)> {
        let keyring = self.keyring(volume).await?;
        let mut end = self.tail(volume, name, FIRST_TAIL_BYTES).await?;
        let needed = commit::tail_bytes(&end.bytes).map_err(|e| e.context("commit", name))?;
        if needed > end.bytes.len() as u64 {
            end = self.tail(volume, name, needed).await?;
        }
        let tail = end.bytes.clone();
        let (volume, name) = (volume.clone(), name.clone());
        let open = move || OpenedCommit::open(&tail, &volume, &name, &keyring, &mut Opener::new()?);
        let opened = tokio::task::spawn_blocking(open).await;
        let opened =
            opened.map_err(|e| Error::internal("a thread of the store panicked").with_source(e))??;
        Ok((opened, end))
    }

    async fn tail(&self, volume: &VolumeId, name: &CommitName, bytes: u64) -> Result<KnownBytes> {
        let path = self.remote.keys.of(volume, Part::Commit(name.clone()));
        let range = GetOptions { range: Some(GetRange::Suffix(bytes)), ..GetOptions::default() };
        let found = self.remote.data.get_opts(&path, range).await;
        let failed = |e: &object_store::Error| match e {
            object_store::Error::NotFound { .. } => Error::not_found("the commit is gone: it was pruned"),
            e => client::error(e, Effect::Read),
        };
        let object = found.map_err(|e| failed(&e).context("object", &path))?;
        let start = object.range.start;
        let bytes = object.bytes().await;
        let bytes = bytes.map_err(|e| client::error(&e, Effect::Read).context("object", &path))?;
        Ok(KnownBytes { object: path, start, bytes })
    }

    fn caller(&self) -> Option<&CallerKey> {
        self.key.as_ref().map(|key| &key.0)
    }

    fn remember(&self, volume: &VolumeId, keyring: &Keyring) {
        let mut known = self.keyrings.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEYRINGS_MAX {
            known.clear();
        }
        known.insert(volume.clone(), keyring.clone());
    }
}

#[async_trait]
impl Reach for Commits {
    async fn facts(&self, volume: &VolumeId, commit: &CommitName) -> Result<Facts> {
        let read = self.read(volume, commit).await?;
        let needs = read.needs();
        let ours = |of: &VolumeId| of == volume;
        let commits =
            needs.commits.into_iter().filter(|(of, _)| ours(of)).map(|(_, name)| Condemned::Commit(name));
        let packs = needs.packs.into_iter().filter(|(of, _)| ours(of)).map(|(_, name)| Condemned::Pack(name));
        let within = read.table.packs().map(|(_, entry)| entry);
        let within = within.filter(|entry| ours(&entry.volume) && entry.home != Home::Own);
        Ok(Facts {
            reach: commits.chain(packs).collect(),
            last_within: within.map(|entry| entry.name.clone()).max_by_key(|name| (name.epoch, name.seq)),
            made: read.commit.time,
            parent: parent(&read.commit, volume),
        })
    }
}

#[async_trait]
impl History for Commits {
    async fn parent(&self, volume: &VolumeId, commit: &CommitName) -> Result<Option<CommitName>> {
        Ok(parent(&self.open(volume, commit).await?.0.commit, volume))
    }
}

/// A fork's first commit was made on a commit of another volume, which no head of this one had.
fn parent(commit: &Commit, volume: &VolumeId) -> Option<CommitName> {
    commit.parent.as_ref().filter(|(of, _)| of == volume).map(|(_, name)| name.clone())
}
