//! The mount table of this process: a pure reader of proc_pid_mountinfo(5), and the one place that reads it.

use super::cause::cause;
use crate::error::{Error, Result};
use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// The mounts that this process sees, in the kernel's order: a later one covers an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mount {
    /// Its number; may be used again after it is gone.
    pub id: u64,
    /// The mount that it is on.
    pub parent: u64,
    /// The filesystem's device, `major:minor`.
    pub device: String,
    /// Which directory of the filesystem it shows; of NFS, the path at the server.
    pub root: PathBuf,
    /// Where it is.
    pub at: PathBuf,
    /// Options of this mount (`ro`, `nosuid`, `idmapped`, ...).
    pub options: Vec<String>,
    /// The peer group it shares with (mount_namespaces(7)).
    pub shared: Option<u64>,
    /// The peer group it follows.
    pub master: Option<u64>,
    /// The filesystem's type, with its subtype (`fuse.sshfs`).
    pub filesystem: String,
    /// What was mounted: a device, a server, a word.
    pub source: OsString,
    /// Options of the filesystem, for all of its mounts.
    pub filesystem_options: Vec<String>,
}

impl MountTable {
    /// Reads `/proc/thread-self/mountinfo`.
    ///
    /// # Errors
    /// As the system reports them; `Internal` for a table that cannot be understood.
    pub fn read() -> Result<Self> {
        let path = Path::new("/proc/thread-self/mountinfo");
        let text = std::fs::read(path).map_err(|error| cause(error, "read", path.display()))?;
        Self::parse(&text).ok_or_else(|| Error::internal("the mount table cannot be understood"))
    }

    /// Understands the text of `/proc/PID/mountinfo`; `None` if a line is not as the man page says.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let lines = text.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        lines.map(parse_line).collect::<Option<_>>().map(|mounts| Self { mounts })
    }

    /// The mounts, in the kernel's order.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mount of this number.
    pub fn by_id(&self, id: u64) -> Option<&Mount> {
        self.mounts.iter().find(|mount| mount.id == id)
    }

    /// The topmost mount exactly at `path`.
    pub fn at(&self, path: &Path) -> Option<&Mount> {
        let here: Vec<_> = self.mounts.iter().filter(|mount| mount.at == path).collect();
        // Of two mounts at one path, the one that is on the other is on top, whatever their order.
        here.iter().rev().find(|mount| !here.iter().any(|other| other.parent == mount.id)).copied()
    }

    /// The mount that `path` is on, as far as its text says: nothing is touched, so a dead server cannot hang
    /// this, and symbolic links are not followed.
    pub fn covering(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|ancestor| self.at(ancestor))
    }

    /// The mounts on the mount `id`, those on them, and so on; the deepest last.
    pub fn below(&self, id: u64) -> Vec<&Mount> {
        let mut found: Vec<&Mount> = Vec::new();
        let mut level = vec![id];
        while !level.is_empty() && found.len() <= self.mounts.len() {
            let next: Vec<_> =
                self.mounts.iter().filter(|m| level.contains(&m.parent) && m.id != m.parent).collect();
            level = next.iter().map(|mount| mount.id).collect();
            found.extend(next);
        }
        found
    }
}

impl Mount {
    /// Whether the mount has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|have| have == option)
    }

    /// Whether the filesystem has this option.
    pub fn filesystem_has(&self, option: &str) -> bool {
        self.filesystem_options.iter().any(|have| have == option)
    }

    /// Where `path`, which is absolute and on this mount, lies within the filesystem: two paths with the
    /// same device and the same answer are the same file, through whatever mounts they are reached.
    pub fn within(&self, path: &Path) -> Option<PathBuf> {
        let rest = path.strip_prefix(&self.at).ok()?;
        Some(if rest.as_os_str().is_empty() { self.root.clone() } else { self.root.join(rest) })
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = || fields.next();
    let (id, parent, device) = (number(next()?)?, number(next()?)?, word(next()?)?);
    let (root, at, options) = (path(next()?), path(next()?), list(next()?)?);
    let mut optional = Vec::new();
    loop {
        match next()? {
            b"-" => break,
            field => optional.push(word(field)?),
        }
    }
    let group = |key: &str| optional.iter().find_map(|f| f.strip_prefix(key)?.parse().ok());
    let (filesystem, source) = (word(next()?)?, OsString::from_vec(unescaped(next()?)));
    let root = if is_nfs(&filesystem) { at_server(&source).unwrap_or(root) } else { root };
    Some(Mount {
        id,
        parent,
        device,
        root,
        at,
        options,
        shared: group("shared:"),
        master: group("master:"),
        filesystem,
        source,
        filesystem_options: next().map_or(Some(Vec::new()), list)?,
    })
}

/// Whether it is of the kernel's NFS client: also asked of trees that were removed, whose path it shows unchanged.
pub(crate) fn is_nfs(filesystem: &str) -> bool {
    matches!(filesystem, "nfs" | "nfs4")
}

