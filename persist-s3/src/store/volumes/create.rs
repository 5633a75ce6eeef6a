//! Creating a volume: found, taken back, or built where nobody sees it and then named.
//!
//! A new volume's tree is made in the near store first, as any directory store makes one, committed under a
//! lease of the new head, and only then is the volume given its name.

use crate::{
    head::{names::CommitName, record::Stage, writer::Found},
    remote::{Ask, HeadActor, Named, Published, Record},
    store::{
        commit::{Ground, Since},
        commits::Read,
        engine::Engine,
    },
    workspace::Workspace,
};
use persist_core::{
    Access, Capabilities, CreateOptions, Error, ErrorKind, Holder, Liveness, Node, NodeId, Result, Source,
    Takeover, VolumeId, VolumeName, VolumeStore, Workload,
    holder::BootId,
    linux::{cause::cause, process},
    progress::{Meter, Phase},
    snapshot::Outcome,
    tree::{TreeTotals, Trust},
    volume::{CreateReport, Import, Origin, VolumeSpec, check, compat},
};
use std::sync::{Arc, atomic::AtomicU64};

/// How often a volume is begun anew that a prune has undone.
const UNDONE_MAX: u32 = 16;

/// What became of a volume that was begun.
enum Built {
    /// It has its name.
    Done(Box<CreateReport>),
    /// Another was faster, and has the name.
    Taken,
    /// A prune that came between took it for abandoned, before it had its name.
    Undone(Error),
}

impl Engine {
    pub(in crate::store) async fn create(
        self: &Arc<Self>,
        name: &VolumeName,
        options: CreateOptions,
        meter: Meter,
    ) -> Result<CreateReport> {
        check::create(&self.info, &options)?;
        refuse_move(&options.source).await?;
        self.check_writable()?;
        let mut undone = 0;
        loop {
            let built = match self.remote.resolve(name).await? {
                Named::Volume(head, _) => return self.already(&head, &options).await,
                Named::Free(_) => match &options.source {
                    Source::Trashed(id) => self.take_back(name, id, &options).await?,
                    _ => self.build(name, &options, meter.clone()).await?,
                },
            };
            match built {
                Built::Done(report) => return Ok(*report),
                // What that one made is looked at.
                Built::Taken => {}
                Built::Undone(error) if undone == UNDONE_MAX => return Err(error),
                Built::Undone(_) => undone += 1,
            }
        }
    }

    async fn already(
        &self,
        head: &crate::head::record::Head,
        options: &CreateOptions,
    ) -> Result<CreateReport> {
        let volume = self.shown(head).await?;
        let mut found = match options.source {
            Source::Trashed(_) => compat::differences_taken_back(&options.spec, &volume.spec),
            _ => compat::differences(&options.spec, &volume.spec),
        };
        let now = self.source_now(options).await?;
        found.extend(compat::source_difference(&options.source, &volume, now.as_ref()));
        compat::refuse_differences(found, &volume)?;
        Ok(CreateReport::new(volume, Outcome::Already))
    }

    async fn source_now(&self, options: &CreateOptions) -> Result<Option<VolumeId>> {
        let (Source::Volume(name) | Source::Snapshot { volume: name, .. }) = &options.source else {
            return Ok(None);
        };
        match self.remote.resolve(name).await? {
            Named::Volume(head, _) => Ok(Some(head.volume)),
            Named::Free(_) => Ok(None),
        }
    }

