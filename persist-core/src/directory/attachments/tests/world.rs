//! A store in a temporary directory, on a place that remembers what it was asked.

use crate::{
    attachment::{AttachOptions, BusyFiles},
    capability::{Capabilities, Characteristics, Fencing},
    clock::{SystemEnvironment, Timestamp},
    directory::{
        Cut, CutMode, DirectoryStore, MountMode, MountRequest, PeriodicSyncs, Place, StoreAt, Unmounted,
        Verdict,
        durable::Durable,
        records,
        snapshots::record::StoredSnapshot,
        stored::{NameRecord, StoredVolume},
    },
    error::{Error, ErrorKind, Result, Retry},
    holder::{BootId, Holder, Liveness, Node, NodeId, Workload},
    id::VolumeId,
    linux::process::{Life, life},
    name::VolumeName,
    open::{OpenMode, OpenOptions},
    progress::Meter,
    snapshot::{SnapshotName, SnapshotRecord},
    volume::{Import, VolumeRecord, VolumeSpec},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::sync::Notify;

pub(super) const PLAIN: Capabilities = Capabilities::SNAPSHOTS
    .union(Capabilities::MANY_READERS)
    .union(Capabilities::SHARED_ON_NODE)
    .union(Capabilities::SHARED_ACROSS_NODES);
pub(super) const MOUNTING: Capabilities = PLAIN.union(Capabilities::MOUNTS).union(Capabilities::LIVE_READERS);

/// A store and the place it is in.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) place: Arc<Remembering>,
}

/// A place of plain directories.
#[derive(Debug)]
pub(super) struct Remembering {
    capabilities: Capabilities,
    pub(super) dead: Mutex<Vec<Workload>>,
    /// Targets, with what is mounted there.
    pub(super) mounts: Mutex<BTreeMap<PathBuf, (PathBuf, MountMode)>>,
    pub(super) busy: Mutex<Vec<PathBuf>>,
    pub(super) flushes: AtomicU64,
    pub(super) flushed: Notify,
    /// How many flushes fail from now on.
    pub(super) failing: AtomicU64,
    /// Where leases run out, after how long.
    pub(super) lease: Mutex<Option<Duration>>,
    /// Steps until one panics, as a kill there would end the process.
    pub(super) steps_to_live: AtomicI64,
}

impl World {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        let place = Remembering {
            capabilities,
            dead: Mutex::default(),
            mounts: Mutex::default(),
            busy: Mutex::default(),
            flushes: AtomicU64::new(0),
            flushed: Notify::new(),
            failing: AtomicU64::new(0),
            lease: Mutex::default(),
            steps_to_live: AtomicI64::new(i64::MAX),
        };
        Self { dir: tempfile::tempdir().unwrap(), place: Arc::new(place) }
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A path outside the store.
    pub(super) fn outside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) async fn open(&self, node: &str) -> DirectoryStore {
        self.open_as(node, OpenMode::CreateIfMissing).await
    }

    pub(super) async fn open_as(&self, node: &str, mode: OpenMode) -> DirectoryStore {
        let at = StoreAt {
            root: self.root(),
            kind: "test".into(),
            location: "test".into(),
            trust: crate::tree::Trust::Untrusted,
            periodic: PeriodicSyncs::ByStore,
        };
        let node = Node::new(NodeId::new(node).unwrap(), BootId::new("boot").unwrap());
        let options = OpenOptions::default().with_mode(mode).with_node(node);
        let place = Arc::clone(&self.place) as Arc<dyn Place>;
        DirectoryStore::open(at, options, move |_| Ok(place)).await.unwrap()
    }

    /// Makes the volume `v`.
    pub(super) fn volume(&self, store: &DirectoryStore, spec: VolumeSpec) -> VolumeName {
        let name = VolumeName::new("v").unwrap();
        let id = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        let layout = store.engine.layout.volume(&id);
        layout.directories().iter().for_each(|d| fs::create_dir_all(d).unwrap());
        let generation = store.engine.mint_generation();
        fs::create_dir(layout.generation(&generation)).unwrap();
        let volume = VolumeRecord::new(id.clone(), name.clone(), spec, Timestamp::from_millisecond(0));
        let stored = StoredVolume { volume, generation, restored: None };
        records::publish(&Durable::default(), &layout.records(), None, &stored).unwrap();
        fs::create_dir_all(store.engine.layout.name(&name)).unwrap();
        let names = NameRecord::Names(id);
        records::publish(&Durable::default(), &store.engine.layout.name(&name), None, &names).unwrap();
        name
    }

    /// Makes the snapshot `name` of `v` that holds `content` in the file `f`; returns its tree.
    pub(super) fn snapshot(&self, store: &DirectoryStore, name: &str, content: &str, taken: i64) -> PathBuf {
        let volume = store.engine.locate(&VolumeName::new("v").unwrap()).unwrap();
        let generation = store.engine.mint_generation();
        let tree = volume.layout.generation(&generation);
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("f"), content).unwrap();
        let (name, record) = (SnapshotName::new(name).unwrap(), volume.stored.volume);
        let taken = Timestamp::from_millisecond(taken);
        let snapshot = SnapshotRecord::new(name.clone(), record.id, record.name, taken);
        let on_record = StoredSnapshot { snapshot, generation };
        fs::write(volume.layout.snapshot(&name), records::encode(&on_record).unwrap()).unwrap();
        tree
    }

    pub(super) fn dies(&self, workload: &str) {
        self.place.dead.lock().unwrap().push(Workload::new(workload).unwrap());
    }

    /// The names of what is under the volume's directory `part`.
    pub(super) fn under(&self, store: &DirectoryStore, part: &str) -> Vec<String> {
        let volume = store.engine.locate(&VolumeName::new("v").unwrap()).unwrap();
        let entries = fs::read_dir(volume.layout.root().join(part)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// How the workload `name` attaches.
pub(super) fn by(name: &str) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new(name).unwrap())
}

