//! For authors of stores that keep the volumes of another store in a directory: the live tree at its own
//! path, and the writers held around a cut that they make themselves.

use super::{
    hooks::{Demand, hold_to},
    place::Verdict,
    store::DirectoryStore,
    trees::TreeRead,
};
use crate::{
    attachment::{AdoptOptions, AttachOptions, Attachment, AttachmentRecord},
    capability::Consistency,
    error::Result,
    holder::Holder,
    id::{AttachmentId, Epoch},
    name::VolumeName,
    progress::CallOptions,
    quiesce::{HookRun, SyncOptions},
};
use std::{future::Future, path::Path};

/// The live tree of a volume: no restore and no delete removes it while this is there, in any process.
#[derive(Debug)]
pub struct HeldTree(TreeRead);

impl HeldTree {
    /// Where it is: the store's own path, not what an attachment shows of it, whose owners a mount may map.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// What was done while the writers of a volume were held, or without a hook.
#[derive(Debug)]
#[non_exhaustive]
pub struct Quiesced<T> {
    /// What it gave.
    pub value: T,
    /// The run of the hook; `None` where there is none.
    pub run: Option<HookRun>,
    /// What a cut that the work made is worth, given what it is worth without a hook.
    pub consistency: Consistency,
}

/// An attachment that the outer store has granted: who may have a volume, and under which epoch, is its to
/// decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The identity of a new attachment; one that is there keeps its own.
    pub attachment: AttachmentId,
    /// The epoch of a writer. Never smaller than one that was granted before.
    pub epoch: Epoch,
}

/// What an attach would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judged {
    /// Who asks.
    pub holder: Holder,
    /// The attachment that it has already; none for a new one.
    pub same: Option<AttachmentRecord>,
}

impl DirectoryStore {
    /// What [`attach`](crate::VolumeStore::attach) would come to just now, of a volume that need not be
    /// there. Changes nothing.
    ///
    /// # Errors
    /// As `attach` would refuse it.
    pub async fn judge_attach(&self, volume: &VolumeName, options: &AttachOptions) -> Result<Judged> {
        self.engine.judge_attach(volume, options).await
    }

    /// What this host can say about a holder.
    pub fn verdict(&self, holder: &Holder) -> Verdict {
        let here = self.engine.node.as_ref();
        here.map_or(Verdict::CannotTell, |here| self.engine.place.verdict(holder, here))
    }

    /// As [`attach`](crate::VolumeStore::attach), under the identity and the epoch that were granted.
    ///
    /// # Errors
    /// As `attach`; `Fenced` if a larger epoch was granted before.
    pub async fn attach_granted(
        &self,
        volume: &VolumeName,
        options: AttachOptions,
        granted: Granted,
    ) -> Result<Attachment> {
        self.engine.attach(volume, options, Some(granted)).await
    }

    /// As [`adopt`](crate::VolumeStore::adopt), under the epoch that was granted.
    ///
    /// # Errors
    /// As `adopt`; `Fenced` if a larger epoch was granted before.
    pub async fn adopt_granted(
        &self,
        record: &AttachmentRecord,
        options: AdoptOptions,
        epoch: Epoch,
    ) -> Result<Attachment> {
        self.engine.adopt(record, options, Some(epoch)).await
    }

    /// Holds the live tree of `volume`, attached or not.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` once the store is closed.
    pub async fn hold_tree(&self, volume: &VolumeName, call: &CallOptions) -> Result<HeldTree> {
        let (engine, volume) = (self.engine.clone(), volume.clone());
        let hold = move |meter: &_| engine.read_live(&volume, meter).map(|(_, tree)| HeldTree(tree));
        self.engine.calls.run(call, hold).await
    }

    /// Makes everything durable that was written to the store's filesystem before the call (syncfs(2)), for
    /// those who rely on the files below `tree`.
    ///
    /// # Errors
    /// `Unavailable` with `Verify` after an I/O error since the last flush of `tree`.
    pub async fn flush(&self, tree: &HeldTree, call: &CallOptions) -> Result<()> {
        let (engine, at) = (self.engine.clone(), tree.path().to_path_buf());
        self.engine.calls.run(call, move |meter| engine.place.flush(&at, meter)).await
    }

    /// Makes a cut by `work`, which is worth `own` without a hook, while the hook of `options` holds the
    /// writers, as [`sync`](crate::VolumeStore::sync) does.
    ///
    /// # Promise
    /// The writers are thawed when `work` ends, fails or panics, at the hook's deadline, and when the future
    /// is dropped; [`close`](crate::VolumeStore::close) joins the task that holds them.
    ///
    /// # Errors
    /// Those of `work`; `Unsupported` where the consistency that `options` ask for is not reached, before
    /// `work` begins if that can be known.
    pub async fn hold_writers<T: Send + 'static>(
        &self,
        options: &SyncOptions,
        own: Consistency,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Quiesced<T>> {
        let call = self.engine.calls.begin(&options.call)?;
        let demand = Demand { least: options.consistency, own };
        let held = hold_to(&call, options.quiesce.clone(), demand, work).await?;
        let consistency = held.consistency(own);
        demand.check(consistency)?;
        Ok(Quiesced { value: held.value, run: held.run, consistency })
    }
}