    async fn take_back(&self, name: &VolumeName, id: &VolumeId, options: &CreateOptions) -> Result<Built> {
        let missing = || {
            Error::not_found("no such volume in the trash")
                .context("id", id)
                .advise("list the trash for what can be taken back")
        };
        let _turn = self.turns.take(id).await;
        let (head, _) = self.remote.find_there(id).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => missing(),
            _ => e,
        })?;
        if head.stage.trashed().is_none() {
            return Err(missing());
        }
        let mut record = self.remote.record(&head).await?;
        let volume = record.shown(&head);
        compat::refuse_differences(compat::differences_taken_back(&options.spec, &volume.spec), &volume)?;
        record.name = name.clone();
        match self.remote.take_back(&record).await? {
            Published::Named(head, _) => {
                Ok(Built::Done(Box::new(CreateReport::new(record.shown(&head), Outcome::Done))))
            }
            Published::Taken(..) => Ok(Built::Taken),
        }
    }

    /// Builds a volume and names it.
    async fn build(
        self: &Arc<Self>,
        name: &VolumeName,
        options: &CreateOptions,
        meter: Meter,
    ) -> Result<Built> {
        let environment = &self.remote.environment;
        let id = VolumeId::mint(&*environment.clock, &*environment.entropy);
        let forked = self.origin_of(&options.source, &meter).await?;
        let origin = match (&forked, &options.source) {
            (Some((commit, Some(snapshot))), _) => {
                Origin::Snapshot { volume: commit.commit.volume.clone(), snapshot: snapshot.clone() }
            }
            (Some((commit, None)), _) => Origin::Volume(commit.commit.volume.clone()),
            (None, Source::Directory { path, .. }) => Origin::Directory(path.clone()),
            (None, Source::Tree(_)) => Origin::Tree,
            _ => Origin::Empty,
        };
        let record = Record::new(id.clone(), name.clone(), options.spec.clone(), origin, self.now());
        let pin = match &forked {
            Some((commit, _)) => Some(self.pin_fork(commit, &id).await?),
            None => None,
        };
        let built = self.fill_and_publish(&record, options, forked.map(|(commit, _)| commit), meter).await;
        if !matches!(built, Ok(Built::Done(_)))
            && let Some(pin) = pin
            && let Err(error) = self.remote.unpin(&pin).await
        {
            tracing::warn!(volume = %name, %error, "the pin of a clone that was not made is left to prune");
        }
        match built {
            Err(error) if self.was_undone(&id).await => Ok(Built::Undone(error)),
            built => built,
        }
    }

    /// Whether the volume that was begun as `id` is deleted: before it had its name, by nobody but a prune.
    async fn was_undone(&self, id: &VolumeId) -> bool {
        match self.remote.find(id).await {
            Ok(Found::Head(head, _)) => head.check_there().is_err() || head.stage == Stage::Deleting,
            _ => false,
        }
    }

    async fn fill_and_publish(
        self: &Arc<Self>,
        record: &Record,
        options: &CreateOptions,
        forked: Option<Read>,
        meter: Meter,
    ) -> Result<Built> {
        let (id, name) = (&record.id, &record.name);
        self.remote.begin(record).await?;
        self.commits.begin(id, forked.as_ref().map(|commit| &commit.commit.volume)).await?;
        let actor = self.hold(name, id, "create").await?;
        let filled = match &forked {
            Some(origin) => self.fork(id, &actor, origin, &options.spec).await,
            None => self.import(id, &actor, options, &meter).await,
        };
        let released = self.let_go(actor).await;
        let (totals, remarks) = filled?;
        released?;
        match self.remote.publish(name, id).await? {
            Published::Named(head, _) => {
                let mut report = CreateReport::new(record.shown(&head), Outcome::Done);
                (report.imported, report.remarks) = (totals, remarks);
                Ok(Built::Done(Box::new(report)))
            }
            Published::Taken(..) => Ok(Built::Taken),
        }
    }

    /// Makes the tree in the near store, and commits it.
    async fn import(
        self: &Arc<Self>,
        id: &VolumeId,
        actor: &HeadActor,
        options: &CreateOptions,
        meter: &Meter,
    ) -> Result<(Option<TreeTotals>, Vec<String>)> {
        let spaces = self.spaces()?;
        let workspace = spaces.serve(id).await?;
        let mut making = CreateOptions::default().with_source(options.source.clone());
        making.spec = VolumeSpec::default().with_root(options.spec.root.clone());
        making.trust = trust(options);
        meter.enter(Phase::Transfer);
        let imported = self.import_into(&workspace, actor, making, meter).await;
        if let Err(error) = workspace.discard().await {
            tracing::warn!(volume = %id, %error, "the draft of a volume is left to prune");
        }
        imported
    }

    async fn import_into(
        self: &Arc<Self>,
        workspace: &Workspace,
        actor: &HeadActor,
        making: CreateOptions,
        meter: &Meter,
    ) -> Result<(Option<TreeTotals>, Vec<String>)> {
        let id = workspace.volume();
        let made = self.spaces()?.near().create(workspace.near_name(), making).await?;
        let head = actor.head();
        let ground = Ground {
            volume: id.clone(),
            epoch: head.epoch,
            base: None,
            seq: head.seq,
            numbers: Arc::new(AtomicU64::new(1)),
            drafts: workspace.drafts().to_owned(),
        };
        let (engine, on, counted) = (Arc::clone(self), ground.clone(), meter.clone());
        let write = move |tree| async move { engine.write_tree(&on, tree, Since::Base, counted).await };
        let cut = workspace.cut(Default::default(), write).await?;
        let (consistency, taken) = (cut.consistency, cut.taken);
        let sealed = self.seal_commit(&ground, cut.value, (consistency, taken)).await?;
        self.publish_commit(actor, id, &sealed.0).await?;
        Ok((made.imported, made.remarks))
    }

    /// Uploads a commit that no workspace knows of, and moves the head to it.
    pub(in crate::store) async fn publish_commit(
        &self,
        actor: &HeadActor,
        volume: &VolumeId,
        object: &crate::format::commit::CommitObject,
    ) -> Result<CommitName> {
        self.commits.put(volume, object).await?;
        match actor.change(crate::head::change::Change::Commit(object.name.clone())).await? {
            crate::remote::Done::Made(_) => Ok(object.name.clone()),
            crate::remote::Done::MadeThenFenced(by) => Err(Error::fenced(actor.head().epoch, by, None)),
        }
    }

    /// Holds the head of a volume for a change of ours.
    ///
    /// # Errors
    /// `InUse` while somebody has it.
    pub(in crate::store) async fn hold(
        &self,
        name: &VolumeName,
        id: &VolumeId,
        what: &str,
    ) -> Result<HeadActor> {
        let node = match &self.node {
            Some(node) => node.clone(),
            None => Node::new(NodeId::new("unnamed")?, BootId::new("unnamed")?),
        };
        let workload = Workload::new(format!("{what} of volume {name}, a call {}", self.signature()))?;
        let holder = Holder::new(node, workload, Liveness::Process(Some(process::this_process()?)));
        let (head, etag) = self.remote.find_there(id).await?;
        let lease = self.lease(self.new_attachment(), holder, Access::ReadWrite);
        let takeover = self.takeover(&head, &[], &Takeover::Never);
        let ask = Ask {
            name: name.clone(),
            by: crate::head::change::FoundBy::Id,
            lease,
            takeover,
            wait: None,
            seen: Some((head, etag)),
        };
        let taken = self.remote.take(id, &ask).await?;
        Ok(HeadActor::start(self.remote.clone(), taken, self.history()))
    }

    /// Gives a head back that was held for a change of ours.
    pub(in crate::store) async fn let_go(&self, actor: HeadActor) -> Result<()> {
        let released = actor.change(crate::head::change::Change::Release).await;
        actor.close().await?;
        released.map(drop)
    }
}

/// A tree is not trusted unless the caller says so; the near store trusts those that this store brings to it.
fn trust(options: &CreateOptions) -> Option<Trust> {
    match options.source {
        Source::Tree(_) => Some(options.trust.unwrap_or(Trust::Untrusted)),
        _ => options.trust,
    }
}

/// What is no directory is refused as any import of it is.
async fn refuse_move(source: &Source) -> Result<()> {
    let Source::Directory { path, import: Import::Move } = source else { return Ok(()) };
    let at = path.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let kind = std::fs::symlink_metadata(&at).map_err(|e| cause(e, "import", at.display()))?.file_type();
        if kind.is_dir() {
            return Ok(());
        }
        Err(Error::invalid("source", "not a directory, or a symbolic link to one")
            .context("path", at.display()))
    });
    looked.await.map_err(|e| Error::internal("a thread of the store panicked").with_source(e))??;
    Err(Error::unsupported(
        Capabilities::empty(),
        "a directory cannot be moved into an object store, only copied",
    )
    .advise("import it with Import::Copy, then remove it"))
}
