//! Building a volume where nobody sees it, and making it visible by one link.
//!
//! Steps, each of which may be the last one before a kill:
//! 1. the intent `intents/<id>`, held: from here on nobody takes for garbage what has no name yet;
//! 2. the volume's directories, its tree, its record 1: none of it is durable or visible;
//! 3. one flush of the filesystem (syncfs(2)): all of it is durable;
//! 4. the record of the name, made by link(2), and the fsync of its directory: the volume is there;
//! 5. the intent is removed.
//!
//! An empty volume costs one syncfs and two fsyncs (the name's record, and its directory).

use super::{root, source};
use crate::{
    directory::{
        durable::Claimed,
        engine::Engine,
        intents::{Intent, Work},
        layout::VolumeLayout,
        marker::root::make_private,
        names::NameClaim,
        place::Cut,
        records,
        recovery::is_there,
        stored::{NameRecord, StoredVolume},
        trees::NewTree,
    },
    error::{Error, Result, Retry},
    id::VolumeId,
    linux::cause::cause,
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::Outcome,
    volume::{CreateOptions, CreateReport, Import, VolumeRecord},
};
use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// A volume that is being built.
#[derive(Debug)]
pub(super) struct Building<'a> {
    engine: &'a Engine,
    name: &'a VolumeName,
    options: &'a CreateOptions,
    meter: &'a Meter,
    id: VolumeId,
    layout: VolumeLayout,
    intent: Intent,
}

/// How far it came.
#[derive(Debug)]
enum Built {
    Published(Box<CreateReport>),
    /// Another volume has the name.
    NameTaken,
}

/// Builds the volume and gives it `name`, whose newest record is `previous`. `None` if another took the
/// name meanwhile: nothing of this one is left then.
///
/// # Errors
/// Nothing of it is left, or it is left to `prune`; with `Verify` it may be there.
pub(super) fn build(
    engine: &Engine,
    name: &VolumeName,
    previous: Option<u64>,
    options: &CreateOptions,
    meter: &Meter,
) -> Result<Option<CreateReport>> {
    let building = Building::begin(engine, name, options, meter)?;
    match building.run(previous) {
        Ok(Built::Published(report)) => {
            building.end();
            Ok(Some(*report))
        }
        Ok(Built::NameTaken) => building.undo(previous).map(|()| None),
        // It may be there: judged by the records later, by us or by prune.
        Err(error) if error.retry() == Retry::Verify => Err(error),
        Err(error) => {
            if let Err(left) = building.undo(previous) {
                tracing::warn!(volume = %name, error = %left, "a volume that was not made is left to prune");
            }
            Err(error)
        }
    }
}

impl<'a> Building<'a> {
    fn begin(
        engine: &'a Engine,
        name: &'a VolumeName,
        options: &'a CreateOptions,
        meter: &'a Meter,
    ) -> Result<Self> {
        let id = VolumeId::mint(&*engine.environment.clock, &*engine.environment.entropy);
        let intent = Intent::begin(&engine.layout.intent(&id), meter)?;
        let layout = engine.layout.volume(&id);
        Ok(Self { engine, name, options, meter, id, layout, intent })
    }

    fn run(&self, previous: Option<u64>) -> Result<Built> {
        let opened = source::open(self.engine, self.options, self.meter)?;
        self.layout.directories().iter().try_for_each(|directory| make_private(directory))?;
        let tree = self.engine.begin_tree(&self.layout)?;
        let mut stored = self.record(&tree);
        stored.volume.origin = opened.origin();
        let cut = match &opened {
            source::Opened::Directory { path, import: Import::Move, .. } => {
                self.take(path, &tree, &stored)?
            }
            opened => {
                let cut = opened.fill(self.engine, &tree.path, self.meter)?;
                self.finish(&tree, &stored)?;
                cut
            }
        };
        let claim = self.engine.begin_claim(self.name, self.meter)?;
        self.meter.enter(Phase::Flush);
        self.engine.place.flush(self.layout.root(), self.meter)?;
        self.publish(&claim, previous, stored.volume, cut)
    }

