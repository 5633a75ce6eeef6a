//! Sync: the cut, the upload, the head. What was written before is kept by the store when it returns.

use super::{
    commit::{Ground, Since, Written},
    commits::Read,
    engine::Engine,
    serving::{Cuts, Session},
};
use crate::{
    head::{change::Change, recovery::Tree},
    remote::Done,
    workspace::cut::CutReport,
};
use persist_core::{
    AttachmentId, Error, Result, SyncOptions,
    progress::{CallOptions, Meter, Phase},
    quiesce::SyncReport,
};
use std::sync::Arc;

/// Whether a commit found anything to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The tree was that of the last commit.
    Unchanged,
    /// It was committed.
    Changed,
}

/// Who hears what a commit comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    BySomebody,
    /// The store makes it by itself: a failure shows in the log, and in the next commit that somebody asks for.
    ByNobody,
}

impl Engine {
    pub(super) async fn sync(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: SyncOptions,
        meter: Meter,
    ) -> Result<SyncReport> {
        self.check_writable()?;
        if let Some(reader) = self.serving.reader(attachment) {
            // A reader has written nothing.
            return self.sync_reader(&reader, options).await;
        }
        let session = match self.serving.session_of(attachment) {
            Some(session) => session,
            None => {
                self.take_up(attachment).await?;
                self.serving.session_of(attachment).ok_or_else(not_attached)?
            }
        };
        self.commit(&session, options, meter, Asked::BySomebody).await.map(|(report, _)| report)
    }

    /// Commits what the tree of a session is now. Unchanged, one head write proves that it is still ours.
    ///
    /// # Errors
    /// Also, for somebody, that this node failed to write down the tree while [nobody](Asked::ByNobody) asked.
    pub(super) async fn commit(
        self: &Arc<Self>,
        session: &Arc<Session>,
        options: SyncOptions,
        meter: Meter,
        asked: Asked,
    ) -> Result<(SyncReport, Found)> {
        let turn = session.committing.acquire().await;
        let _turn = turn.map_err(|e| Error::internal("a session's turn is gone").with_source(e))?;
        session.check()?;
        self.read_base(session).await?;
        self.reconcile(session).await?;
        let failed = session.workspace.failed_flushes();
        let mut made = self.commit_in_turn(session, options, meter).await;
        match asked {
            Asked::BySomebody => made = made.and_then(|made| session.told(made)),
            Asked::ByNobody if session.workspace.failed_flushes() > failed => session.lost(self.now()),
            Asked::ByNobody => {}
        }
        if let Err(error) = &made {
            tracing::debug!(volume = %session.volume, %error, "not synced");
        }
        session.tell(&session.lease().state());
        made
    }

    async fn commit_in_turn(
        self: &Arc<Self>,
        session: &Arc<Session>,
        options: SyncOptions,
        meter: Meter,
    ) -> Result<(SyncReport, Found)> {
        let cut = self.cut(session, options, meter.clone()).await?;
        let (mut report, found) = self.keep(session, cut, meter).await?;
        session.synced(Some(report.cut));
        if found == Found::Unchanged {
            report.remarks.push("nothing had changed since the last commit".into());
        }
        Ok((report, found))
    }

    /// Reads the commit that the tree of a session is based on, unless it was: an attach of a copy that is the head's
    /// does without.
    pub(super) async fn read_base(&self, session: &Session) -> Result<()> {
        if session.base().is_some() {
            return Ok(());
        }
        let Some(name) = session.workspace.state().base else { return Ok(()) };
        let read = self.commits.read(&session.volume, &name).await?;
        session.rebase(Read { known: Vec::new(), ..read });
        Ok(())
    }

