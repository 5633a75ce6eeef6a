//! From a cut of a tree to a commit object: scanned, uploaded and written into the tree at the same time.

use super::{
    changes::{self, Fresh, InTree},
    commits::Read,
    engine::Engine,
    reference,
    rewrite::Rewrite,
    trees::Committed,
};
use crate::{
    format::{
        commit::{Commit, CommitObject, CommitSeal, CommitStats, MOVED_NAMED, Moved},
        fmt::Keyring,
        frame::Compressor,
        location::{ChunkRef, PackIndex, TreeRoot},
        table::PackTable,
        tree::{Change as TreeChange, Content, TreeBuilder, TreeFormat, rewrite},
    },
    transfer::{
        read::Held,
        upload::{Destination, Job, Upload, UploadDone, UploadOptions},
    },
    workspace::{
        hydrate::known,
        record::{Finished, Of, RowWriter, Rows, merge},
        scan::{Change, Known, ScanOptions, Scanned, Tree, What},
    },
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use persist_core::{
    Consistency, Epoch, Error, Result, VolumeId,
    clock::Timestamp,
    progress::{Meter, Phase},
    tree::{TreePath, TreeTotals},
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Changes that a scan is ahead of the upload: some directories' worth, and little memory.
const CHANGES_AHEAD: usize = 256;

/// What a commit is made on, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) volume: VolumeId,
    pub(super) epoch: Epoch,
    /// The commit before; none for the first one of a new volume.
    pub(super) base: Option<Read>,
    /// The seq of the commit before.
    pub(super) seq: u64,
    /// Numbers the packs of the session.
    pub(super) numbers: Arc<AtomicU64>,
    /// Where stat records are drafted.
    pub(super) drafts: PathBuf,
}

/// What is known of the tree since the base.
#[derive(Debug)]
pub(super) enum Since {
    /// Its stat record, and what is brought into the bucket again although it has not changed.
    Rows(Rows, Rewrite),
    /// Nothing: the tree of the base is compared, and every file is read.
    Base,
}

/// A tree that is in the bucket but for the object that says so.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) root: TreeRoot,
    pub(super) done: UploadDone,
    pub(super) moved: Moved,
    pub(super) rows: Finished,
    pub(super) totals: TreeTotals,
    pub(super) remarks: Vec<String>,
    /// Entries that were looked at closer than by their times.
    pub(super) reread: u64,
}

impl Engine {
    /// Brings what changed in `tree` into the bucket.
    pub(super) async fn write_tree(
        &self,
        ground: &Ground,
        tree: Tree,
        since: Since,
        meter: Meter,
    ) -> Result<Written> {
        let keyring = self.commits.keyring(&ground.volume).await?;
        let base = match &ground.base {
            Some(base) => Some(self.tree(base, Held::Pinned).await?),
            None => None,
        };
        let left = since.left();
        let (changes, scanned) = scan(ground, &tree, since, base.clone(), meter.clone());
        let jobs = jobs(base.clone(), tree, changes, left);
        let table = ground.base.as_ref().map_or_else(PackTable::new, |base| (*base.table).clone());
        let mut options = UploadOptions::default();
        (options.memory, options.meter) = (self.upload_bytes, meter);
        let upload = Upload::new(self.destination(ground, keyring.clone()), table, jobs, options)?;
        let mut ordered = Ordered {
            upload,
            rows: None,
            reread: 0,
            moved: Moved::default(),
            of: ground.of(),
            drafts: ground.drafts.clone(),
        };
        let written = write_pages(&keyring, base.as_ref(), &mut ordered).await;
        let scanned = joined(scanned.await)?;
        // What ended the scan says more than that its changes ended.
        let (scanned, root) = (scanned?, written?);
        let Ordered { upload, rows, moved, reread, .. } = ordered;
        let done = upload.finish().await?;
        let rows = merged(ground, scanned.carried, rows).await?;
        let remarks = scanned.losses.remarks();
        Ok(Written { root, done, moved, rows, totals: scanned.totals, remarks, reread })
    }

