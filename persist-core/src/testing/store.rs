//! A store in a temporary directory, with several nodes.

use super::{PlainPlace, SeededEntropy};
use crate::{
    Access, AttachOptions, Capabilities, DetachOptions, Epoch, Error, Node, NodeId, Result, VolumeName,
    VolumeStore, Vouch, Workload,
    attachment::AttachmentFilter,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    directory::{DirectoryStore, PeriodicSyncs, StoreAt},
    holder::BootId,
    lease::Takeover,
    open::{OpenMode, OpenOptions},
};
use futures::TryStreamExt;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tempfile::TempDir;

/// A strict store for tests, in a temporary directory that goes with it.
///
/// The nodes are independent openings, as if each were a host of its own. The clock stands still until
/// the test moves it. What it claims can be narrowed: what is not claimed is refused without a trace, so
/// that a program meets the refusals of stores that it was not developed on.
#[derive(Debug)]
pub struct TestStore {
    directory: TempDir,
    clock: ManualClock,
    entropy: Arc<SeededEntropy>,
    capabilities: Capabilities,
    nodes: Mutex<HashMap<String, Arc<dyn VolumeStore>>>,
}

/// The node that takes volumes away.
const INTRUDER: &str = "intruder";

impl TestStore {
    /// A new store with everything that a plain directory can do, on the temporary directory of the
    /// system.
    ///
    /// # Errors
    /// `Unavailable` if there is no place for it.
    pub fn new() -> Result<Self> {
        Self::at(tempfile::tempdir())
    }

    /// A new store in a temporary directory of its own below `parent`.
    ///
    /// # Errors
    /// `Unavailable` if there is no place for it.
    pub fn below(parent: &Path) -> Result<Self> {
        Self::at(tempfile::tempdir_in(parent))
    }

    /// Claims only `capabilities`, of those that it has; before any node is opened.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// The store as the node `name` has it open: the same opening each time.
    ///
    /// # Errors
    /// `Invalid` for the name; as the store's open.
    pub async fn node(&self, name: &str) -> Result<Arc<dyn VolumeStore>> {
        if let Some(opened) = self.opened(name) {
            return Ok(opened);
        }
        let node = Node::new(NodeId::new(name)?, BootId::new("boot-1")?);
        let opened = self.open(node).await?;
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(nodes.entry(name.to_owned()).or_insert(opened)))
    }

    /// One more opening, as another process of `node` would make it.
    ///
    /// # Errors
    /// As the store's open.
    pub async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        let environment =
            Environment { clock: Arc::new(self.clock.clone()), entropy: Arc::clone(&self.entropy) as _ };
        let options = OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_environment(environment);
        let capabilities = self.capabilities;
        let root = self.root();
        let location = format!("testing://{}", root.display());
        let at = StoreAt {
            root,
            kind: "testing".into(),
            location,
            trust: crate::tree::Trust::Untrusted,
            periodic: PeriodicSyncs::ByStore,
        };
        let place = move |_: &Path| Ok(Arc::new(PlainPlace::new(capabilities)) as _);
        Ok(Arc::new(DirectoryStore::open(at, options, place).await?))
    }

    /// Takes a volume from whoever holds it, as another node that vouches for the holders' death would:
    /// their next `sync` is `Fenced`. Gives the epoch under which the other node holds it now.
    ///
    /// # Errors
    /// `NotFound` for the volume, or as `attach`.
    pub async fn take_over(&self, volume: &VolumeName) -> Result<Epoch> {
        let intruder = self.node(INTRUDER).await?;
        let filter = AttachmentFilter::default().with_volume(volume.clone());
        let held: Vec<_> = intruder.attachments(filter).try_collect().await?;
        let mut writers = held.into_iter().filter(|record| record.access != Access::ReadOnly).peekable();
        let mut options = AttachOptions::default().with_workload(Workload::new(INTRUDER)?);
        while let Some(record) = writers.next() {
            let vouch = Vouch::new(record.id.clone(), record.epoch, "the test takes the volume over");
            if writers.peek().is_some() {
                intruder.detach(&record.id, DetachOptions::default().with_vouch(vouch)).await?;
            } else {
                options = options.with_takeover(Takeover::Vouched(vouch));
            }
        }
        Ok(intruder.attach(volume, options).await?.epoch)
    }

    /// Lets a volume go again that [`take_over`](Self::take_over) took.
    ///
    /// # Errors
    /// As `detach`.
    pub async fn give_back(&self, volume: &VolumeName) -> Result<()> {
        let intruder = self.node(INTRUDER).await?;
        let filter =
            AttachmentFilter::default().with_volume(volume.clone()).with_node(NodeId::new(INTRUDER)?);
        let held: Vec<_> = intruder.attachments(filter).try_collect().await?;
        for record in held {
            intruder.detach(&record.id, DetachOptions::default()).await?;
        }
        Ok(())
    }

    /// The clock of all nodes.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// A directory beside the store, for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    fn at(directory: std::io::Result<TempDir>) -> Result<Self> {
        let directory = directory.map_err(|e| {
            Error::new(crate::ErrorKind::Unavailable, "no temporary directory")
                .during("open", "testing store")
                .with_source(e)
        })?;
        Ok(Self {
            directory,
            clock: ManualClock::at(SystemEnvironment.now()),
            entropy: Arc::new(SeededEntropy::new(0)),
            capabilities: PlainPlace::capabilities(),
            nodes: Mutex::default(),
        })
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn opened(&self, name: &str) -> Option<Arc<dyn VolumeStore>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }
}
