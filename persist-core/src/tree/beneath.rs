//! Opening things below a directory so that nothing planted in it can lead outside.

use super::{
    entry::TreePath,
    stat::{Handle, Stat},
};
use crate::{
    error::{Error, Result},
    linux::cause::{beneath, cause},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};
use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

/// An opened directory below which everything is resolved; cheap to clone.
///
/// # Promise
/// No path resolved here leaves the directory or passes a symbolic link, whatever another process
/// renames or plants meanwhile, and (unless [`Mounts::Cross`]) it stays on the root's mount. Paths may
/// be longer than `PATH_MAX`. Uses openat2(2) with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
/// RESOLVE_NO_MAGICLINKS`; where a kernel or a seccomp filter refuses that call, one `O_NOFOLLOW` open a
/// component, which promises the same.
#[derive(Debug, Clone)]
pub struct Root {
    fd: Arc<OwnedFd>,
    shown: Arc<Path>,
    mounts: Mounts,
    method: Method,
}

/// Whether a tree goes on behind a mount point in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Mounts {
    /// It ends there.
    #[default]
    Stay,
    /// It goes on.
    Cross,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Openat2,
    ByComponent,
}

/// Bytes of a path that are given to the kernel in one piece: below `PATH_MAX` (4096, limits.h) with its
/// terminating NUL.
const PIECE_MAX_BYTES: usize = 4000;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

impl Root {
    /// Opens the directory `path`. Symbolic links in `path` itself are followed: it is the caller's.
    ///
    /// # Errors
    /// As [`cause`] maps them; [`Invalid`](crate::ErrorKind::Invalid) if it is not a directory.
    pub fn open(path: &Path) -> Result<Self> {
        let fd = openat(CWD, path, DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| cause(e, "open", path.display()))?;
        Ok(Self::of(fd, path))
    }

    /// The directory that `fd` is; `shown` names it in errors.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not a directory.
    pub fn from_fd(fd: OwnedFd, shown: &Path) -> Result<Self> {
        let stat = Stat::of(Handle::Open(fd.as_fd())).map_err(|e| cause(e, "stat", shown.display()))?;
        if !stat.is_directory() {
            return Err(Error::invalid("root", "not a directory").during("open", shown.display()));
        }
        Ok(Self::of(fd, shown))
    }

    fn of(fd: OwnedFd, shown: &Path) -> Self {
        let method = probe(&fd);
        Self { fd: Arc::new(fd), shown: shown.into(), mounts: Mounts::default(), method }
    }

    /// Says whether paths may pass mount points.
    #[must_use]
    pub fn with_mounts(mut self, mounts: Mounts) -> Self {
        self.mounts = mounts;
        self
    }

    /// Whether paths may pass mount points.
    pub fn mounts(&self) -> Mounts {
        self.mounts
    }

    /// The path under which it was opened; for errors only.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// What is at `path`, not followed if it is a symbolic link.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Denied`](crate::ErrorKind::Denied) for a path that
    /// leaves the tree.
    pub fn stat(&self, path: &TreePath) -> Result<Stat> {
        let (dir, name) = self.parent_of(path)?;
        Stat::of(Handle::Name { dir: dir.as_fd(), name: &name })
            .map_err(|e| beneath(e, "stat", self.place(path)))
    }

    /// Opens the directory at `path` for reading.
    ///
    /// # Errors
    /// As [`open_at`](Self::open_at).
    pub fn directory(&self, path: &TreePath) -> Result<OwnedFd> {
        self.open_at(path, DIRECTORY, Mode::empty())
    }

    /// Opens `path` with `flags` (`O_NOFOLLOW` and `O_CLOEXEC` are added) and, where it is created, `mode`.
    ///
    /// # Errors
    /// [`Denied`](crate::ErrorKind::Denied) for a path that leaves the tree or passes a link; else as
    /// [`cause`] maps them.
    pub fn open_at(&self, path: &TreePath, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.open_from(self.fd.as_fd(), path.as_bytes(), flags, mode)
            .map_err(|e| beneath(e, "open", self.place(path)))
    }

    /// The opened directory that holds `path`, and the name of `path` in it; the root itself is `.`.
    ///
    /// # Errors
    /// As [`open_at`](Self::open_at).
    pub fn parent_of(&self, path: &TreePath) -> Result<(OwnedFd, CString)> {
        let name = path.name().unwrap_or(b".");
        let name = CString::new(name).map_err(|_| Error::invalid("path", "a name with a NUL byte"))?;
        Ok((self.directory(&path.parent().unwrap_or_default())?, name))
    }

    /// The directory at `path` as a root of its own.
    ///
    /// # Errors
    /// As [`open_at`](Self::open_at).
    pub fn subtree(&self, path: &TreePath) -> Result<Self> {
        let fd = Arc::new(self.directory(path)?);
        Ok(Self { fd, shown: self.shown.join(path.as_path()).into(), ..self.clone() })
    }

    /// Where `path` is, for an error: the root's path and `path`, shortened.
    pub(crate) fn place(&self, path: &TreePath) -> String {
        let shown = if path.is_root() { self.shown.to_path_buf() } else { self.shown.join(path.as_path()) };
        cut(&shown.display().to_string())
    }

