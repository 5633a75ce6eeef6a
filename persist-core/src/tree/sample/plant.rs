//! How each row is planted.

use super::{Planted, Row};
use crate::{error::Result, linux::cause::cause};
use rustix::{
    fs::{
        AtFlags, FileType, Gid, IFlags, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
        ioctl_getflags, ioctl_setflags, lgetxattr, lsetxattr, makedev, mkdirat, mknodat, openat, utimensat,
    },
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

/// How many files [`Row::ManyFiles`] has: more than fits into one read of a directory, few enough for a
/// plain test.
const MANY: u32 = 1_200;

pub(super) fn plant_row(root: &Path, row: Row) -> Result<Planted> {
    let dir = root.join(row.name());
    let failed = |e: io::Error| cause(e, "plant", row.name());
    fs::create_dir(&dir).map_err(failed)?;
    match plant(row, &dir) {
        Ok(()) => Ok(Planted::Here),
        Err(error) if cannot(&error) => {
            fs::remove_dir_all(&dir).map_err(failed)?;
            Ok(Planted::NotHere(error.to_string()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whether the error says that this user or filesystem cannot do it. `ENOSPC`, `E2BIG` and `ERANGE` are
/// what filesystems say to an attribute that does not fit, `EFBIG` and `EINVAL` to sizes and owners.
fn cannot(error: &io::Error) -> bool {
    [
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
        Errno::NOTTY,
        Errno::NOSYS,
        Errno::NOSPC,
        Errno::TOOBIG,
        Errno::RANGE,
        Errno::FBIG,
        Errno::INVAL,
        Errno::OVERFLOW,
        Errno::ILSEQ,
        Errno::EXIST,
        Errno::NAMETOOLONG,
    ]
    .iter()
    .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

fn plant(row: Row, dir: &Path) -> io::Result<()> {
    match row {
        Row::HardLinks => hard_links(dir),
        Row::Holes => holes(dir),
        Row::Xattrs | Row::LargeXattr | Row::SymlinkXattr => xattrs(row, dir),
        Row::AccessAcl | Row::DefaultAcl | Row::FileCapabilities | Row::SelinuxLabel => labels(row, dir),
        Row::Fifo => special(dir, "fifo", FileType::Fifo, 0),
        Row::Socket => special(dir, "socket", FileType::Socket, 0),
        Row::Devices => {
            // The null device, and the first loop device (Documentation/admin-guide/devices.txt).
            special(dir, "character", FileType::CharacterDevice, makedev(1, 3))?;
            special(dir, "block", FileType::BlockDevice, makedev(7, 0))
        }
        Row::Symlinks => symlinks(dir),
        Row::Nanoseconds => time(dir, &[(1_700_000_000, 123_456_789), (1_700_000_000, 1), (0, 999_999_999)]),
        Row::NegativeTimes => time(dir, &[(-1, 999_999_999), (-86_400, 0), (-2_000_000_000, 1)]),
        Row::TimesAfter2038 => time(dir, &[(1 << 31, 5), ((1 << 32) - 1, 0)]),
        Row::TimesAfter2106 => time(dir, &[(1 << 32, 0), ((1 << 32) + 7, 8)]),
        Row::DirectoryTimes => directory_times(dir),
        Row::LargeOwners => owners(dir),
        Row::SetId => modes(dir, &[("user", 0o4755), ("group", 0o2755), ("both", 0o6711)], 0o2775),
        Row::Sticky => modes(dir, &[], 0o1777),
        Row::NoPermissions => modes(dir, &[("file", 0)], 0),
        Row::NodumpFlag => flag(dir, "file", IFlags::NODUMP),
        Row::ImmutableFlags => {
            flag(dir, "immutable", IFlags::IMMUTABLE)?;
            flag(dir, "append", IFlags::APPEND)
        }
        Row::NonUtf8Names | Row::OddNames | Row::LongNames | Row::SimilarNames => names(row, dir),
        Row::LongPaths => long_paths(dir),
        Row::EmptyFiles => write(dir, "empty", b""),
        Row::LargeFile => sparse(dir, "large", (4 << 30) + 8192, &[0, (4 << 30) + 4096]),
        Row::HugeSparseFile => sparse(dir, "huge", 1 << 40, &[1 << 39]),
        Row::ManyFiles => {
            (0..MANY).try_for_each(|n| write(dir, &format!("one of very many files, number {n:08}"), b""))
        }
    }
}

fn hard_links(dir: &Path) -> io::Result<()> {
    write(dir, "first", b"one file, three names")?;
    write(dir, "alone", b"one file, three names")?;
    for sub in ["a", "z"] {
        fs::create_dir(dir.join(sub))?;
    }
    fs::hard_link(dir.join("first"), dir.join("second"))?;
    fs::hard_link(dir.join("first"), dir.join("a/before"))?;
    symlink("first", dir.join("link"))?;
    fs::hard_link(dir.join("link"), dir.join("z/link"))
}

fn holes(dir: &Path) -> io::Result<()> {
    // 64 KiB is a multiple of every block size in use.
    const UNIT: u64 = 1 << 16;
    sparse(dir, "all hole", 4 * UNIT, &[])?;
    sparse(dir, "leading hole", 2 * UNIT, &[UNIT])?;
    sparse(dir, "hole within", 6 * UNIT, &[0, 3 * UNIT, 5 * UNIT])?;
    sparse(dir, "trailing hole", 3 * UNIT + 5, &[0])
}

fn xattrs(row: Row, dir: &Path) -> io::Result<()> {
    let file = dir.join("file");
    write(dir, "file", b"has attributes")?;
    match row {
        Row::LargeXattr => set(&file, "user.large", &vec![0xa5; 1 << 16]),
        // User attributes are for files and directories only (xattr(7)).
        Row::SymlinkXattr => {
            symlink("file", dir.join("link"))?;
            set(&dir.join("link"), "trusted.link", b"on the link itself")
        }
        _ => {
            set(&file, "user.empty", b"")?;
            set(&file, "user.binary", &[0, 255, 10, 0])?;
            set(&file, "user.text", b"text")?;
            set(dir, "user.directory", b"on a directory")
        }
    }
}

fn labels(row: Row, dir: &Path) -> io::Result<()> {
    let file = dir.join("file");
    write(dir, "file", b"has a label")?;
    match row {
        Row::AccessAcl => set(&file, "system.posix_acl_access", &acl(0o6)),
        Row::DefaultAcl => set(dir, "system.posix_acl_default", &acl(0o7)),
        Row::SelinuxLabel => set(&file, "security.selinux", b"system_u:object_r:etc_t:s0\0"),
        // Version 2 with `cap_net_bind_service` permitted and effective (linux/capability.h).
        _ => {
            let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0];
            set(&file, "security.capability", &words.map(u32::to_le_bytes).concat())
        }
    }
}

/// An ACL that gives `user 12345` the permissions `bits` (linux/posix_acl_xattr.h: version 2, then tag,
/// permissions and id of each entry).
fn acl(bits: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries = [(1, 0o6, NOBODY), (2, bits, 12_345), (4, 0o4, NOBODY), (16, 0o7, NOBODY), (32, 0, NOBODY)];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        let (tag, permissions): (u16, u16) = (tag, permissions);
        bytes.extend([tag.to_le_bytes(), permissions.to_le_bytes()].concat());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

fn symlinks(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir.join("directory"))?;
    symlink("directory", dir.join("relative"))?;
    symlink("/etc/passwd", dir.join("absolute"))?;
    symlink("nowhere", dir.join("dangling"))?;
    symlink("../../..", dir.join("outwards"))?;
    symlink(OsStr::from_bytes(b"\xff\n\\"), dir.join("odd"))?;
    // The longest target: one page with its NUL (symlink(7), PATH_MAX).
    symlink("x/".repeat(2047) + "y", dir.join("long"))
}

fn time(dir: &Path, times: &[(i64, i64)]) -> io::Result<()> {
    for (index, (seconds, nanoseconds)) in times.iter().enumerate() {
        let path = dir.join(format!("time {index}"));
        fs::write(&path, b"dated")?;
        date(&path, *seconds, *nanoseconds)?;
    }
    Ok(())
}

/// Sets a modification time and reads it back: filesystems clamp in silence what they cannot store.
fn date(path: &Path, tv_sec: i64, tv_nsec: i64) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    let found = fs::symlink_metadata(path)?;
    if (found.mtime(), found.mtime_nsec()) != (tv_sec, tv_nsec) {
        return Err(Errno::RANGE.into());
    }
    Ok(())
}

fn directory_times(dir: &Path) -> io::Result<()> {
    let inner = dir.join("inner");
    fs::create_dir(&inner)?;
    write(&inner, "file", b"younger than its directory")?;
    symlink("file", inner.join("link"))?;
    date(&inner.join("link"), 900_000_000, 9)?;
    date(&inner, 1_000_000_000, 10)?;
    date(dir, 1_000_000_001, 11)
}

fn owners(dir: &Path) -> io::Result<()> {
    write(dir, "file", b"owned")?;
    symlink("file", dir.join("link"))?;
    for (name, id) in [("file", 1 << 31), ("link", u32::MAX - 1)] {
        let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
        chownat(rustix::fs::CWD, dir.join(name), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn modes(dir: &Path, files: &[(&str, u32)], directory: u32) -> io::Result<()> {
    for (name, mode) in files {
        write(dir, name, b"has a mode")?;
        chmod(&dir.join(name), *mode)?;
    }
    fs::create_dir(dir.join("directory"))?;
    chmod(&dir.join("directory"), directory)
}

/// Sets a mode and reads it back: the kernel drops set-group-id in silence for a foreign group.
fn chmod(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    if fs::symlink_metadata(path)?.permissions().mode() & 0o7777 == mode {
        Ok(())
    } else {
        Err(Errno::PERM.into())
    }
}

fn flag(dir: &Path, name: &str, flag: IFlags) -> io::Result<()> {
    write(dir, name, b"flagged")?;
    fs::create_dir(dir.join(format!("{name} directory")))?;
    for path in [dir.join(name), dir.join(format!("{name} directory"))] {
        let file = File::open(path)?;
        ioctl_setflags(&file, ioctl_getflags(&file)? | flag)?;
    }
    Ok(())
}

fn names(row: Row, dir: &Path) -> io::Result<()> {
    let long = |byte: u8| vec![byte; 255];
    let names: Vec<Vec<u8>> = match row {
        Row::NonUtf8Names => vec![b"\xff\xfe".to_vec(), b"caf\xe9".to_vec(), b"\xc3".to_vec()],
        Row::LongNames => vec![long(b'a'), long(0xff)],
        Row::SimilarNames => ["a", "A", "ä", "a\u{308}", "ﬁ", "fi"].map(|n| n.as_bytes().to_vec()).to_vec(),
        _ => [&b"a\nb"[..], b"a\\b", b"-rf", b".hidden", b" ", b"a b", b"...", b"*", b"\x01\x7f", b"a:b"]
            .map(<[u8]>::to_vec)
            .to_vec(),
    };
    for name in names {
        let path = dir.join(OsStr::from_bytes(&name));
        OpenOptions::new().write(true).create_new(true).open(path)?.write_all_at(&name, 0)?;
    }
    Ok(())
}

/// Directories of 200 bytes, 25 deep: 5,025 bytes of path, each made in its parent's descriptor.
fn long_paths(dir: &Path) -> io::Result<()> {
    let mut at = File::open(dir)?;
    for level in 0..25 {
        let name = format!("{level:0>200}");
        mkdirat(&at, &*name, Mode::from_raw_mode(0o755))?;
        at = openat(&at, &*name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    File::from(openat(&at, "deep", flags, Mode::from_raw_mode(0o644))?).write_all_at(b"far down", 0)
}

fn special(dir: &Path, name: &str, kind: FileType, device: u64) -> io::Result<()> {
    Ok(mknodat(rustix::fs::CWD, dir.join(name), kind, Mode::from_raw_mode(0o640), device)?)
}

fn write(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    fs::write(dir.join(name), content)
}

/// A file of `size` bytes with 4 KiB of data at each of `data`.
fn sparse(dir: &Path, name: &str, size: u64, data: &[u64]) -> io::Result<()> {
    let file = File::create_new(dir.join(name))?;
    file.set_len(size)?;
    data.iter().try_for_each(|at| file.write_all_at(&[0x5a; 4096], *at))
}

/// Sets an attribute without following links, and reads it back.
fn set(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    lsetxattr(path, name, value, XattrFlags::empty())?;
    let mut found = vec![0; value.len() + 1];
    let length = lgetxattr(path, name, &mut found[..])?;
    if found[..length] == *value { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
}

pub(super) fn unlock(root: &Path) -> Result<()> {
    let failed = |e: io::Error| cause(e, "unlock", root.display());
    let mut left: Vec<PathBuf> = vec![root.to_path_buf()];
    while let Some(dir) = left.pop() {
        unlock_one(&dir, 0o700).map_err(failed)?;
        for entry in fs::read_dir(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_type().map_err(failed)? {
                // Paths that no call takes whole hold nothing that is locked.
                kind if kind.is_dir() && entry.path().as_os_str().len() < 4000 => left.push(entry.path()),
                kind if kind.is_file() => unlock_one(&entry.path(), 0o600).map_err(failed)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn unlock_one(path: &Path, mode: u32) -> io::Result<()> {
    let held = IFlags::IMMUTABLE | IFlags::APPEND;
    if let Ok(file) = File::open(path)
        && let Ok(flags) = ioctl_getflags(&file)
        && flags.intersects(held)
    {
        ioctl_setflags(&file, flags - held)?;
    }
    let now = fs::symlink_metadata(path)?.permissions().mode();
    if now & mode == mode { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(now | mode)) }
}
