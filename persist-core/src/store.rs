//! The contract: what every store of volumes does.

mod ext;
mod forward;

pub use ext::{BindOptions, Bound, VolumeStoreExt};

use crate::{
    attachment::{
        AdoptOptions, AttachOptions, Attachment, AttachmentFilter, AttachmentId, AttachmentRecord,
        DetachOptions, DetachReport, RefreshOptions, RefreshReport,
    },
    capability::StoreInfo,
    care::{Health, PruneOptions, PruneReport, Usage, UsageOptions, VerifyOptions, VerifyReport},
    error::Result,
    name::VolumeName,
    quiesce::{SyncOptions, SyncReport},
    snapshot::{
        DeleteSnapshotOptions, Outcome, RestoreOptions, RestoreReport, SnapshotName, SnapshotOptions,
        SnapshotRecord, SnapshotReport,
    },
    tree::TreeSource,
    volume::{
        CreateOptions, CreateReport, DeleteOptions, DeleteReport, ListOptions, UpdateOptions, UpdateReport,
        VolumeRecord,
    },
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::{fmt::Debug, sync::Arc};

/// A place where volumes live, opened.
///
/// Five verbs are enough for an application: **bind** (in [`VolumeStoreExt`]), **sync**, **snapshot**,
/// **restore**, **detach**. The rest is for orchestrators, operators and authors of stores.
///
/// # For all methods
/// *Cancellation*: dropping a future leaves the old state or the new one, plus leftovers that
/// [`prune`](Self::prune) removes. Blocking work that is under way runs to its next safe point and keeps
/// the volume's exclusion until then; the next call on the volume waits for it.
///
/// *Deadlines*: past its deadline a call ends with [`Unavailable`](crate::ErrorKind::Unavailable), and the
/// retry class says whether something may have happened.
///
/// *Refusals*: what this opened store cannot do is [`Unsupported`](crate::ErrorKind::Unsupported) before
/// anything moves. A call that is wrong in itself is [`Invalid`](crate::ErrorKind::Invalid) without I/O.
#[async_trait]
pub trait VolumeStore: Debug + Send + Sync + 'static {
    /// The facts of this opened instance.
    ///
    /// # Promise
    /// What was probed at open; never changes while the store is open. No I/O.
    fn info(&self) -> Arc<StoreInfo>;

    /// How the store is: the store's view and this node's view, apart.
    ///
    /// # Promise
    /// Answers also if the place does not, within the store's own bound. Changes nothing.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Any number at once.
    /// # Cancellation
    /// Safe.
    /// # Errors
    /// `Internal` only: everything else is a statement in the answer.
    async fn health(&self) -> Result<Vec<Health>>;

    /// Creates a volume. *Advanced: most callers bind.*
    ///
    /// # Promise
    /// When it returns, the volume and what it was made from are kept by the store. A volume is never
    /// seen half made.
    /// # Requires
    /// `ENFORCED_SIZE` for a size, `LABEL` for a label, `SNAPSHOTS` for a snapshot as source.
    /// # Idempotence
    /// The same name with a compatible spec gives the existing volume and does not read the source again.
    /// # Concurrency
    /// Of several creators of a name one wins; the others get its volume or `Conflict`.
    /// # Cancellation
    /// The volume is there whole, or not at all.
    /// # Errors
    /// `Conflict` with the difference; `NotFound` for a missing source; `Exhausted` when space runs out;
    /// `InUse` for a source that moves while others write to it.
    async fn create(&self, volume: &VolumeName, options: CreateOptions) -> Result<CreateReport>;

    /// What the store knows about a volume.
    ///
    /// # Promise
    /// The state after every change that was acknowledged before this call, by any process.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Never waits for a change that is under way.
    /// # Cancellation
    /// Safe.
    /// # Errors
    /// `NotFound`; `Corrupt` for a record that cannot be read.
    async fn get(&self, volume: &VolumeName) -> Result<VolumeRecord>;

    /// The volumes, in the order of their names. *Advanced.*
    ///
    /// # Promise
    /// Every volume that is there during the whole listing, once, in bounded memory; one that comes or
    /// goes meanwhile may be in it or not. Never touches the data of a volume.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Any number at once.
    /// # Cancellation
    /// Drop the stream.
    /// # Errors
    /// An unreadable record is one error item; the listing goes on after it.
    fn list(&self, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>>;

    /// Changes labels, size and protection. *Advanced.*
    ///
    /// # Promise
    /// All of it, or nothing.
    /// # Requires
    /// `ENFORCED_SIZE` for a size.
    /// # Idempotence
    /// The same again succeeds and says `Already`.
    /// # Concurrency
    /// Updates of one volume follow each other; each sees the one before.
    /// # Cancellation
    /// Applied whole, or not at all.
    /// # Errors
    /// `NotFound`; `Invalid` for a bad value; `Exhausted` for a size below what is used.
    async fn update(&self, volume: &VolumeName, options: UpdateOptions) -> Result<UpdateReport>;

    /// Deletes a volume. *Advanced.*
    ///
    /// # Promise
    /// Its name is free when it returns; its data stays in the trash for the window. A protected or
    /// attached volume, or one that others need, is never touched: there is no force.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// An unknown name succeeds and says `Already`.
    /// # Concurrency
    /// Excludes attach: one of the two is refused.
    /// # Cancellation
    /// The volume is there whole, or deleted.
    /// # Errors
    /// `InUse` with the holders; `Denied` for a protected one; `Conflict` if it has snapshots that were
    /// not asked along.
    async fn delete(&self, volume: &VolumeName, options: DeleteOptions) -> Result<DeleteReport>;

    /// Makes a volume reachable at a path, for a holder. Never creates one.
    ///
    /// # Promise
    /// The access mode holds against every other holder, in this process and in others, on this node and
    /// on others as far as [`Attachment::fencing`] says. What a dead holder left is cleaned up.
    /// # Requires
    /// The capability of the access mode; `MOUNTS` for a target as a mount, `ID_MAP` for a map.
    /// # Idempotence
    /// The same holder with the same access, target and snapshot gets the same attachment.
    /// # Concurrency
    /// Of several attachers that exclude each other one wins.
    /// # Cancellation
    /// Attached under a record that `attachments` shows, or not at all.
    /// # Errors
    /// `NotFound`; `InUse` with the holders; `Conflict` for the same holder with another identity, or for
    /// a vouch about a holder that has moved on; `Denied` for a target that may not be used.
    async fn attach(&self, volume: &VolumeName, options: AttachOptions) -> Result<Attachment>;

    /// Takes an attachment up again after a restart of our process. *Advanced.*
    ///
    /// # Promise
    /// The same attachment id; a new epoch unless another live claim shares the old one.
    /// # Requires
    /// As `attach` did.
    /// # Idempotence
    /// A process that serves the attachment gets it again.
    /// # Concurrency
    /// One process serves an attachment: the others get `InUse` with its pid.
    /// # Cancellation
    /// As `attach`.
    /// # Errors
    /// `NotFound` if it was detached; `Fenced` if another has taken the volume; `InUse`; `Conflict` if
    /// access, target or snapshot differ from what the store has.
    async fn adopt(&self, record: &AttachmentRecord, options: AdoptOptions) -> Result<Attachment>;

    /// The barrier of durability: what was written before it is kept by the store when it returns.
    ///
    /// # Promise
    /// As above, surviving what [`Characteristics::survives`](crate::Characteristics::survives) says.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// May be repeated at any time.
    /// # Concurrency
    /// Writers may go on; what they write meanwhile may be covered or not.
    /// # Cancellation
    /// Nothing is known to be kept.
    /// # Errors
    /// `Fenced`; `NotFound`; `Unavailable` with `Verify` after an I/O error, also one that a sync met which the store
    /// made by itself or whose caller had gone: data may be lost, write it again from its source; `Unsupported` if
    /// the consistency that was asked for was not reached.
    async fn sync(&self, attachment: &AttachmentId, options: SyncOptions) -> Result<SyncReport>;

    /// Moves a reader on to a newer tree. *Advanced.*
    ///
    /// # Promise
    /// The newer tree is at the reported path, whole; the older one stays where it was meanwhile.
    /// # Requires
    /// A reader.
    /// # Idempotence
    /// Says `Already` if there is nothing newer.
    /// # Concurrency
    /// Never disturbs the writer.
    /// # Cancellation
    /// The older tree stays.
    /// # Errors
    /// `NotFound`; `Invalid` for a writer; `Unsupported` where the view cannot be enforced.
    async fn refresh(&self, attachment: &AttachmentId, options: RefreshOptions) -> Result<RefreshReport>;

    /// Syncs, releases, unmounts.
    ///
    /// # Promise
    /// The volume can be attached elsewhere when it returns. If the final sync fails, the data and the
    /// attachment stay. It covers what was written before it was called: stop the writers first. What somebody
    /// writes while it runs, after its sync, is in the volume as the filesystem keeps it, and promised by nobody.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// What is not attached, or unknown, succeeds and says `Already`.
    /// # Concurrency
    /// Several detaches of one attachment: one does it.
    /// # Cancellation
    /// Attached, or detached; a repeat finishes it.
    /// # Errors
    /// `InUse` while files are open below a mount and `Refuse` is asked for, or if another live process
    /// serves it; `Conflict` for a vouch about a holder that has moved on; as `sync` for the final sync.
    async fn detach(&self, attachment: &AttachmentId, options: DetachOptions) -> Result<DetachReport>;

    /// The attachments that the store has on record: records, never a counter. *Advanced.*
    ///
    /// # Promise
    /// What is on record now, dead holders included until something proves and removes them.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Any number at once.
    /// # Cancellation
    /// Drop the stream.
    /// # Errors
    /// An unreadable record is one error item; the listing goes on after it.
    fn attachments(&self, filter: AttachmentFilter) -> BoxStream<'static, Result<AttachmentRecord>>;

    /// Takes an immutable, named picture of a volume as it is now, attached or not.
    ///
    /// # Promise
    /// When it returns, the snapshot is kept by the store. A reader never sees a partial one. The record
    /// says which consistency the cut reached.
    /// # Requires
    /// `SNAPSHOTS`.
    /// # Idempotence
    /// The same name gives the existing snapshot and says `Already`.
    /// # Concurrency
    /// Of several of a name one is taken; the others get it. Writers may go on.
    /// # Cancellation
    /// There whole, or not at all.
    /// # Errors
    /// `NotFound`; `Unsupported` if the consistency that was asked for was not reached; `Exhausted`.
    async fn snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport>;

    /// The snapshots of a volume, in the order of their names. *Advanced.*
    ///
    /// # Promise
    /// Every one that is there during the whole listing, once.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Any number at once.
    /// # Cancellation
    /// Drop the stream.
    /// # Errors
    /// `NotFound` for the volume; an unreadable record is one error item.
    fn snapshots(
        &self,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>>;

    /// Opens a snapshot for reading, entry by entry. *Advanced.*
    ///
    /// # Promise
    /// The tree does not change while the source lives.
    /// # Requires
    /// `SNAPSHOTS`.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Any number at once; a snapshot that is read is not removed under the reader: its deletion is
    /// refused or delayed.
    /// # Cancellation
    /// Safe.
    /// # Errors
    /// `NotFound`; `Corrupt`.
    async fn open_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>>;

    /// Deletes a snapshot. *Advanced.*
    ///
    /// # Promise
    /// It is not listed any more when it returns.
    /// # Requires
    /// `SNAPSHOTS`.
    /// # Idempotence
    /// An unknown one, also of an unknown volume, succeeds and says `Already`.
    /// # Concurrency
    /// Refused while a reader is pinned to it.
    /// # Cancellation
    /// There whole, or gone from the listing.
    /// # Errors
    /// `InUse` with the readers.
    async fn delete_snapshot(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome>;

    /// Makes the volume what it was at a snapshot; first keeps what that replaces.
    ///
    /// # Promise
    /// When it returns, the volume is that tree. It is never seen half restored.
    /// # Requires
    /// `SNAPSHOTS`.
    /// # Idempotence
    /// A volume that is at that snapshot and was not attached for writing since stays, and `Already` is said.
    /// # Concurrency
    /// Excludes attachments.
    /// # Cancellation
    /// The old tree, or the new one.
    /// # Errors
    /// `InUse` with the holders while the volume is attached; `NotFound`; `Exhausted`.
    async fn restore(
        &self,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport>;

    /// Counts what is used. *Advanced.*
    ///
    /// # Promise
    /// A count at some moment of the call.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Never stops a writer.
    /// # Cancellation
    /// Safe.
    /// # Errors
    /// `NotFound` for the volume.
    async fn usage(&self, options: UsageOptions) -> Result<Usage>;

    /// Reads everything and says what is wrong. *Advanced.*
    ///
    /// # Promise
    /// Changes nothing. What the store cannot tell is among the remarks.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// Reads only.
    /// # Concurrency
    /// Files that change while they are read are not faults.
    /// # Cancellation
    /// Safe.
    /// # Errors
    /// `NotFound` for the volume; a fault is in the report, not an error.
    async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport>;

    /// Finishes or undoes interrupted work, and removes what nothing refers to any more. *Advanced.*
    ///
    /// # Promise
    /// By default only says what it would do. Never touches what a live process is doing, nor anything
    /// that a volume, a snapshot or the trash within its window needs. A piece of work that fails is in
    /// [`PruneReport::failures`], and the rest goes on.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// May be repeated and killed at any point.
    /// # Concurrency
    /// Beside every other call.
    /// # Cancellation
    /// What was done stays done.
    /// # Errors
    /// `Unavailable` past the deadline, or when the store itself cannot be listed; what was done before stays
    /// done. That one piece of work failed is in the report, not an error.
    async fn prune(&self, options: PruneOptions) -> Result<PruneReport>;

    /// Joins every task of this opened store. Attachments stay, as their records do.
    ///
    /// # Promise
    /// When it returns, nothing of ours runs for this store, and its locks are free for another process.
    /// # Requires
    /// Nothing.
    /// # Idempotence
    /// May be repeated.
    /// # Concurrency
    /// Calls that are under way end first; later ones are refused with `Unavailable`.
    /// # Cancellation
    /// A repeat finishes it.
    /// # Errors
    /// `Internal` if a task of ours panicked.
    async fn close(&self) -> Result<()>;
}
