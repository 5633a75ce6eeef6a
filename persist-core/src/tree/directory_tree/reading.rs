//! One entry as the filesystem has it now.

use crate::tree::{
    entry::{DataRange, Entry, EntryKind, Metadata, TreePath},
    metadata::read_metadata,
    stat::{Handle, Kind, Stat, link_target},
};
use rustix::{
    fs::{Mode, OFlags, SeekFrom, openat, seek},
    io::Errno,
};
use std::os::fd::{AsFd, BorrowedFd};

/// The entry `handle`, whose `stat` was just read, without its other names.
///
/// A file is opened, so that its attributes and holes are of one inode; one that this user may not open
/// is described by what stat(2) says, and its content as unknown.
pub(super) fn entry(handle: Handle<'_>, stat: &Stat, path: TreePath) -> Result<Entry, Errno> {
    let (Handle::Name { dir, name }, Kind::File) = (handle, stat.kind) else {
        let target = match (handle, stat.kind) {
            (Handle::Name { dir, name }, Kind::Symlink) => link_target(dir, name)?.into_bytes(),
            _ => Vec::new(),
        };
        return Ok(Entry::new(path, stat.entry_kind(target), metadata(handle, stat)?));
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(dir, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::ACCESS | Errno::PERM) => {
            return Ok(Entry::new(path, stat.entry_kind(Vec::new()), metadata(handle, stat)?));
        }
        // It became a link between the two calls: the file is gone.
        Err(Errno::LOOP) => return Err(Errno::NOENT),
        Err(error) => return Err(error),
    };
    let stat = Stat::of(Handle::Open(file.as_fd()))?;
    if stat.kind != Kind::File {
        return Err(Errno::NOENT);
    }
    let kind = EntryKind::File { size: stat.size, data: data_ranges(file.as_fd(), stat.size) };
    Ok(Entry::new(path, kind, metadata(Handle::Open(file.as_fd()), &stat)?))
}

fn metadata(handle: Handle<'_>, stat: &Stat) -> Result<Metadata, Errno> {
    match read_metadata(handle, stat) {
        // Without the right to read a file its user attributes are closed too (xattr(7)).
        Err(Errno::ACCESS | Errno::PERM) => Ok(stat.metadata()),
        metadata => metadata,
    }
}

/// The ranges of data of the opened file of `size` bytes (`SEEK_DATA` and `SEEK_HOLE` of lseek(2)); `None` where
/// the filesystem cannot tell. Moves the file's position.
pub fn data_ranges(file: BorrowedFd<'_>, size: u64) -> Option<Vec<DataRange>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // No data from here on (lseek(2)).
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        at = seek(file, SeekFrom::Hole(start)).ok()?.min(size);
        if at <= start {
            break;
        }
        ranges.push(DataRange { offset: start, length: at - start });
    }
    Some(ranges)
}