    /// Finds out what became of a commit whose call was dropped, so that the next one is made on the right base.
    async fn reconcile(&self, session: &Session) -> Result<()> {
        let offered = session.workspace.state().offered;
        let known = session.base().map(|base| base.name);
        if offered.is_none() && session.actor.head().commit == known {
            return Ok(());
        }
        // Answered once what was asked for before is concluded.
        session.actor.change(Change::Renew).await?;
        let head = session.actor.head();
        session.workspace.settle(&head).await?;
        match &head.commit {
            Some(commit) if Some(commit) != known.as_ref() => {
                let read = self.commits.read(&session.volume, commit).await?;
                session.rebase(Read { known: Vec::new(), ..read });
            }
            _ => {}
        }
        Ok(())
    }

    /// Cuts the tree, and brings what changed into the bucket.
    async fn cut(
        self: &Arc<Self>,
        session: &Arc<Session>,
        options: SyncOptions,
        meter: Meter,
    ) -> Result<CutReport<(Ground, Written)>> {
        let ground = self.ground(session);
        let rewrite = session.take_rewrite();
        let since = match session.workspace.rows().await? {
            Some(rows) => Since::Rows(rows, rewrite),
            // Every file is read.
            None => Since::Base,
        };
        let engine = Arc::clone(self);
        let write = move |tree| async move {
            let written = engine.write_tree(&ground, tree, since, meter).await?;
            Ok((ground, written))
        };
        session.workspace.cut(options, write).await
    }

    /// Offers what was written to the head.
    async fn keep(
        &self,
        session: &Arc<Session>,
        cut: CutReport<(Ground, Written)>,
        meter: Meter,
    ) -> Result<(SyncReport, Found)> {
        let mut report = SyncReport::new(cut.taken, cut.consistency);
        report.hooks = cut.hooks;
        let (ground, mut written) = cut.value;
        report.remarks.append(&mut written.remarks);
        meter.enter(Phase::Publish);
        if ground.base.as_ref().is_some_and(|base| base.commit.tree.id == written.root.id) {
            self.settle_rows(session, &ground, written).await?;
            session.actor.change(Change::Renew).await?;
            return Ok((report, Found::Unchanged));
        }
        if written.moved.total > 0 {
            let moved = format!(
                "{} files moved while they were read, and are kept as they were read",
                written.moved.total
            );
            report.remarks.push(moved);
        }
        let (object, commit, rows, totals) =
            self.seal_commit(&ground, written, (cut.consistency, cut.taken)).await?;
        self.commits.put(&session.volume, &object).await?;
        session.workspace.offer(object.name.clone(), rows, totals).await?;
        let done = session.actor.change(Change::Commit(object.name.clone())).await?;
        session.workspace.accepted(Tree::Dirty).await?;
        session.rebase(Read {
            commit,
            name: object.name.clone(),
            table: Arc::new(object.table.clone()),
            known: Vec::new(),
        });
        match done {
            // What was committed is kept; the next call says that somebody else writes.
            Done::Made(_) | Done::MadeThenFenced(_) => Ok((report, Found::Changed)),
        }
    }

    /// Keeps what a scan learnt although nothing changed: it need not read it again.
    async fn settle_rows(&self, session: &Session, ground: &Ground, written: Written) -> Result<()> {
        let Some(base) = ground.base.as_ref().filter(|_| written.reread > 0) else { return Ok(()) };
        session.workspace.offer(base.name.clone(), written.rows, written.totals).await?;
        session.workspace.accepted(Tree::Dirty).await
    }

    /// What a commit of this session is made on.
    pub(super) fn ground(&self, session: &Session) -> Ground {
        Ground {
            volume: session.volume.clone(),
            epoch: session.epoch,
            base: session.base(),
            seq: session.actor.head().seq,
            numbers: Arc::clone(&session.packs),
            drafts: session.workspace.drafts().to_owned(),
        }
    }
}

impl Cuts {
    /// The options of a sync that the store makes by itself.
    pub(super) fn options(&self, call: &CallOptions) -> SyncOptions {
        let mut options = SyncOptions::default().with_consistency(self.consistency);
        (options.call, options.quiesce) = (call.clone(), self.quiesce.clone());
        options
    }
}

pub(super) fn not_attached() -> Error {
    Error::not_found("no such attachment").advise("attach the volume again")
}
