//! The names in a directory, one getdents64(2) at a time.

use super::stat::Kind;
use rustix::{fs::RawDir, io::Errno};
use std::{ffi::CStr, mem::MaybeUninit, ops::Range, os::fd::BorrowedFd};

/// Room for one call: 32 KiB, what the C library uses; some thousand short names.
const BUFFER_BYTES: usize = 32 * 1024;

/// Some names of a directory, in the order of their inodes.
#[derive(Debug, Default)]
pub struct Batch {
    /// The names, each with its NUL.
    names: Vec<u8>,
    entries: Vec<Listed>,
}

#[derive(Debug)]
struct Listed {
    name: Range<u32>,
    kind: Option<Kind>,
    ino: u64,
}

impl Batch {
    /// Reads what the next call gives; empty at the end of the directory. `.` and `..` are left out, so
    /// a batch that only held those is read over.
    ///
    /// # Errors
    /// The kernel's number.
    pub fn read(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; BUFFER_BYTES];
        let mut raw = RawDir::new(dir, &mut buffer);
        let mut batch = Self::default();
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes_with_nul();
            if !matches!(name, b".\0" | b"..\0") {
                batch.add(name, Kind::of(entry.file_type()), entry.ino());
            }
            if raw.is_buffer_empty() && !batch.is_empty() {
                break;
            }
        }
        // In the order of inodes a filesystem reads its tables once, not back and forth.
        batch.entries.sort_unstable_by_key(|entry| entry.ino);
        Ok(batch)
    }

    fn add(&mut self, name: &[u8], kind: Option<Kind>, ino: u64) {
        let place = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let start = place(self.names.len());
        self.names.extend_from_slice(name);
        self.entries.push(Listed { name: start..place(self.names.len()), kind, ino });
    }

    /// Whether the directory has ended.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name at `index`, and its type where the filesystem says it in the listing.
    pub fn get(&self, index: usize) -> Option<(&CStr, Option<Kind>)> {
        let entry = self.entries.get(index)?;
        let range = usize::try_from(entry.name.start).ok()?..usize::try_from(entry.name.end).ok()?;
        Some((CStr::from_bytes_with_nul(self.names.get(range)?).ok()?, entry.kind))
    }

    /// Every name with its type.
    pub fn iter(&self) -> impl Iterator<Item = (&CStr, Option<Kind>)> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, os::fd::AsFd};

    #[test]
    fn a_directory_is_listed_in_batches_each_name_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut wanted = BTreeSet::new();
        for n in 0..5000 {
            let name = format!("{n}-{}", "x".repeat(60));
            fs::write(dir.path().join(&name), "").unwrap();
            wanted.insert(name);
        }
        let opened = fs::File::open(dir.path()).unwrap();
        let (mut found, mut batches) = (BTreeSet::new(), 0);
        loop {
            let batch = Batch::read(opened.as_fd()).unwrap();
            if batch.is_empty() {
                break;
            }
            batches += 1;
            for (name, kind) in batch.iter() {
                assert_eq!(kind, Some(Kind::File));
                assert!(found.insert(name.to_str().unwrap().to_owned()), "{name:?} twice");
            }
        }
        assert_eq!(found, wanted);
        assert!(batches > 5, "{batches}");
    }
}
