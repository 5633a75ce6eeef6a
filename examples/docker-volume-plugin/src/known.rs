//! The volumes of this host's Docker: which store each is in, and how it is attached here.
//!
//! One file a volume, `STATE/volumes/NAME.json`, so that the thousandth costs what the first did. A file is
//! written under another name, flushed, linked, and its directory flushed: a kill or a power cut leaves the
//! volume known or not known. There is no secret in it: a store URL has none.

use crate::options::Lease;
use persist::{
    Access, Error, ErrorKind, Result, Retry, SnapshotName, StoreUrl, SyncPolicy, VolumeName,
    linux::cause::cause,
};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A volume as this host's Docker knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The store it is in.
    #[serde(with = "text")]
    pub store: StoreUrl,
    /// How containers of this host have it.
    pub access: Access,
    /// The snapshot that they read, if it is one.
    pub snapshot: Option<SnapshotName>,
    /// When the store syncs it by itself.
    pub sync: SyncPolicy,
    /// What ends the lease of a host that has gone silent.
    #[serde(default)]
    pub lease: Lease,
}

/// The volumes that are known, in memory and on disk. One process at a time has them.
#[derive(Debug, Clone)]
pub struct Known(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    entries: Mutex<BTreeMap<VolumeName, Entry>>,
    /// Held while the directory is ours; ends with the process (flock(2)).
    _held: File,
}

/// Beginnings of names that are drafts: a dot, which no volume's name begins with.
const DRAFT_PREFIX: &str = ".draft-";

impl Known {
    /// Reads what is known below `state`, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// `InUse` if another plugin has the directory; `Corrupt`, naming the file, for one that cannot be
    /// understood; else as the system reports them.
    pub fn open(state: &Path) -> Result<Self> {
        let directory = state.join("volumes");
        let advice = "give a directory that this process may write to by --state";
        fs::create_dir_all(&directory).map_err(|e| cause(e, "make", directory.display()).advise(advice))?;
        let held = File::open(&directory).map_err(|e| cause(e, "open", directory.display()))?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            rustix::io::Errno::WOULDBLOCK => {
                Error::new(ErrorKind::InUse, "another plugin uses the state directory")
                    .context("directory", directory.display())
                    .advise("stop it, or give this one a directory of its own by --state")
            }
            e => cause(e, "lock", directory.display()),
        })?;
        let entries = Mutex::new(read_all(&directory)?);
        Ok(Self(Arc::new(Inner { directory, entries, _held: held })))
    }

    /// What is known about a volume.
    pub fn get(&self, name: &VolumeName) -> Option<Entry> {
        self.0.lock().get(name).cloned()
    }

    /// All of it, in the order of the names.
    pub fn all(&self) -> Vec<(VolumeName, Entry)> {
        self.0.lock().iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }

    /// Whether any volume is known to be in `store`.
    pub fn has_store(&self, store: &StoreUrl) -> bool {
        self.0.lock().values().any(|entry| entry.store == *store)
    }

    /// Keeps a volume that was not known; when it returns, neither kill nor power cut undoes it.
    ///
    /// # Errors
    /// `Conflict` if a file of that name is there; else as the system reports them.
    pub async fn add(&self, name: &VolumeName, entry: &Entry) -> Result<()> {
        let (inner, name, entry) = (Arc::clone(&self.0), name.clone(), entry.clone());
        blocking(move || inner.add(name, entry)).await
    }

    /// Forgets a volume; one that is not known is forgotten already.
    ///
    /// # Errors
    /// As the system reports them.
    pub async fn forget(&self, name: &VolumeName) -> Result<()> {
        let (inner, name) = (Arc::clone(&self.0), name.clone());
        blocking(move || inner.forget(&name)).await
    }
}

