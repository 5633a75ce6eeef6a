//! A store with one volume, on a place that tells what it did and runs a test's code in the middle of a cut.

use crate::{
    attachment::BusyFiles,
    capability::{Capabilities, Characteristics, Consistency},
    directory::{
        Cut, CutMode, DirectoryStore, MountRequest, PeriodicSyncs, Place, StoreAt, Unmounted, Verdict,
        layout::VolumeLayout,
        records,
        stored::{NameRecord, StoredVolume},
    },
    error::{Error, ErrorKind, Result},
    holder::{Holder, Node},
    id::VolumeId,
    name::VolumeName,
    open::{OpenMode, OpenOptions},
    progress::Meter,
    snapshot::{
        DeleteSnapshotOptions, Outcome, SnapshotName, SnapshotOptions, SnapshotRecord, SnapshotReport,
    },
    store::VolumeStore,
    volume::{Import, ListOptions, VolumeRecord, VolumeSpec},
};
use futures::StreamExt;
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// A store with the volume `v`, which holds the file `f` with `one`.
pub(super) struct Bench {
    pub(super) store: DirectoryStore,
    pub(super) place: Arc<TestPlace>,
    pub(super) volume: VolumeName,
    pub(super) layout: VolumeLayout,
    directory: tempfile::TempDir,
}

pub(super) fn name(text: &str) -> SnapshotName {
    SnapshotName::new(text).unwrap()
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(Capabilities::SNAPSHOTS, None).await
    }

    pub(super) async fn with(capabilities: Capabilities, size_bytes: Option<u64>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Arc::new(TestPlace { capabilities, ..TestPlace::default() });
        let store = opened(directory.path(), &place).await;
        let volume = VolumeName::new("v").unwrap();
        let layout = make_volume(&store, &volume, size_bytes);
        let bench = Self { store, place, volume, layout, directory };
        bench.write("one");
        bench
    }

    /// The same store, opened once more.
    pub(super) async fn reopened(&self) -> DirectoryStore {
        opened(self.directory.path(), &self.place).await
    }

    /// The live tree.
    pub(super) fn live(&self) -> PathBuf {
        let located = self.store.engine.locate(&self.volume).unwrap();
        self.layout.generation(&located.stored.generation)
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(self.live().join("f"), text).unwrap();
    }

    pub(super) fn content(&self) -> String {
        fs::read_to_string(self.live().join("f")).unwrap()
    }

    pub(super) async fn content_of(&self, snapshot: &str) -> Result<String> {
        let source = self.store.open_snapshot(&self.volume, &name(snapshot)).await?;
        let read = source.read(&crate::tree::TreePath::new("f").unwrap(), 0..100).await?;
        Ok(String::from_utf8(read.to_vec()).unwrap())
    }

    pub(super) async fn snapshot(&self, snapshot: &str) -> Result<SnapshotReport> {
        self.store.snapshot(&self.volume, &name(snapshot), SnapshotOptions::default()).await
    }

    pub(super) async fn delete(&self, snapshot: &str) -> Result<Outcome> {
        let options = DeleteSnapshotOptions::default();
        self.store.delete_snapshot(&self.volume, &name(snapshot), options).await
    }

    pub(super) async fn list(&self, options: ListOptions) -> Vec<Result<SnapshotRecord>> {
        self.store.snapshots(&self.volume, options).collect().await
    }

    pub(super) async fn names(&self) -> Vec<String> {
        let listed = self.list(ListOptions::default()).await;
        listed.into_iter().map(|record| record.unwrap().name.to_string()).collect()
    }

    /// How many trees there are, the live one included.
    pub(super) fn trees(&self) -> usize {
        fs::read_dir(self.layout.data()).unwrap().count()
    }
}

async fn opened(directory: &Path, place: &Arc<TestPlace>) -> DirectoryStore {
    let at = StoreAt {
        root: directory.join("store"),
        kind: "test".into(),
        location: "test:".into(),
        trust: crate::tree::Trust::Untrusted,
        periodic: PeriodicSyncs::ByStore,
    };
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
    let probed = Arc::clone(place) as Arc<dyn Place>;
    DirectoryStore::open(at, options, |_| Ok(probed)).await.unwrap()
}

