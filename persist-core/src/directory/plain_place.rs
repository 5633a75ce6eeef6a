//! The plainest place, for the engine's own tests: directories, `cp -a`, rename(2), syncfs counted.

use super::{
    open::StoreAt,
    place::{Cut, CutMode, MountRequest, Place, Unmounted, Verdict},
    store::DirectoryStore,
};
use crate::{
    attachment::BusyFiles,
    capability::{Capabilities, Characteristics},
    error::Result,
    holder::{Holder, Node},
    linux::cause::cause,
    open::OpenOptions,
    progress::Meter,
    volume::Import,
};
use std::{
    fs, io,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// What the place was told to enforce or to do, for tests to look at.
#[derive(Debug, Default)]
pub(super) struct PlainPlace {
    pub(super) flushes: AtomicU64,
    pub(super) limits: Mutex<Vec<Option<u64>>>,
    /// Called with each path before a tree is made there.
    pub(super) before_tree: Mutex<Option<Hook>>,
}

/// What a test does in the middle of the engine's work.
pub(super) struct Hook(pub(super) Box<dyn FnMut(&Path) -> Result<()> + Send>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl PlainPlace {
    pub(super) async fn open(self: &Arc<Self>, root: &Path, options: OpenOptions) -> Result<DirectoryStore> {
        let place: Arc<dyn Place> = Arc::clone(self) as _;
        let at = StoreAt {
            root: root.into(),
            kind: "plain".into(),
            location: format!("plain:{}", root.display()),
        };
        DirectoryStore::open(at, options, move |_| Ok(place)).await
    }

    fn hooked(&self, to: &Path) -> Result<()> {
        match &mut *self.before_tree.lock().unwrap() {
            Some(hook) => (hook.0)(to),
            None => Ok(()),
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<Cut> {
        self.hooked(to)?;
        let done = Command::new("cp").arg("-a").arg("--").args([from, to]).status();
        let done = done.map_err(|e| cause(e, "copy", from.display()))?;
        assert!(done.success(), "cp -a {} {}", from.display(), to.display());
        Ok(Cut::default())
    }
}

impl Place for PlainPlace {
    fn capabilities(&self) -> Capabilities {
        Capabilities::SNAPSHOTS | Capabilities::ENFORCED_SIZE
    }

    fn characteristics(&self) -> Characteristics {
        Characteristics::default()
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        self.hooked(at)?;
        fs::create_dir(at).map_err(|e| cause(e, "mkdir", at.display()))
    }

    fn cut(&self, from: &Path, to: &Path, _: CutMode, _: &Meter) -> Result<Cut> {
        self.copy(from, to)
    }

    fn seal(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn import(&self, from: &Path, to: &Path, import: Import, _: &Meter) -> Result<Cut> {
        if import == Import::Copy {
            return self.copy(from, to);
        }
        self.hooked(to)?;
        fs::rename(from, to).map_err(|e| cause(e, "rename", from.display()))?;
        Ok(Cut::default())
    }

    fn remove_tree(&self, at: &Path, _: &Meter) -> Result<()> {
        match fs::remove_dir_all(at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "remove", at.display())),
            _ => Ok(()),
        }
    }

    fn flush(&self, _: &Path) -> Result<()> {
        self.flushes.fetch_add(1, Relaxed);
        Ok(())
    }

    fn limit_size(&self, _: &Path, size_bytes: Option<u64>) -> Result<()> {
        self.limits.lock().unwrap().push(size_bytes);
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> Result<u64> {
        Ok(1 << 40)
    }

    fn verdict(&self, _: &Holder, _: &Node) -> Verdict {
        Verdict::CannotTell
    }

    fn mount(&self, _: &MountRequest<'_>) -> Result<()> {
        unreachable!("MOUNTS is not claimed")
    }

    fn unmount(&self, _: &Path, _: &Path, _: BusyFiles) -> Result<Unmounted> {
        unreachable!("MOUNTS is not claimed")
    }
}
