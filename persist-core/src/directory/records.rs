//! Numbered records: the newest number is the truth, and only grows.
//!
//! A record is made by link(2) under the next number, so of several writers one wins, on every
//! filesystem. Older numbers are removed; the newest never is. For authors of stores.

use super::{
    durable::{Claimed, DRAFT_PREFIX, Durable, unsure},
    fresh,
};
use crate::{
    error::{Error, ErrorKind, Result},
    linux::cause::cause,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{fs, io, path::Path};

/// A record and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered<T> {
    /// Its number.
    pub number: u64,
    /// The record.
    pub record: T,
}

/// The newest record in `directory`; `None` if there is none, or no directory.
///
/// # Errors
/// `Corrupt` for a record that cannot be read: never taken for an absent one.
pub fn newest<T: DeserializeOwned>(directory: &Path) -> Result<Option<Numbered<T>>> {
    while let Some(number) = newest_number(directory)? {
        let path = directory.join(number.to_string());
        match fs::read(&path) {
            Ok(bytes) => return Ok(Some(Numbered { number, record: parse(&path, &bytes)? })),
            // A newer one was made and this one removed since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(cause(e, "read", path.display())),
        }
    }
    Ok(None)
}

/// The newest number in `directory`; `None` if there is none, or no directory.
pub(crate) fn newest_number(directory: &Path) -> Result<Option<u64>> {
    let Some(listed) = listed(directory)? else { return Ok(None) };
    match listed.into_iter().max() {
        // btrfs lists what was there when the directory was opened, less what has gone since: nothing, while
        // the only record is replaced. A second opening sees the new one.
        None => Ok(numbers(directory)?.into_iter().max()),
        newest => Ok(newest),
    }
}

/// Removes every record and `directory`. The newest goes last: killed between, no older one comes to count.
///
/// # Errors
/// As the filesystem reports them; a repeat goes on.
pub(crate) fn remove_all(directory: &Path) -> Result<()> {
    let mut numbers = numbers(directory)?;
    numbers.sort_unstable();
    numbers.iter().try_for_each(|n| remove_older(&directory.join(n.to_string())))?;
    // What is left are drafts.
    fs::remove_dir_all(directory).map_err(|e| cause(e, "remove", directory.display()))
}

/// Makes `record` the one after `previous`, durably. `Lost` if somebody else was faster.
///
/// # Errors
/// `Corrupt` if there is no number after `previous`; as the filesystem reports them, `Verify` once the record may
/// be seen.
pub fn publish<T: Serialize>(
    durable: &Durable,
    directory: &Path,
    previous: Option<u64>,
    record: &T,
) -> Result<Claimed> {
    let number = after(previous).ok_or_else(|| used_up(directory))?;
    let path = directory.join(number.to_string());
    if durable.create(&path, &encode(record)?)? == Claimed::Lost {
        return Ok(Claimed::Lost);
    }
    // Older numbers are removed, so a writer that slept finds its number free: a higher one voids it.
    let all = numbers(directory).map_err(unsure)?;
    if all.iter().any(|n| *n > number) {
        durable.remove(&path)?;
        return Ok(Claimed::Lost);
    }
    for older in all.iter().filter(|n| **n < number) {
        // It is published whether this works or not; the next one tries again.
        if let Err(error) = remove_older(&directory.join(older.to_string())) {
            tracing::warn!(%error, "an older record stays");
        }
    }
    Ok(Claimed::Won)
}

/// The number after `previous`.
fn after(previous: Option<u64>) -> Option<u64> {
    previous.map_or(Some(1), |n| n.checked_add(1))
}

/// No store ever counts as far: somebody has put the file there.
fn used_up(directory: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, "the newest record has the highest number that there is")
        .during("add a record to", directory.display())
        .advise("move the file away if it is not ours")
}

/// Reads one record by its path.
///
/// # Errors
/// `NotFound`; `Corrupt`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fresh::read(path).map_err(|e| cause(e, "read", path.display()))?;
    parse(path, &bytes)
}