/// The directory that a mount of NFS shows: `server:/path` of its source, since its root is `/` for every
/// mount, also for one of a directory below (`nfs_show_path` and `nfs_show_devname` of `fs/nfs/super.c`).
fn at_server(source: &OsStr) -> Option<PathBuf> {
    let bytes = source.as_bytes();
    let colon = bytes.windows(2).position(|two| two == b":/")?;
    Some(OsStr::from_bytes(&bytes[colon + 1..]).into())
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn word(field: &[u8]) -> Option<String> {
    String::from_utf8(unescaped(field)).ok()
}

fn path(field: &[u8]) -> PathBuf {
    OsStr::from_bytes(&unescaped(field)).into()
}

/// Splits at commas before it undoes the escapes; a value may hold any bytes (overlay's `lowerdir=`).
fn list(field: &[u8]) -> Option<Vec<String>> {
    let options = field.split(|b| *b == b',');
    Some(options.map(|option| String::from_utf8_lossy(&unescaped(option)).into_owned()).collect())
}

/// Undoes the octal escapes (`\040`) of space, tab, newline and backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &[u8] = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n\
        21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        40 21 0:33 /a\\040b /with\\011tab\\134\\012x rw shared:7 master:3 propagate_from:2 unbindable - fuse.sshfs host:/x rw,user_id=0\n\
        41 40 0:34 / /with\\011tab\\134\\012x ro,nosuid,idmapped - tmpfs none ro,size=4k\n\
        42 21 0:35 / /empty rw - cgroup2 none\n";

    fn table() -> MountTable {
        MountTable::parse(TABLE).unwrap()
    }

    #[test]
    fn every_field_is_read_with_its_escapes() {
        let table = table();
        let mount = table.by_id(40).unwrap();
        assert_eq!(mount.root, Path::new("/a b"));
        assert_eq!(mount.at, Path::new("/with\ttab\\\nx"));
        assert_eq!((mount.shared, mount.master), (Some(7), Some(3)));
        assert_eq!((mount.filesystem.as_str(), mount.device.as_str()), ("fuse.sshfs", "0:33"));
        assert!(mount.filesystem_has("user_id=0") && mount.has("rw") && !mount.has("ro"));
        assert_eq!(table.by_id(42).unwrap().filesystem_options, Vec::<String>::new());
        assert_eq!(table.by_id(36).unwrap().master, Some(1));
    }

    #[test]
    fn of_stacked_mounts_the_top_one_is_found() {
        let path = Path::new("/with\ttab\\\nx");
        assert_eq!(table().at(path).unwrap().id, 41);
        let mut turned = table();
        turned.mounts.reverse();
        assert_eq!(turned.at(path).unwrap().id, 41, "whatever the order of the lines");
        assert_eq!(table().at(Path::new("/nowhere")), None);
    }

    #[test]
    fn a_path_is_on_the_nearest_mount_above_it() {
        let on = |path: &str| table().covering(Path::new(path)).map(|mount| mount.id);
        assert_eq!(on("/mnt2/x/y"), Some(36));
        assert_eq!((on("/mnt22"), on("/"), on("/empty")), (Some(21), Some(21), Some(42)));
        assert_eq!(on("relative"), None);
    }

    #[test]
    fn the_mounts_below_one_are_found_level_by_level() {
        let ids = |id| table().below(id).iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids(21), [40, 42, 41]);
        assert_eq!(ids(41), Vec::<u64>::new());
    }

    #[test]
    fn a_path_is_placed_within_its_filesystem() {
        let table = table();
        let mount = table.by_id(36).unwrap();
        assert_eq!(mount.within(Path::new("/mnt2/x/y")), Some("/mnt1/x/y".into()));
        assert_eq!(mount.within(Path::new("/mnt2")), Some("/mnt1".into()));
        assert_eq!(mount.within(Path::new("/mnt22")), None);
    }

    /// As Linux 6.1 shows an export and a bind mount of a directory in it.
    #[test]
    fn what_two_mounts_of_nfs_show_is_told_apart_by_their_sources() {
        let table = MountTable::parse(
            b"34 1 0:27 / /m rw - nfs4 [fe80::1]:/ex rw\n35 1 0:27 / /t rw - nfs4 [fe80::1]:/ex/a/b rw\n",
        )
        .unwrap();
        let [export, bind] = table.mounts() else { panic!("{table:?}") };
        assert_eq!(export.within(Path::new("/m/a/b")), Some("/ex/a/b".into()));
        assert_eq!(bind.root, Path::new("/ex/a/b"));
        assert_eq!(bind.within(Path::new("/t/c")), Some("/ex/a/b/c".into()));
    }

    #[test]
    fn a_broken_line_is_refused_and_not_guessed_at() {
        for bad in ["x 1 0:1 / / rw - a b c", "1 2 0:1 / /", "1 2 0:1 / / rw shared:1", "1 2 0:1 / / rw - a"]
        {
            assert_eq!(MountTable::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn an_escape_that_is_none_stays() {
        for (text, plain) in [("\\04", "\\04"), ("\\800", "\\800"), ("a\\", "a\\"), ("\\134040", "\\040")] {
            assert_eq!(unescaped(text.as_bytes()), plain.as_bytes());
        }
    }

    #[test]
    fn the_table_of_this_process_is_understood() {
        assert!(MountTable::read().unwrap().at(Path::new("/")).is_some());
    }

    proptest! {
        #[test]
        fn any_path_is_read_back_and_no_text_breaks_the_reader(path in "/\\PC*", junk in "\\PC*") {
            let escape = |b: u8| match b {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{b:03o}").into_bytes(),
                b => vec![b],
            };
            let escaped: Vec<u8> = path.bytes().flat_map(escape).collect();
            let line = [b"1 0 0:1 / ".as_slice(), &escaped, b" rw - x y z"].concat();
            let table = MountTable::parse(&line).unwrap();
            prop_assert_eq!(table.mounts()[0].at.as_os_str().as_bytes(), path.as_bytes());
            let _ = MountTable::parse(junk.as_bytes());
        }
    }
}