fn make_volume(store: &DirectoryStore, name: &VolumeName, size_bytes: Option<u64>) -> VolumeLayout {
    let engine = &store.engine;
    let id = VolumeId::mint(&*engine.environment.clock, &*engine.environment.entropy);
    let layout = engine.layout.volume(&id);
    layout.directories().iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
    let generation = engine.mint_generation();
    fs::create_dir(layout.generation(&generation)).unwrap();
    let spec = VolumeSpec { size_bytes, ..VolumeSpec::default() };
    let volume = VolumeRecord::new(id.clone(), name.clone(), spec, engine.now());
    let stored = StoredVolume { volume, generation, restored: None };
    records::publish(&engine.durable, &layout.records(), None, &stored).unwrap();
    fs::create_dir_all(engine.layout.name(name)).unwrap();
    records::publish(&engine.durable, &engine.layout.name(name), None, &NameRecord::Names(id)).unwrap();
    layout
}

type DuringCut = Box<dyn FnOnce(&Meter) + Send>;

/// A plain place without privileges: it copies, one file after the other.
#[derive(Default)]
pub(super) struct TestPlace {
    pub(super) capabilities: Capabilities,
    during_cut: Mutex<Option<DuringCut>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    failing: Mutex<Option<&'static str>>,
}

impl TestPlace {
    /// Runs `code` in the middle of the next cut.
    pub(super) fn during_cut(&self, code: impl FnOnce(&Meter) + Send + 'static) {
        *self.during_cut.lock().unwrap() = Some(Box::new(code));
    }

    /// How often `call` was made.
    pub(super) fn count(&self, call: &str) -> u64 {
        self.counts.lock().unwrap().get(call).copied().unwrap_or(0)
    }

    /// The next `call` fails for want of space.
    pub(super) fn fail(&self, call: &'static str) {
        *self.failing.lock().unwrap() = Some(call);
    }

    fn called(&self, call: &'static str) -> Result<()> {
        *self.counts.lock().unwrap().entry(call).or_default() += 1;
        match self.failing.lock().unwrap().take_if(|failing| *failing == call) {
            Some(_) => Err(Error::new(ErrorKind::Exhausted, "no space")),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for TestPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestPlace")
    }
}

impl Place for TestPlace {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn characteristics(&self) -> Characteristics {
        Characteristics::default()
    }

    fn make_tree(&self, at: &Path) -> Result<()> {
        fs::create_dir(at).unwrap();
        Ok(())
    }

    fn cut(&self, from: &Path, to: &Path, _mode: CutMode, meter: &Meter) -> Result<Cut> {
        fs::create_dir(to).unwrap();
        let code = self.during_cut.lock().unwrap().take();
        if let Some(code) = code {
            code(meter);
        }
        meter.check()?;
        self.called("cut")?;
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        Ok(Cut { consistency: Consistency::PerFile, totals: None, remarks: vec!["a plain copy".into()] })
    }

    fn seal(&self, _at: &Path) -> Result<()> {
        self.called("seal")
    }

    fn import(&self, _from: &Path, _to: &Path, _import: Import, _meter: &Meter) -> Result<Cut> {
        unreachable!("not for snapshots")
    }

    fn remove_tree(&self, at: &Path, _meter: &Meter) -> Result<()> {
        self.called("remove_tree")?;
        fs::remove_dir_all(at).unwrap();
        Ok(())
    }

    fn flush(&self, _at: &Path, _: &Meter) -> Result<()> {
        self.called("flush")
    }

    fn limit_size(&self, _at: &Path, size_bytes: Option<u64>) -> Result<()> {
        assert_eq!(size_bytes, Some(1 << 20));
        self.called("limit_size")
    }

    fn reach(&self) -> Result<()> {
        Ok(())
    }

    fn lease(&self) -> Option<std::time::Duration> {
        None
    }

    fn free_bytes(&self, _at: &Path) -> Result<u64> {
        Ok(0)
    }

    fn verdict(&self, _holder: &Holder, _here: &Node) -> Verdict {
        Verdict::CannotTell
    }

    fn mount(&self, _request: &MountRequest<'_>) -> Result<()> {
        unreachable!("no mounts here")
    }

    fn unmount(&self, _source: &Path, _target: &Path, _busy: BusyFiles) -> Result<Unmounted> {
        unreachable!("no mounts here")
    }
}
