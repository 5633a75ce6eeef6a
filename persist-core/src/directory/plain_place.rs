//! The plainest place, for the engine's own tests: directories, `cp -a`, rename(2), syncfs counted.

use super::{
    open::{PeriodicSyncs, StoreAt},
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
    hook: Mutex<Option<(Point, Hook)>>,
}

/// Where a test may step in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    BeforeTree,
    AfterMove,
    Flush,
    Remove,
}

/// What a test does in the middle of the engine's work, once.
struct Hook(Box<dyn FnOnce() -> Result<()> + Send>);

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
            trust: crate::tree::Trust::Untrusted,
            periodic: PeriodicSyncs::ByStore,
        };
        DirectoryStore::open(at, options, move |_| Ok(place)).await
    }

    /// Does `hook` the next time that the engine comes to `point`. A panic is a kill: what is open is closed,
    /// and nothing is cleaned up.
    pub(super) fn at(&self, point: Point, hook: impl FnOnce() -> Result<()> + Send + 'static) {
        *self.hook.lock().unwrap() = Some((point, Hook(Box::new(hook))));
    }

    fn reached(&self, point: Point) -> Result<()> {
        let hook = self.hook.lock().unwrap().take_if(|(at, _)| *at == point);
        hook.map_or(Ok(()), |(_, Hook(hook))| hook())
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<Cut> {
        self.reached(Point::BeforeTree)?;
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
        self.reached(Point::BeforeTree)?;
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
        self.reached(Point::BeforeTree)?;
        fs::rename(from, to).map_err(|e| cause(e, "rename", from.display()))?;
        self.reached(Point::AfterMove)?;
        Ok(Cut::default())
    }

    fn remove_tree(&self, at: &Path, _: &Meter) -> Result<()> {
        self.reached(Point::Remove)?;
        match fs::remove_dir_all(at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cause(e, "remove", at.display())),
            _ => Ok(()),
        }
    }

    fn flush(&self, _: &Path, _: &Meter) -> Result<()> {
        self.flushes.fetch_add(1, Relaxed);
        self.reached(Point::Flush)
    }

    fn limit_size(&self, _: &Path, size_bytes: Option<u64>) -> Result<()> {
        self.limits.lock().unwrap().push(size_bytes);
        Ok(())
    }

    fn reach(&self) -> Result<()> {
        Ok(())
    }

    fn lease(&self) -> Option<std::time::Duration> {
        None
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
