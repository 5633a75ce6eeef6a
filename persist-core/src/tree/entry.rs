//! One entry of a tree: what it is, where it is, and everything a filesystem says about it.

use crate::error::{Error, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::Path};

/// A path inside a tree: relative, of normal components only, in raw bytes.
///
/// Ordered component by component (a directory before what is in it, `a/b` before `a.b`), which is the
/// order of a depth-first walk with sorted directories. The root is the empty path.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Validates `bytes`: no leading or trailing slash, no empty component, no `.`, no `..`, no NUL,
    /// and no component above 255 bytes. The whole may be longer than `PATH_MAX`: the engine never
    /// hands it to the kernel in one piece.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid): the path could leave the tree, or no
    /// filesystem can hold it.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.split(|b| *b == b'/').all(is_component) {
            return Ok(Self(bytes));
        }
        let shown = crate::name::shortened(&String::from_utf8_lossy(&bytes));
        Err(Error::invalid("path", "not a relative path of normal components")
            .context("value", format_args!("{shown:?}")))
    }

    /// The path of the child `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if `name` is not one normal component.
    pub fn join(&self, name: &[u8]) -> Result<Self> {
        if !is_component(name) {
            return Err(Error::invalid("path", "not a normal file name")
                .context("value", format_args!("{:?}", OsStr::from_bytes(name))));
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Ok(Self(bytes))
    }

    /// The raw bytes, with `/` between components.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for the standard library; relative.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components from the root downwards.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|c| !c.is_empty())
    }

    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// The path of the directory that holds this entry; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let name = self.name()?;
        let end = (self.0.len() - name.len()).saturating_sub(1);
        Some(Self(self.0[..end].to_vec()))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.components().cmp(other.components())
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<Vec<u8>> for TreePath {
    type Error = Error;

    fn try_from(bytes: Vec<u8>) -> Result<Self> {
        Self::new(bytes)
    }
}

impl From<TreePath> for Vec<u8> {
    fn from(path: TreePath) -> Self {
        path.0
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(OsStr::from_bytes(&self.0), f)
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { write!(f, "{}", String::from_utf8_lossy(&self.0)) }
    }
}

/// The longest file name that Linux allows, in bytes (`NAME_MAX`, limits.h).
pub const COMPONENT_MAX_BYTES: usize = 255;

fn is_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() <= COMPONENT_MAX_BYTES
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes, holes included.
        size: u64,
        /// Its ranges of data, in order; what lies between them is a hole. `None` where the source
        /// cannot tell: then everything is data.
        data: Option<Vec<DataRange>>,
    },
    /// A symbolic link, dangling or not.
    Symlink {
        /// Where it points, byte for byte.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharacterDevice {
        /// The device number, as stat(2) encodes it.
        device: u64,
    },
    /// A block device.
    BlockDevice {
        /// The device number, as stat(2) encodes it.
        device: u64,
    },
}

/// A range of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// What a filesystem says about an entry beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Permission bits with set-id and sticky: the lower twelve bits of `st_mode`.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Modification time: whole seconds since 1970, may be negative.
    pub mtime_s: i64,
    /// Modification time: nanoseconds within the second, 0 to 999,999,999.
    pub mtime_ns: u32,
    /// Inode flags that are kept (`FS_IOC_GETFLAGS`: immutable, append, nodump).
    pub flags: u32,
    /// Extended attributes by name, POSIX ACLs (`system.posix_acl_*`) and labels included, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xattr {
    /// The name with its namespace, such as `user.origin`.
    pub name: Vec<u8>,
    /// The value, byte for byte.
    pub value: Bytes,
}

/// A hash of a file's content, for stores that know it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash {
    /// The algorithm, such as `blake3`; two hashes of different algorithms are not comparable.
    pub algorithm: String,
    /// The digest.
    pub digest: Vec<u8>,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is; the first entry of a tree is its root.
    pub path: TreePath,
    /// What it is.
    pub kind: EntryKind,
    /// Owner, mode, times, attributes.
    pub metadata: Metadata,
    /// For a name of a file that has several: the path under which the file first appears in path
    /// order. Equal to `path` on that first name.
    pub link: Option<TreePath>,
    /// The content's hash, where the source knows it without reading.
    pub hash: Option<ContentHash>,
}

impl Entry {
    /// An entry with one name and no known hash.
    pub fn new(path: TreePath, kind: EntryKind, metadata: Metadata) -> Self {
        Self { path, kind, metadata, link: None, hash: None }
    }

    /// The bytes of its content, holes included; zero unless it is a file.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_the_tree_are_refused() {
        let long = vec![b'x'; 256];
        for bad in [&b"/"[..], b"/a", b"a/", b"a//b", b".", b"a/..", b"../a", b"a\0b", &long] {
            assert!(TreePath::new(bad).is_err(), "{bad:?}");
        }
        for good in [&b""[..], b"a", b"a/b", b"...", b"a\\b", b"\xff\xfe", b"a\nb"] {
            assert!(TreePath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_directory_comes_right_before_what_is_in_it() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let mut paths = [path("a.b"), path("a/b"), path("a"), TreePath::root()];
        paths.sort();
        assert_eq!(paths, [TreePath::root(), path("a"), path("a/b"), path("a.b")]);
    }

    proptest! {
        #[test]
        fn parent_and_name_make_the_path_again(parts in prop::collection::vec("[a-z.]{3,5}", 1..6)) {
            let path = TreePath::new(parts.join("/")).unwrap();
            let again = path.parent().unwrap().join(path.name().unwrap()).unwrap();
            prop_assert_eq!(again, path);
        }
    }
}