    /// Makes the commit object of a tree that was written.
    pub(super) async fn seal_commit(
        &self,
        ground: &Ground,
        written: Written,
        (consistency, time): (Consistency, Timestamp),
    ) -> Result<(CommitObject, Commit, Finished, TreeTotals)> {
        let keyring = self.commits.keyring(&ground.volume).await?;
        let Written { root, done, moved, rows, totals, .. } = written;
        let commit = Commit {
            volume: ground.volume.clone(),
            seq: ground.seq + 1,
            epoch: ground.epoch,
            parent: ground.base.as_ref().map(|base| (base.commit.volume.clone(), base.name.clone())),
            tree: root,
            consistency,
            time,
            stats: CommitStats {
                new_bytes: done.new_bytes,
                known_bytes: done.known_bytes,
                stored_bytes: done.stored_bytes,
            },
            moved,
            chunkers: done.chunkers,
            features: Default::default(),
        };
        let mut nonce = [0; 16];
        self.remote.environment.entropy.fill(&mut nonce);
        let sealed = tokio::task::spawn_blocking(move || {
            let mut compressor = Compressor::new(Default::default())?;
            let seal_as = CommitSeal { sealing: &keyring.writing(), compressor: &mut compressor, nonce };
            commit.seal(&done.table, done.within, seal_as).map(|object| (object, commit))
        });
        let (object, commit) = joined(sealed.await)??;
        Ok((object, commit, rows, totals))
    }

    fn destination(&self, ground: &Ground, keyring: Keyring) -> Destination {
        Destination {
            store: Arc::clone(&self.remote.data),
            keys: self.remote.keys.clone(),
            keyring,
            epoch: ground.epoch,
            numbers: Arc::clone(&ground.numbers),
            entropy: Arc::clone(&self.remote.environment.entropy),
        }
    }
}

/// Scans on a thread; the changes come as they are found.
fn scan(
    ground: &Ground,
    tree: &Tree,
    since: Since,
    base: Option<Committed>,
    meter: Meter,
) -> (mpsc::Receiver<Result<Change>>, JoinHandle<Result<Scanned>>) {
    let (to, changes) = mpsc::channel(CHANGES_AHEAD);
    let (tree, drafts, of) = (tree.clone(), ground.drafts.clone(), ground.of());
    meter.enter(Phase::Scan);
    let scanning = tokio::task::spawn_blocking(move || {
        let options = ScanOptions { meter, ..ScanOptions::default() };
        let known: Box<dyn Iterator<Item = Result<Known>> + Send> = match (since, &base) {
            (Since::Rows(rows, rewrite), _) => {
                Box::new(rows.map(move |row| row.map(|row| Known::Row(rewrite.judged(row)))))
            }
            (Since::Base, Some(base)) => known(None, base),
            (Since::Base, None) => Box::new(std::iter::empty()),
        };
        tree.scan(known, (&drafts, of), &options, &mut |change| hand_on(&to, change))
    });
    (changes, scanning)
}

fn jobs(
    base: Option<Committed>,
    tree: Tree,
    changes: mpsc::Receiver<Result<Change>>,
    left: Arc<BTreeSet<PackIndex>>,
) -> stream::BoxStream<'static, Result<Job<Fresh>>> {
    stream::unfold(changes, |mut changes| async move { Some((changes.recv().await?, changes)) })
        .and_then(move |change| {
            let (tree, base, left) = (tree.clone(), base.clone(), Arc::clone(&left));
            async move {
                let mut before = chunks_before(base.as_ref(), &change).await?;
                before.retain(|chunk| !left.contains(&chunk.at.pack));
                Ok(changes::job(&tree, change, before))
            }
        })
        .boxed()
}