impl Inner {
    fn add(&self, name: VolumeName, entry: Entry) -> Result<()> {
        let path = self.path(&name);
        let bytes = serde_json::to_vec_pretty(&entry)
            .map_err(|e| Error::internal("what is known about a volume cannot be written").with_source(e))?;
        let draft = tempfile::Builder::new().prefix(DRAFT_PREFIX).tempfile_in(&self.directory);
        let mut draft = draft.map_err(|e| self.unwritable(e))?;
        draft.write_all(&bytes).map_err(|e| self.unwritable(e))?;
        draft.as_file().sync_all().map_err(|e| self.unwritable(e))?;
        draft.persist_noclobber(&path).map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => {
                Error::conflict("a file that is not this plugin's has the volume's name", Vec::new())
                    .context("file", path.display())
            }
            _ => self.unwritable(e.error),
        })?;
        self.lock().insert(name, entry);
        self.flush()
    }

    fn forget(&self, name: &VolumeName) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(self.unwritable(e)),
            _ => {}
        }
        self.lock().remove(name);
        self.flush()
    }

    /// Makes the names durable. What fails here was seen by others already.
    fn flush(&self) -> Result<()> {
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(|e| self.unwritable(e).with_retry(Retry::Verify))
    }

    fn unwritable(&self, error: io::Error) -> Error {
        cause(error, "write", self.directory.display())
            .context("what", "the plugin's state directory")
            .advise("make it writable, or give another by --state")
    }

    fn path(&self, name: &VolumeName) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every file; removes what a killed process left half written.
fn read_all(directory: &Path) -> Result<BTreeMap<VolumeName, Entry>> {
    let named = |e| cause(e, "list", directory.display());
    let mut entries = BTreeMap::new();
    for item in fs::read_dir(directory).map_err(named)? {
        let path = item.map_err(named)?.path();
        let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if file.starts_with(DRAFT_PREFIX) {
            // On a read-only directory it stays, and does no harm.
            let _ = fs::remove_file(&path);
            continue;
        }
        let entry = fs::read(&path).map_err(|e| cause(e, "read", path.display()))?;
        let name = file.strip_suffix(".json").and_then(|name| VolumeName::new(name).ok());
        let read = name.ok_or_else(|| "not the name of a volume".to_owned()).and_then(|name| {
            serde_json::from_slice(&entry).map(|entry| (name, entry)).map_err(|e| e.to_string())
        });
        let (name, entry) = read.map_err(|why| {
            Error::new(ErrorKind::Corrupt, "a file of the state directory cannot be understood")
                .context("file", path.display())
                .context("because", why)
                .advise("move it away, and create the volume again: its data is in the store")
        })?;
        entries.insert(name, entry);
    }
    Ok(entries)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal("a thread of the plugin panicked").with_source(e)))
}

/// A store URL as its text.
mod text {
    use super::StoreUrl;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(url: &StoreUrl, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(url)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StoreUrl, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(store: &str) -> Entry {
        Entry {
            store: store.parse().unwrap(),
            access: Access::SharedOnNode,
            snapshot: None,
            sync: SyncPolicy::OnDetach,
            lease: Lease::Kept,
        }
    }

    #[tokio::test]
    async fn what_was_added_is_known_to_the_next_process_and_what_was_forgotten_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| VolumeName::new(name).unwrap());
        let known = Known::open(dir.path()).unwrap();
        known.add(&a, &entry("local:///srv/x")).await.unwrap();
        known.add(&b, &entry("local:///srv/y")).await.unwrap();
        known.forget(&a).await.unwrap();
        known.forget(&a).await.unwrap();
        drop(known);
        let again = Known::open(dir.path()).unwrap();
        assert_eq!(again.all(), [(b, entry("local:///srv/y"))]);
        assert!(again.has_store(&entry("local:///srv/y").store));
    }

    #[tokio::test]
    async fn a_second_plugin_is_refused_and_a_draft_of_a_killed_one_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = Known::open(dir.path()).unwrap();
        assert_eq!(Known::open(dir.path()).unwrap_err().kind(), ErrorKind::InUse);
        drop(first);
        fs::write(dir.path().join("volumes/.draft-1"), "{").unwrap();
        assert!(Known::open(dir.path()).unwrap().all().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_named_and_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("volumes")).unwrap();
        fs::write(dir.path().join("volumes/shop.json"), "{\"store\":").unwrap();
        let error = Known::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("shop.json"), "{error}");
    }
}