/// A record as it is stored: JSON with a final newline, for people who look.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(record)
        .map_err(|e| Error::internal("a record cannot be written as JSON").with_source(e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Whether the record at `path` was begun and never finished: it ends too early, or its length was kept and
/// none of its bytes. Not so for a record whose bytes were changed.
///
/// # Errors
/// As the filesystem reports them.
pub(crate) fn is_torn(path: &Path) -> Result<bool> {
    let bytes = fs::read(path).map_err(|e| cause(e, "read", path.display()))?;
    let early = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_err_and(|e| e.is_eof());
    Ok(early || bytes.iter().all(|b| *b == 0))
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "the record is not what was written")
            .during("read", path.display())
            .with_source(e)
            .advise("keep the file as evidence and run verify; its volume is not touched meanwhile")
    })
}

fn numbers(directory: &Path) -> Result<Vec<u64>> {
    listed(directory).map(Option::unwrap_or_default)
}

/// The numbers in `directory`; `None` if it is not there.
fn listed(directory: &Path) -> Result<Option<Vec<u64>>> {
    let entries = match fresh::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cause(e, "list", directory.display())),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| cause(e, "list", directory.display()))?.file_name();
        let text = name.to_string_lossy();
        match text.parse() {
            // Not `+1` or `01`: nobody would find it again under its number.
            Ok(number) if u64::to_string(&number) == text => numbers.push(number),
            _ if text.starts_with(DRAFT_PREFIX) || fresh::is_removed(&text) => {}
            _ => return Err(foreign(directory, &text)),
        }
    }
    Ok(Some(numbers))
}

fn foreign(directory: &Path, name: &str) -> Error {
    Error::new(ErrorKind::Corrupt, "a file that is not ours is among the records")
        .during("list", directory.display())
        .context("file", format_args!("{name:?}"))
        .advise("move it away")
}

fn remove_older(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "unlink", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_number_is_the_truth_and_older_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::default();
        for n in 0..11_u64 {
            let previous = newest_number(dir.path()).unwrap();
            assert_eq!(publish(&durable, dir.path(), previous, &n).unwrap(), Claimed::Won);
        }
        assert_eq!(newest(dir.path()).unwrap(), Some(Numbered { number: 11, record: 10_u64 }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_writer_that_slept_is_voided_by_a_higher_number() {
        let dir = tempfile::tempdir().unwrap();
        let durable = Durable::default();
        for (previous, value) in [(None, 1), (Some(1), 2), (Some(2), 3)] {
            publish(&durable, dir.path(), previous, &value).unwrap();
        }
        assert_eq!(publish(&durable, dir.path(), Some(1), &99).unwrap(), Claimed::Lost);
        assert_eq!(newest::<u64>(dir.path()).unwrap().unwrap().record, 3);
    }

    #[test]
    fn there_is_no_record_after_the_highest_number() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(u64::MAX.to_string()), b"1").unwrap();
        let error = publish(&Durable::default(), dir.path(), Some(u64::MAX), &2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(newest::<u64>(dir.path()).unwrap().unwrap().record, 1);
    }

    #[test]
    fn a_record_is_torn_if_it_ends_early_and_not_if_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        for (bytes, torn) in
            [(&b""[..], true), (b"{\"a\":", true), (&[0; 9], true), (b"{}", false), (b"}{", false)]
        {
            fs::write(&path, bytes).unwrap();
            assert_eq!(is_torn(&path).unwrap(), torn, "{bytes:?}");
        }
    }

    #[test]
    fn a_torn_record_is_corrupt_and_never_absent() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("4"), b"{").unwrap();
        let error = newest::<u64>(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_number_that_is_written_otherwise_is_a_foreign_file() {
        for name in ["+7", "007"] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), b"1").unwrap();
            assert_eq!(newest::<u64>(dir.path()).unwrap_err().kind(), ErrorKind::Corrupt, "{name}");
        }
    }

    #[test]
    fn the_newest_record_is_the_last_to_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("name");
        fs::create_dir(&at).unwrap();
        fs::write(at.join(".draft-x"), b"").unwrap();
        fs::write(at.join("9"), b"1").unwrap();
        // It cannot be unlinked: as far as a killed removal comes.
        fs::create_dir(at.join("10")).unwrap();
        remove_all(&at).unwrap_err();
        assert_eq!(numbers(&at).unwrap(), [10]);
        fs::remove_dir(at.join("10")).unwrap();
        remove_all(&at).unwrap();
        assert!(!at.exists());
    }
}