    /// Opens `path` below `start`, which is this root or a directory below it.
    pub(crate) fn open_from(
        &self,
        start: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut pieces = pieces(path, self.method).peekable();
        let mut at: Option<OwnedFd> = None;
        while let Some(piece) = pieces.next() {
            let dir = at.as_ref().map_or(start, AsFd::as_fd);
            let next = match pieces.peek() {
                Some(_) => self.step(dir, piece, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?,
                None => return self.step(dir, piece, flags, mode),
            };
            at = Some(next);
        }
        self.step(start, b".", flags, mode)
    }

    fn step(&self, dir: BorrowedFd<'_>, piece: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.method {
            Method::Openat2 => openat2(dir, piece, flags, mode, self.resolve()),
            Method::ByComponent => self.stay(dir, openat(dir, piece, flags, mode)?),
        }
    }

    fn resolve(&self) -> ResolveFlags {
        match self.mounts {
            Mounts::Stay => BENEATH | ResolveFlags::NO_XDEV,
            Mounts::Cross => BENEATH,
        }
    }

    /// What `RESOLVE_NO_XDEV` does, for one component.
    fn stay(&self, dir: BorrowedFd<'_>, opened: OwnedFd) -> Result<OwnedFd, Errno> {
        if self.mounts == Mounts::Stay {
            let (from, to) = (Stat::of(Handle::Open(dir))?, Stat::of(Handle::Open(opened.as_fd()))?);
            if from.mount != to.mount {
                return Err(Errno::XDEV);
            }
        }
        Ok(opened)
    }

    /// The same root without openat2(2), as on a kernel that lacks it.
    #[cfg(test)]
    pub(crate) fn by_component(mut self) -> Self {
        self.method = Method::ByComponent;
        self
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Kernels before 5.6 say `ENOSYS`, seccomp filters that do not know the call `EPERM` or `ENOSYS`.
fn probe(fd: &OwnedFd) -> Method {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(fd, ".", flags, Mode::empty(), BENEATH) {
        Ok(_) => Method::Openat2,
        Err(_) => Method::ByComponent,
    }
}

/// Cuts `path` into what is resolved in one call: single components, or pieces below `PATH_MAX`.
fn pieces(path: &[u8], method: Method) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let end = match method {
            _ if rest.is_empty() => return None,
            Method::Openat2 if rest.len() <= PIECE_MAX_BYTES => rest.len(),
            Method::Openat2 => rest[..PIECE_MAX_BYTES].iter().rposition(|b| *b == b'/')?,
            Method::ByComponent => rest.iter().position(|b| *b == b'/').unwrap_or(rest.len()),
        };
        let piece = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(piece)
    })
}

/// Characters of a path that an error or a remark shows at most: enough for every usual path, and one
/// line still when a hostile tree is a thousand levels deep.
const SHOWN_CHARS: usize = 400;

/// The end of `path`, where what differs is, if it is too long to show.
pub(crate) fn cut(path: &str) -> String {
    match path.char_indices().rev().nth(SHOWN_CHARS) {
        Some((start, c)) => format!("...{}", &path[start + c.len_utf8()..]),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::{fs, io::Read, os::unix::fs::symlink};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn both(root: &Path) -> [Root; 2] {
        [Root::open(root).unwrap(), Root::open(root).unwrap().by_component()]
    }

    #[test]
    fn a_planted_link_never_leads_outside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("real")).unwrap();
        fs::write(tree.path().join("real/file"), "inside").unwrap();
        symlink(outside.path(), tree.path().join("out")).unwrap();
        symlink("real", tree.path().join("in")).unwrap();
        symlink(outside.path().join("secret"), tree.path().join("real/leak")).unwrap();
        for root in both(tree.path()) {
            for bad in ["out/secret", "in/file", "real/leak"] {
                let error = root.open_at(&path(bad), OFlags::RDONLY, Mode::empty()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Denied, "{bad}: {error}");
            }
            let error = root.directory(&path("out")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            let mut text = String::new();
            let file = root.open_at(&path("real/file"), OFlags::RDONLY, Mode::empty()).unwrap();
            fs::File::from(file).read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside");
            assert!(root.stat(&path("real/leak")).is_ok(), "a link itself can be looked at");
        }
    }

    #[test]
    fn a_tree_deeper_than_a_path_can_be_long_is_reached() {
        let tree = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut at = TreePath::root();
        for _ in 0..40 {
            for root in both(tree.path()).iter().take(1) {
                let (dir, _) = root.parent_of(&at.join(name.as_bytes()).unwrap()).unwrap();
                rustix::fs::mkdirat(&dir, name.as_str(), Mode::from_raw_mode(0o700)).unwrap();
            }
            at = at.join(name.as_bytes()).unwrap();
        }
        assert!(at.as_bytes().len() > 8000);
        let [one, two] = both(tree.path());
        assert_eq!(one.stat(&at).unwrap().ino, two.stat(&at).unwrap().ino);
        assert!(one.subtree(&at).is_ok());
    }

    #[test]
    fn a_mount_inside_the_tree_is_crossed_only_on_request() {
        let proc = Path::new("/");
        let inside = path("proc/self");
        for root in both(proc) {
            let error = root.directory(&path("proc")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
            assert!(root.stat(&inside).is_err());
            assert!(root.with_mounts(Mounts::Cross).directory(&path("proc/1")).is_ok());
        }
    }

    #[test]
    fn pieces_join_to_the_path() {
        let long = vec!["x".repeat(255); 60].join("/");
        for text in ["", "a", "a/b/c", long.as_str()] {
            for method in [Method::Openat2, Method::ByComponent] {
                let joined: Vec<&[u8]> = pieces(text.as_bytes(), method).collect();
                assert!(joined.iter().all(|p| p.len() <= PIECE_MAX_BYTES && !p.is_empty()));
                assert_eq!(joined.join(&b'/'), text.as_bytes());
            }
        }
    }
}