/// Writes the pages of the tree while its entries are uploaded.
async fn write_pages(keyring: &Keyring, base: Option<&Committed>, ordered: &mut Ordered) -> Result<TreeRoot> {
    let format = TreeFormat::new(keyring.secret());
    let mut sink = ordered.upload.pages();
    if let Some(base) = base {
        return rewrite(&format, base.pages(), &mut sink, base.stored().root(), ordered.changes()).await;
    }
    let mut builder = TreeBuilder::new(&format, &mut sink);
    {
        let mut changes = std::pin::pin!(ordered.changes());
        while let Some(change) = changes.try_next().await? {
            if let TreeChange::Put(entry) = change {
                builder.push(*entry)?;
            }
        }
    }
    builder.finish()
}

impl Since {
    /// The packs that are left: what they hold is uploaded again.
    fn left(&self) -> Arc<BTreeSet<PackIndex>> {
        match self {
            Self::Rows(_, rewrite) => Arc::new(rewrite.packs.clone()),
            Self::Base => Arc::default(),
        }
    }
}

impl Ground {
    /// What the stat record that comes of it is of, until the commit has its name.
    fn of(&self) -> Of {
        Of { volume: self.volume.clone(), base: self.base.as_ref().map(|base| base.name.clone()) }
    }
}

/// The uploaded entries in path order, with what is noted about them on the way.
struct Ordered {
    upload: Upload<Fresh>,
    rows: Option<RowWriter>,
    reread: u64,
    moved: Moved,
    of: Of,
    drafts: PathBuf,
}

impl Ordered {
    fn changes(&mut self) -> impl Stream<Item = Result<TreeChange>> + Send + '_ {
        stream::try_unfold(self, Self::step)
            .map_ok(|changes: Vec<TreeChange>| stream::iter(changes).map(Ok))
            .try_flatten()
    }

    async fn step(&mut self) -> Result<Option<(Vec<TreeChange>, &mut Self)>> {
        Ok(self.next().await?.map(|changes| (changes, self)))
    }

    async fn next(&mut self) -> Result<Option<Vec<TreeChange>>> {
        let Some(uploaded) = self.upload.next().await? else { return Ok(None) };
        let InTree { changes, row, moved } = changes::written(uploaded)?;
        if let Some(row) = row {
            self.reread += 1;
            match &mut self.rows {
                Some(rows) => rows.push(row)?,
                none => none.insert(RowWriter::new(&self.drafts, self.of.clone())?).push(row)?,
            }
        }
        self.note(moved);
        Ok(Some(changes))
    }

    fn note(&mut self, moved: Option<TreePath>) {
        let Some(path) = moved else { return };
        self.moved.total += 1;
        if self.moved.first.len() < MOVED_NAMED {
            self.moved.first.push(path);
        }
    }
}

fn hand_on(to: &mpsc::Sender<Result<Change>>, change: Change) -> Result<()> {
    to.blocking_send(Ok(change))
        .map_err(|_| Error::new(persist_core::ErrorKind::Unavailable, "the commit was stopped"))
}

/// The chunks that the base has for a file that is read again.
async fn chunks_before(base: Option<&Committed>, change: &Change) -> Result<Vec<ChunkRef>> {
    let What::Content { before, .. } = &change.what else { return Ok(Vec::new()) };
    match (reference::content(&before.reference), base) {
        (Some(Content::Chunks(chunks)), _) => Ok(chunks),
        (Some(content), Some(base)) => {
            let placed = base.stored().chunks(&content, 0..u64::MAX);
            placed.map_ok(|placed| placed.chunk).try_collect().await
        }
        _ => Ok(Vec::new()),
    }
}

async fn merged(ground: &Ground, carried: Finished, fresh: Option<RowWriter>) -> Result<Finished> {
    let Some(fresh) = fresh else { return Ok(carried) };
    let (drafts, of) = (ground.drafts.clone(), ground.of());
    let merged = tokio::task::spawn_blocking(move || merge(&drafts, of, &carried, &fresh.finish()?));
    joined(merged.await)?
}

fn joined<T>(thread: std::result::Result<T, tokio::task::JoinError>) -> Result<T> {
    thread.map_err(|e| Error::internal("a thread of the store panicked").with_source(e))
}
