//! Making files and directories durable, counted. For authors of stores.

use super::fresh;
use crate::{
    error::{Error, Result, Retry},
    linux::cause::cause,
};
use rustix::fs::{AtFlags, StatxFlags, statx};
use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use tempfile::{NamedTempFile, PersistError};

/// The durable steps of one opened store. The count is what a benchmark subtracts and a test bounds.
#[derive(Debug, Default)]
pub struct Durable {
    fsyncs: AtomicU64,
}

/// Whether an exclusive creation was ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The file is there, durable, and ours.
    Won,
    /// Somebody else's was there first.
    Lost,
}

impl Durable {
    /// How many times fsync(2) was called.
    pub fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Relaxed)
    }

    /// Makes the content of `file`, which `path` names in errors, durable. A failure is final for this descriptor: the kernel may have
    /// dropped the pages (fsync(2), NOTES), so the caller writes a new file from the source.
    ///
    /// # Errors
    /// As the filesystem reports them; `Verify` once the change may be seen.
    pub fn file(&self, file: &File, path: &Path) -> Result<()> {
        self.fsyncs.fetch_add(1, Relaxed);
        file.sync_all().map_err(|e| cause(e, "fsync", path.display()))
    }

    /// Makes the names in `directory` durable.
    ///
    /// # Errors
    /// As the filesystem reports them; `Verify` once the change may be seen.
    pub fn directory(&self, directory: &Path) -> Result<()> {
        let file = File::open(directory).map_err(|e| cause(e, "open", directory.display()))?;
        self.file(&file, directory)
    }

    /// Creates `path` with `bytes`, whole and durable, unless it exists: written under another name,
    /// flushed, and linked.
    ///
    /// # Errors
    /// As the filesystem reports them; `Verify` once the change may be seen.
    pub fn create(&self, path: &Path, bytes: &[u8]) -> Result<Claimed> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let draft = self.draft(parent, bytes)?;
        let linked = std::fs::hard_link(draft.path(), path);
        let won = linked.is_ok() || is_linked(&draft).map_err(unsure)?;
        match linked {
            Err(e) if !won && e.kind() != ErrorKind::AlreadyExists => {
                return Err(cause(e, "link", path.display()));
            }
            // Closed before it is unlinked: an NFS client keeps an open file under another name (silly rename).
            _ => drop(draft.into_temp_path()),
        }
        if won {
            self.directory(parent).map_err(unsure)?;
        }
        Ok(if won { Claimed::Won } else { Claimed::Lost })
    }

    /// Replaces `path` with `bytes`, whole and durable. Only where one process at a time writes it.
    ///
    /// # Errors
    /// As the filesystem reports them; `Verify` once the change may be seen.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let draft = self.draft(parent, bytes)?;
        renamed(draft.persist(path), path)?;
        self.directory(parent).map_err(unsure)
    }

    /// Removes the file `path` durably; what is not there is removed already.
    ///
    /// # Errors
    /// As the filesystem reports them; `Verify` once the change may be seen.
    pub fn remove(&self, path: &Path) -> Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(cause(e, "unlink", path.display())),
            Ok(()) => self.directory(path.parent().unwrap_or(Path::new("/"))).map_err(unsure),
        }
    }

    /// A flushed file beside its later name. Hidden by its dot; dropped, it is removed.
    fn draft(&self, parent: &Path, bytes: &[u8]) -> Result<NamedTempFile> {
        let mut refused = None;
        let create = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let created = options.custom_flags(libc::O_NOFOLLOW).open(path);
            created.inspect_err(|e| refused = e.raw_os_error())
        };
        // 122 bits of the kernel's randomness make it ours alone. Exclusive creation would too, for two round trips
        // more to a file server: it sets the attributes afterwards (RFC 8881, section 18.16.3).
        let name = format!("{DRAFT_PREFIX}{}", uuid::Uuid::new_v4());
        let named = tempfile::Builder::new().prefix(&name).rand_bytes(0).make_in(parent, create);
        // The wrapper that names the path hides the kernel's number.
        let bare = |e: io::Error| refused.map_or(e, io::Error::from_raw_os_error);
        let draft = named.map_err(|e| cause(bare(e), "create", parent.display()))?;
        draft.as_file().write_all(bytes).map_err(|e| cause(e, "write", draft.path().display()))?;
        self.file(draft.as_file(), draft.path())?;
        Ok(draft)
    }
}