impl Remembering {
    fn step(&self) {
        assert!(self.steps_to_live.fetch_sub(1, SeqCst) != 0, "killed here");
    }

    pub(super) fn mounted_at(&self, target: &Path) -> Option<(PathBuf, MountMode)> {
        self.mounts.lock().unwrap().get(target).cloned()
    }
}

impl Place for Remembering {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn characteristics(&self) -> Characteristics {
        Characteristics { fencing: Fencing::Advisory, ..Characteristics::default() }
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        fs::create_dir(at).map_err(|e| crate::linux::cause::cause(e, "mkdir", at.display()))
    }

    fn cut(&self, from: &Path, to: &Path, _: CutMode, _: &Meter) -> Result<Cut> {
        self.step();
        fs::create_dir(to).unwrap();
        self.step();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        self.step();
        Ok(Cut::default())
    }

    fn seal(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn import(&self, _: &Path, _: &Path, _: Import, _: &Meter) -> Result<Cut> {
        Err(Error::internal("not needed here"))
    }

    fn remove_tree(&self, at: &Path, _: &Meter) -> Result<()> {
        self.step();
        drop(fs::remove_dir_all(at));
        self.step();
        Ok(())
    }

    fn flush(&self, _: &Path, _: &Meter) -> Result<()> {
        self.step();
        let fails = self.failing.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok();
        self.flushes.fetch_add(1, SeqCst);
        self.flushed.notify_waiters();
        match fails {
            true => Err(Error::new(ErrorKind::Unavailable, "EIO").with_retry(Retry::Verify)),
            false => Ok(()),
        }
    }

    fn limit_size(&self, _: &Path, _: Option<u64>) -> Result<()> {
        Ok(())
    }

    fn reach(&self) -> Result<()> {
        Ok(())
    }

    fn lease(&self) -> Option<Duration> {
        *self.lease.lock().unwrap()
    }

    fn free_bytes(&self, _: &Path) -> Result<u64> {
        Ok(0)
    }

    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict {
        if self.dead.lock().unwrap().contains(&holder.workload) {
            return Verdict::Dead("told so".into());
        }
        match &holder.liveness {
            Liveness::Process(Some(process)) if holder.node == *here => match life(process) {
                Life::Alive => Verdict::Alive,
                Life::Dead => Verdict::Dead("its process is gone".into()),
                Life::CannotTell => Verdict::CannotTell,
            },
            _ => Verdict::CannotTell,
        }
    }

    fn mount(&self, request: &MountRequest<'_>) -> Result<()> {
        self.step();
        let what = (request.source.to_owned(), request.mode);
        let there = self.mounts.lock().unwrap().insert(request.target.to_owned(), what.clone());
        assert!(there.is_none_or(|there| there == what), "{} was mounted over", request.target.display());
        self.step();
        Ok(())
    }

    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles) -> Result<Unmounted> {
        self.step();
        let is_busy = self.busy.lock().unwrap().iter().any(|path| path == target);
        match self.mounted_at(target) {
            Some((there, _)) if there == source => {}
            _ => return Ok(Unmounted::Gone),
        }
        if is_busy && busy == BusyFiles::Refuse {
            return Err(Error::in_use("files are open", Vec::new()));
        }
        self.mounts.lock().unwrap().remove(target);
        self.step();
        Ok(if is_busy { Unmounted::WhenIdle } else { Unmounted::Gone })
    }
}
