//! A tree outside of the root that must stay as it is, and whose content must not turn up inside.

use persist_core::tree::sample::{Description, describe, differences};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// What the files of the sentinel hold: found anywhere else, something outside was read.
pub const SECRET: &[u8] = b"the sentinel's own content";

/// A directory with `root`, which a test may do anything to, and `outside`, which nothing may touch.
pub struct Ground {
    dir: tempfile::TempDir,
    before: Description,
    changed: Vec<(PathBuf, (i64, i64))>,
}

impl Ground {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("victim/sub")).unwrap();
        for file in ["passwd", "file", "victim/f0", "victim/sub/f0", "f0"] {
            fs::write(outside.join(file), SECRET).unwrap();
        }
        for root in ["source", "target"] {
            fs::create_dir(dir.path().join(root)).unwrap();
        }
        let before = describe(&outside).unwrap();
        let changed = changes(&outside);
        Self { dir, before, changed }
    }

    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    pub fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    pub fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    /// An empty target again.
    pub fn empty_target(&self) -> PathBuf {
        fs::remove_dir_all(self.target()).unwrap();
        fs::create_dir(self.target()).unwrap();
        self.target()
    }

    /// The sentinel is as it was, down to the times of change, and the target has nothing of it.
    pub fn check(&self, what: &str) {
        let after = describe(&self.outside()).unwrap();
        assert_eq!(differences(&self.before, &after, &[]), [""; 0], "{what}: outside was changed");
        assert_eq!(changes(&self.outside()), self.changed, "{what}: something outside was touched");
        each(&self.target(), &mut |path| {
            if path.symlink_metadata().unwrap().is_file() {
                assert_ne!(fs::read(path).unwrap_or_default(), SECRET, "{what}: {path:?} was read outside");
            }
        });
    }
}

/// Every path with its time of change, which no call can set back (a further name of a file moves it too).
fn changes(root: &Path) -> Vec<(PathBuf, (i64, i64))> {
    let mut found = Vec::new();
    each(root, &mut |path| {
        let stat = path.symlink_metadata().unwrap();
        found.push((path.to_path_buf(), (stat.ctime(), stat.ctime_nsec())));
    });
    found.sort();
    found
}

fn each(path: &Path, see: &mut dyn FnMut(&Path)) {
    see(path);
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            each(&entry.unwrap().path(), see);
        }
    }
}