    fn record(&self, tree: &NewTree) -> StoredVolume {
        let spec = self.options.spec.clone();
        let volume = VolumeRecord::new(self.id.clone(), self.name.clone(), spec, self.engine.now());
        StoredVolume { volume, generation: tree.generation.clone(), restored: None }
    }

    /// What a tree gets beside its content, and the record that describes it.
    fn finish(&self, tree: &NewTree, stored: &StoredVolume) -> Result<()> {
        dress(self.engine, &tree.path, stored)?;
        write_first(&self.layout, stored)
    }

    /// Moves `from` in. The source is gone from then on, so everything else comes before, durably, and
    /// recovery goes on from there.
    fn take(&self, from: &Path, tree: &NewTree, stored: &StoredVolume) -> Result<Cut> {
        write_first(&self.layout, stored)?;
        self.engine.place.flush(self.layout.root(), self.meter)?;
        let root = root::read(from)?;
        let work = Work::Move { from: from.to_owned(), root, volume: Box::new(stored.clone()) };
        self.intent.declare(&self.engine.durable, &work)?;
        self.meter.check()?;
        self.meter.enter(Phase::Transfer);
        let cut = self.engine.place.import(from, &tree.path, Import::Move, self.meter)?;
        dress(self.engine, &tree.path, stored)?;
        Ok(cut)
    }

    fn publish(
        &self,
        claim: &NameClaim,
        previous: Option<u64>,
        volume: VolumeRecord,
        cut: Cut,
    ) -> Result<Built> {
        self.meter.check()?;
        self.meter.enter(Phase::Publish);
        match self.engine.claim(claim, previous, &NameRecord::Names(self.id.clone()))? {
            Claimed::Lost => Ok(Built::NameTaken),
            Claimed::Won => {
                let mut report = CreateReport::new(volume, Outcome::Done);
                report.imported = cut.totals;
                report.remarks = cut.remarks;
                Ok(Built::Published(Box::new(report)))
            }
        }
    }

    fn end(self) {
        if let Err(error) = self.intent.end() {
            tracing::warn!(volume = %self.name, %error, "an intent that is done is left to prune");
        }
    }

    /// Removes what was built, unless it may have been published, or somebody wants us to stop: then it
    /// is left to `prune`.
    fn undo(self, previous: Option<u64>) -> Result<()> {
        if records::newest_number(&self.engine.layout.name(self.name))? != previous
            && self.engine.names(self.name, &self.id)?
        {
            return Ok(());
        }
        if let Some(Work::Move { from, root, volume }) = self.intent.declared()? {
            give_back(&self.layout.generation(&volume.generation), &from, root)?;
            // Where it is must be durable before the intent, which says where it was, goes.
            self.engine.place.flush(self.layout.root(), self.meter)?;
        }
        if self.meter.is_stopped() {
            return Ok(());
        }
        self.engine.remove_volume(&self.id, &self.layout, self.meter)?;
        self.intent.end()
    }
}

/// Gives the tree of a new volume its owner, mode, label and size.
///
/// # Errors
/// As the filesystem reports them.
pub(in crate::directory) fn dress(engine: &Engine, tree: &Path, stored: &StoredVolume) -> Result<()> {
    let spec = &stored.volume.spec;
    root::apply(tree, &spec.root, &stored.volume.origin)?;
    match spec.size_bytes {
        Some(size) => engine.place.limit_size(tree, Some(size)),
        None => Ok(()),
    }
}

/// Moves a tree back to where it was taken from.
fn give_back(tree: &Path, from: &Path, root: root::Attributes) -> Result<()> {
    if !is_there(tree)? {
        return Ok(());
    }
    if is_there(from)? {
        return Err(Error::conflict("something else is where the directory was moved from", Vec::new())
            .context("path", from.display())
            .advise("run prune: it keeps the moved tree in the trash"));
    }
    root.restore(tree)?;
    fs::rename(tree, from).map_err(|e| cause(e, "rename", from.display()))
}

/// Record 1, in a volume that nobody sees yet: durable with the flush that follows.
fn write_first(layout: &VolumeLayout, stored: &StoredVolume) -> Result<()> {
    let path = layout.records().join("1");
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let mut file = file.map_err(|e| cause(e, "create", path.display()))?;
    file.write_all(&records::encode(stored)?).map_err(|e| cause(e, "write", path.display()))
}
