//! Trees in memory: written into a volume, read back from a path or from a source, and compared.

use crate::{
    Error, ErrorKind, Result,
    tree::{Entry, EntryKind, Metadata, TreePath, TreeSource, TreeTotals},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    ops::Range,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt},
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

/// A whole tree, entry by entry, the root included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<TreePath, Leaf>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Leaf {
    what: What,
    mode: u32,
    /// Seconds and nanoseconds; zero for links, whose times nobody sets.
    mtime: (i64, u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    /// Another name of the file at this path.
    Alias(TreePath),
}

impl Tree {
    /// A small tree of every ordinary kind, with odd names; another one for every `tag`.
    pub(super) fn sample(tag: &str) -> Self {
        let data: Vec<u8> = tag.bytes().cycle().take(100_000).collect();
        let mut tree = Self(BTreeMap::new());
        tree.put(b"", What::Directory, 0o755);
        tree.put(b"hello", What::File(format!("hello {tag}").into_bytes()), 0o644);
        tree.put(tag.as_bytes(), What::File(Vec::new()), 0o600);
        tree.put(b"dir", What::Directory, 0o750);
        tree.put(b"dir/data", What::File(data), 0o640);
        tree.put(b"dir/other name", What::Alias(path(b"dir/data")), 0o640);
        tree.put(b"dir/run", What::File(b"#!/bin/sh\n".to_vec()), 0o755);
        tree.put(b"dir/empty", What::Directory, 0o700);
        tree.put(b"link", What::Symlink(b"dir/data".to_vec()), 0o777);
        tree.put(b"dangling", What::Symlink(b"no/where".to_vec()), 0o777);
        tree.put(b"new\nline \xff\xfe", What::File(tag.as_bytes().to_vec()), 0o644);
        tree
    }

    /// Writes the tree at `root`, an existing directory, and flushes nothing.
    pub(super) fn write(&self, root: &Path) {
        for (path, leaf) in &self.0 {
            let at = root.join(path.as_path());
            match &leaf.what {
                What::Directory if path.is_root() => {}
                What::Directory => fs::create_dir(&at).unwrap(),
                What::File(content) => fs::write(&at, content).unwrap(),
                What::Symlink(target) => {
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &at).unwrap();
                }
                What::Alias(first) => fs::hard_link(root.join(first.as_path()), &at).unwrap(),
            }
        }
        // Backwards: what is in a directory before the directory, whose time it would move.
        for (path, leaf) in self.0.iter().rev().filter(|(_, leaf)| !leaf.is_symlink()) {
            let at = root.join(path.as_path());
            fs::set_permissions(&at, fs::Permissions::from_mode(leaf.mode)).unwrap();
            let (seconds, nanos) = leaf.mtime;
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds.try_into().unwrap(), nanos);
            fs::File::open(&at).unwrap().set_modified(time).unwrap();
        }
    }

    /// Removes everything at `root` and writes this tree instead.
    pub(super) fn replace(&self, root: &Path) {
        empty(root);
        self.write(root);
    }

    /// Reads what is at `root`.
    pub(super) fn read(root: &Path) -> Self {
        let mut tree = Self(BTreeMap::new());
        tree.read_below(root, TreePath::root());
        tree.name_aliases(root);
        tree
    }

    /// Reads a source, entry by entry and file by file.
    pub(super) async fn of(source: &dyn TreeSource) -> Self {
        let mut tree = Self(BTreeMap::new());
        let mut entries = source.entries(None);
        while let Some(entry) = entries.try_next().await.unwrap() {
            let what = match (&entry.kind, &entry.link) {
                (EntryKind::File { .. }, Some(first)) if *first != entry.path => What::Alias(first.clone()),
                (EntryKind::File { size, .. }, _) => {
                    What::File(source.read(&entry.path, 0..*size).await.unwrap().to_vec())
                }
                (EntryKind::Directory, _) => What::Directory,
                (EntryKind::Symlink { target }, _) => What::Symlink(target.clone()),
                (other, _) => panic!("{} is a {other:?}", entry.path),
            };
            let mtime = (entry.metadata.mtime_s, entry.metadata.mtime_ns);
            tree.0.insert(entry.path, Leaf::new(what, entry.metadata.mode, mtime));
        }
        tree
    }

    /// Fails unless both trees are the same, naming the paths that are not.
    #[track_caller]
    pub(super) fn assert_is(&self, wanted: &Self) {
        let paths = self.0.keys().chain(wanted.0.keys());
        let mut differ: Vec<_> = paths.filter(|path| self.0.get(path) != wanted.0.get(path)).collect();
        differ.sort();
        differ.dedup();
        let shown = |tree: &Self, path: &TreePath| tree.0.get(path).map(Leaf::shown);
        let lines: Vec<_> = differ
            .iter()
            .map(|path| format!("{path:?}: is {:?}, not {:?}", shown(self, path), shown(wanted, path)))
            .collect();
        assert!(lines.is_empty(), "the trees differ: {lines:#?}");
    }

    /// Fails unless the tree at `root` is this one.
    #[track_caller]
    pub(super) fn assert_at(&self, root: &Path) {
        Self::read(root).assert_is(self);
    }

    /// How many entries it has, the root included.
    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn put(&mut self, at: &[u8], what: What, mode: u32) {
        let mtime = (1_600_000_000 + self.0.len() as i64, 123_456_789);
        let mtime = match &what {
            What::Alias(first) => self.0[first].mtime,
            _ => mtime,
        };
        self.0.insert(path(at), Leaf::new(what, mode, mtime));
    }

    fn read_below(&mut self, root: &Path, at: TreePath) {
        let full = root.join(at.as_path());
        let meta = fs::symlink_metadata(&full).unwrap();
        let what = if meta.is_dir() {
            for child in fs::read_dir(&full).unwrap() {
                self.read_below(root, at.join(child.unwrap().file_name().as_bytes()).unwrap());
            }
            What::Directory
        } else if meta.is_symlink() {
            What::Symlink(fs::read_link(&full).unwrap().as_os_str().as_bytes().to_vec())
        } else {
            What::File(fs::read(&full).unwrap())
        };
        let mtime = (meta.mtime(), meta.mtime_nsec().try_into().unwrap());
        self.0.insert(at, Leaf::new(what, meta.mode() & 0o7777, mtime));
    }

    fn name_aliases(&mut self, root: &Path) {
        let mut first = HashMap::new();
        for (path, leaf) in &mut self.0 {
            if let What::File(_) = leaf.what {
                let inode = fs::symlink_metadata(root.join(path.as_path())).unwrap().ino();
                let name = first.entry(inode).or_insert_with(|| path.clone());
                if *name != *path {
                    leaf.what = What::Alias(name.clone());
                }
            }
        }
    }
}

