//! Real filesystems on loop images.

use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A kind of filesystem that a store is tried on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Tmpfs];

    /// Those that keep their content over a power cut.
    pub const LASTING: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    pub fn word(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
        }
    }

    /// The programs that make and mount it.
    pub fn tools(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "mount"],
            Self::Xfs => &["mkfs.xfs", "mount"],
            Self::Btrfs => &["mkfs.btrfs", "mkfs.xfs", "mount"],
            Self::Tmpfs => &["mount"],
        }
    }
}

/// A filesystem of its own, mounted until this is dropped.
#[derive(Debug)]
pub struct Filesystem {
    pub kind: Kind,
    image: PathBuf,
    mount: PathBuf,
    _dir: TempDir,
}

impl Filesystem {
    /// Makes and mounts one of `size` (as truncate(1) takes it).
    pub fn new(kind: Kind, size: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("persist-root-").tempdir().unwrap();
        Self::within(kind, size, dir.path().to_owned(), dir)
    }

    /// Makes one whose image lies in `place`, for instance on another filesystem.
    pub fn within(kind: Kind, size: &str, place: PathBuf, dir: TempDir) -> Self {
        let (image, mount) = (place.join("image"), dir.path().join("mount"));
        std::fs::create_dir(&mount).unwrap();
        if kind != Kind::Tmpfs {
            run("truncate", &["-s", size, text(&image)]);
            run(&format!("mkfs.{}", kind.word()), &["-q", text(&image)]);
        }
        let made = Self { kind, image, mount, _dir: dir };
        made.mount(size);
        made
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Takes the power away and gives it back: what was not made durable is gone. Not on btrfs, which has
    /// no such call: [`as_after_a_power_cut`](Self::as_after_a_power_cut).
    pub fn cut_power(self) -> Self {
        super::raw::shut_down(&self.mount);
        run("umount", &["-l", text(&self.mount)]);
        self.mount("");
        self
    }

    /// The filesystem as a power cut now would leave it: a clone of the image, mounted.
    pub fn as_after_a_power_cut(&self) -> Self {
        let dir = tempfile::Builder::new().prefix("persist-root-").tempdir().unwrap();
        let (image, mount) = (self.image.with_extension("cut"), dir.path().join("mount"));
        std::fs::create_dir(&mount).unwrap();
        run("cp", &["--reflink=always", text(&self.image), text(&image)]);
        // The clone has the same filesystem id: btrfs refuses two of them mounted at once.
        run("umount", &["-l", text(&self.mount)]);
        let made = Self { kind: self.kind, image, mount, _dir: dir };
        made.mount("");
        made
    }

    fn mount(&self, size: &str) {
        let (image, mount) = (text(&self.image), text(&self.mount));
        match self.kind {
            Kind::Tmpfs => run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", mount]),
            Kind::Btrfs => run("mount", &["-o", "loop,user_subvol_rm_allowed", image, mount]),
            Kind::Ext4 | Kind::Xfs => run("mount", &["-o", "loop", image, mount]),
        }
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        // A test that failed may have left files open: lazily, so that the next test finds nothing.
        let _ = Command::new("umount").args(["-q", "-R", "-l"]).arg(&self.mount).status();
    }
}

/// Runs a program that must succeed.
pub fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {}: {said}", output.status);
}

/// A path of the tests, which are all UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