/// An error after the step that everybody sees: whatever its kind, it does not say that nothing happened.
pub(crate) fn unsure(error: Error) -> Error {
    error.with_retry(Retry::Verify)
}

/// Names that begin like this are drafts: never read, removed by recovery.
pub(crate) const DRAFT_PREFIX: &str = ".draft-";

/// Whether the link was made although link(2) said otherwise: an NFS client that repeats a call whose
/// reply was lost sees its own success as an error (link(2), BUGS: use stat(2) and look at the count).
fn is_linked(draft: &NamedTempFile) -> Result<bool> {
    // From the server, not from what this host remembers.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    let stat = statx(draft.as_file(), c"", flags, StatxFlags::NLINK);
    let stat = stat.map_err(|e| cause(e, "stat", draft.path().display()))?;
    Ok(stat.stx_nlink > 1)
}

/// What became of a rename to `path`: as with [`is_linked`], the error may be of a repetition.
fn renamed(result: std::result::Result<File, PersistError>, path: &Path) -> Result<()> {
    let Err(PersistError { error, file }) = result else { return Ok(()) };
    let number = |of: Metadata| (of.dev(), of.ino());
    let is_there = fresh::symlink_metadata(path)
        .and_then(|there| Ok(number(there) == number(file.as_file().metadata()?)));
    match is_there {
        Ok(true) => Ok(()),
        // The draft is gone, and by nobody else's hand: it may have been renamed, and replaced since.
        _ if error.kind() == ErrorKind::NotFound => Err(unsure(cause(error, "rename", path.display()))),
        _ => Err(cause(error, "rename", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a client of a file server does that repeats a call: the answer of the first one was lost.
    #[test]
    fn a_rename_that_was_made_although_it_says_otherwise_has_replaced_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (durable, path) = (Durable::default(), dir.path().join("1"));
        durable.replace(&path, b"old").unwrap();
        let draft = durable.draft(dir.path(), b"new").unwrap();
        std::fs::rename(draft.path(), &path).unwrap();
        renamed(draft.persist(&path), &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let draft = durable.draft(dir.path(), b"newer").unwrap();
        std::fs::remove_file(draft.path()).unwrap();
        let error = renamed(draft.persist(&path), &path).unwrap_err();
        assert_eq!(error.retry(), Retry::Verify, "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn the_second_creator_loses_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (durable, path) = (Durable::default(), dir.path().join("1"));
        assert_eq!(durable.create(&path, b"first").unwrap(), Claimed::Won);
        assert_eq!(durable.create(&path, b"second").unwrap(), Claimed::Lost);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(durable.fsyncs(), 3, "two drafts and one directory");
    }

    /// A directory that can be written and not be opened stands for one whose fsync fails: the name is there.
    #[test]
    fn an_error_after_the_visible_step_says_that_the_outcome_is_unknown() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("d");
        std::fs::create_dir(&at).unwrap();
        let path = at.join("1");
        std::fs::write(&path, b"x").unwrap();
        std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o300)).unwrap();
        if File::open(&at).is_ok() {
            return; // root reads everything
        }
        let durable = Durable::default();
        for error in [
            durable.replace(&path, b"y").unwrap_err(),
            durable.remove(&path).unwrap_err(),
            durable.create(&path, b"z").map(drop).unwrap_err(),
        ] {
            assert_eq!(error.retry(), Retry::Verify, "{error}");
        }
    }
}