impl Leaf {
    fn new(what: What, mode: u32, mtime: (i64, u32)) -> Self {
        match what {
            What::Symlink(_) => Self { what, mode: 0, mtime: (0, 0) },
            _ => Self { what, mode, mtime },
        }
    }

    fn is_symlink(&self) -> bool {
        matches!(self.what, What::Symlink(_))
    }

    /// For people: contents by their length and beginning.
    fn shown(&self) -> String {
        let what = match &self.what {
            What::File(content) => {
                let head = String::from_utf8_lossy(&content[..content.len().min(20)]).into_owned();
                format!("{} bytes {head:?}", content.len())
            }
            other => format!("{other:?}"),
        };
        format!("{what} mode {:o} mtime {:?}", self.mode, self.mtime)
    }
}

/// A [`Tree`] as a source, which counts how often it is read and can fail on the way.
#[derive(Debug)]
pub(super) struct MemorySource {
    tree: Arc<Tree>,
    fail_after: Option<usize>,
    reads: AtomicUsize,
}

impl MemorySource {
    pub(super) fn new(tree: &Tree) -> Arc<Self> {
        Arc::new(Self { tree: Arc::new(tree.clone()), fail_after: None, reads: AtomicUsize::new(0) })
    }

    /// Fails after this many entries.
    pub(super) fn failing(tree: &Tree, after: usize) -> Arc<Self> {
        Arc::new(Self { tree: Arc::new(tree.clone()), fail_after: Some(after), reads: AtomicUsize::new(0) })
    }

    /// How often its entries were asked for.
    pub(super) fn reads(&self) -> usize {
        self.reads.load(SeqCst)
    }
}

#[async_trait]
impl TreeSource for MemorySource {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        self.reads.fetch_add(1, SeqCst);
        let passed = |path: &TreePath| after.as_ref().is_none_or(|after| path > after);
        let mut items: Vec<_> = self
            .tree
            .0
            .iter()
            .filter(|(p, _)| passed(p))
            .map(|(p, leaf)| Ok(self.tree.entry(p, leaf)))
            .collect();
        if let Some(after) = self.fail_after {
            items.truncate(after);
            items.push(Err(
                Error::new(ErrorKind::Unavailable, "the source broke off").during("read", "source")
            ));
        }
        stream::iter(items).boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        Ok(self.tree.0.get(path).map(|leaf| self.tree.entry(path, leaf)))
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        let content = self.tree.content(path);
        let end = range.end.min(content.len() as u64) as usize;
        Ok(Bytes::copy_from_slice(&content[(range.start as usize).min(end)..end]))
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}

impl Tree {
    fn entry(&self, at: &TreePath, leaf: &Leaf) -> Entry {
        let kind = match &leaf.what {
            What::Directory => EntryKind::Directory,
            What::Symlink(target) => EntryKind::Symlink { target: target.clone() },
            What::File(_) | What::Alias(_) => {
                EntryKind::File { size: self.content(at).len() as u64, data: None }
            }
        };
        // Owned by whoever runs the suite, so that it can be written without privilege.
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let (mtime_s, mtime_ns) = leaf.mtime;
        let metadata = Metadata { mode: leaf.mode, uid, gid, mtime_s, mtime_ns, ..Metadata::default() };
        let mut entry = Entry::new(at.clone(), kind, metadata);
        let first = if let What::Alias(first) = &leaf.what { first } else { at };
        let shared = |leaf: &Leaf| matches!(&leaf.what, What::Alias(of) if of == first);
        entry.link = self.0.values().any(shared).then(|| first.clone());
        entry
    }

    fn content(&self, at: &TreePath) -> &[u8] {
        match &self.0[at].what {
            What::File(content) => content,
            What::Alias(first) => self.content(first),
            _ => &[],
        }
    }
}

/// Removes everything below `root`.
pub(super) fn empty(root: &Path) {
    for child in fs::read_dir(root).unwrap() {
        let child = child.unwrap();
        if child.file_type().unwrap().is_dir() {
            fs::remove_dir_all(child.path()).unwrap();
        } else {
            fs::remove_file(child.path()).unwrap();
        }
    }
}

/// The names below `root`, sorted.
pub(super) fn names(root: &Path) -> Vec<String> {
    let children = fs::read_dir(root).unwrap();
    let mut names: Vec<_> = children.map(|c| c.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

pub(super) fn path(bytes: &[u8]) -> TreePath {
    TreePath::new(bytes).unwrap()
}
