//! A reading of a tree that shares no code with the engine: an oracle for its tests.

use crate::{error::Result, linux::cause::cause, tree::TreePath};
use rustix::fs::{
    CWD, Dir, FileType, Mode, OFlags, SeekFrom, Stat, fstat, getxattr, ioctl_getflags, listxattr, openat,
    readlinkat, seek,
};
use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    fs::File,
    hash::{Hash, Hasher},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
};

/// What a tree holds: for each path its facets by name, each as one word or line.
pub type Description = BTreeMap<TreePath, BTreeMap<&'static str, String>>;

/// Describes everything below `root`: kind, mode, owner, time to the nanosecond, size, content, holes,
/// target, device, flags, attributes, and the first name of what has several. What this user may not
/// read is described as `unreadable`. Blocks; memory grows with the tree.
///
/// # Errors
/// As the kernel reports.
pub fn describe(root: &Path) -> Result<Description> {
    let mut found = Description::new();
    let mut first_names = HashMap::new();
    let failed = |e: io::Error| cause(e, "describe", root.display());
    let top = openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from);
    walk(&top.map_err(failed)?, TreePath::root(), &mut found, &mut first_names).map_err(failed)?;
    Ok(found)
}

/// Every facet in which two descriptions differ, one line each; a facet named in `except` is passed over.
pub fn differences(before: &Description, after: &Description, except: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for path in before.keys().filter(|p| !after.contains_key(*p)) {
        lines.push(format!("{path:?}: gone"));
    }
    for (path, facets) in after {
        let Some(old) = before.get(path) else {
            lines.push(format!("{path:?}: new"));
            continue;
        };
        let names = facets.keys().chain(old.keys().filter(|name| !facets.contains_key(*name)));
        for name in names.filter(|name| !except.contains(*name) && old.get(*name) != facets.get(*name)) {
            let show = |facets: &BTreeMap<_, String>| facets.get(name).map_or("-", |s| s).to_owned();
            lines.push(format!("{path:?}: {name}: {} -> {}", show(old), show(facets)));
        }
    }
    lines
}

type FirstNames = HashMap<(u64, u64), TreePath>;

/// `fd` is opened with `O_PATH`, so that it stands for a symbolic link or a fifo as well.
fn walk(fd: &OwnedFd, path: TreePath, found: &mut Description, first: &mut FirstNames) -> io::Result<()> {
    let stat = fstat(fd)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut facets = BTreeMap::from([
        ("kind", format!("{kind:?}")),
        ("mode", format!("{:04o}", stat.st_mode & 0o7777)),
        ("uid", stat.st_uid.to_string()),
        ("gid", stat.st_gid.to_string()),
        ("mtime", format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec)),
        ("attributes", attributes(fd)),
    ]);
    if stat.st_nlink > 1 && kind != FileType::Directory {
        let name = first.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone());
        facets.insert("first name", format!("{name:?}"));
    }
    match kind {
        FileType::RegularFile => file(fd, &stat, &mut facets),
        FileType::Symlink => {
            facets.insert("target", format!("{:?}", readlinkat(fd, "", Vec::new())?));
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            facets.insert("device", format!("{:x}", stat.st_rdev));
        }
        FileType::Directory => {
            facets.insert("flags", again(fd).map_or_else(unreadable, |dir| flags(&dir)));
        }
        _ => {}
    }
    found.insert(path.clone(), facets);
    if kind == FileType::Directory
        && let Ok(dir) = again(fd)
    {
        for name in sorted_names(&dir)? {
            let child =
                openat(&dir, &*name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let path = path.join(&name).map_err(io::Error::other)?;
            walk(&child, path, found, first)?;
        }
    }
    Ok(())
}

/// Opens what an `O_PATH` descriptor stands for, for reading.
fn again(fd: &OwnedFd) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn sorted_names(dir: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn file(fd: &OwnedFd, stat: &Stat, facets: &mut BTreeMap<&'static str, String>) {
    facets.insert("size", stat.st_size.to_string());
    let Ok(file) = again(fd) else {
        facets.insert("content", unreadable(()));
        return;
    };
    facets.insert("flags", flags(&file));
    let ranges = data_ranges(&file, stat.st_size.unsigned_abs());
    facets.insert("content", digest(&file, &ranges).unwrap_or_else(unreadable));
    facets.insert("data", ranges.iter().map(|(a, b)| format!("{a}-{b} ")).collect());
}

fn unreadable<E>(_: E) -> String {
    "unreadable".into()
}

fn flags(file: &File) -> String {
    // Immutable, append and nodump (ioctl_iflags(2)): the flags that are kept.
    ioctl_getflags(file).map_or_else(unreadable, |flags| format!("{:x}", flags.bits() & 0x70))
}

fn data_ranges(file: &File, size: u64) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size
        && let Ok(start) = seek(file, SeekFrom::Data(at))
        && let Ok(end) = seek(file, SeekFrom::Hole(start))
    {
        ranges.push((start, end.min(size)));
        at = end;
    }
    ranges
}

/// A digest of all bytes that are not zero and of their places, so that it says the same however the
/// holes lie.
fn digest(file: &File, ranges: &[(u64, u64)]) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut block = vec![0; 4096];
    for (start, end) in ranges {
        for at in (*start..*end).step_by(block.len()) {
            let read = file.read_at(&mut block, at)?;
            if block[..read].iter().any(|byte| *byte != 0) {
                (at, &block[..read]).hash(&mut hasher);
            }
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn attributes(fd: &OwnedFd) -> String {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut list = vec![0; 1 << 16];
    let Ok(length) = listxattr(&*path, &mut list[..]) else { return String::new() };
    let mut names: Vec<&[u8]> = list[..length].split(|byte| *byte == 0).filter(|n| !n.is_empty()).collect();
    // XFS shows root its own form of the ACLs beside the ACLs.
    names.retain(|name| !name.starts_with(b"trusted.SGI_ACL_"));
    names.sort_unstable();
    let mut value = vec![0; 1 << 16];
    let mut shown = String::new();
    for name in names {
        let mut hasher = DefaultHasher::new();
        let length = getxattr(&*path, name, &mut value[..]).unwrap_or_default();
        value[..length].hash(&mut hasher);
        shown += &format!("{}[{length}:{:x}] ", String::from_utf8_lossy(name), hasher.finish());
    }
    shown
}
