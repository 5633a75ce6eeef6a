//! What a store on a directory leaves to the place it is in: cuts, sizes, mounts, and who is dead.

use crate::{
    attachment::{BusyFiles, MountPolicy},
    capability::{Capabilities, Characteristics, Consistency},
    error::Result,
    holder::{Holder, Node},
    progress::Meter,
    tree::TreeTotals,
};
use std::{fmt::Debug, path::Path, time::Duration};

/// The filesystem under a store, seen by the engine. Every method blocks and is called on threads that
/// may; long ones count into the [`Meter`] and stop at [`Meter::check`].
///
/// Paths are the engine's own, below the store's root: never a caller's text, except the target of a mount.
pub trait Place: Debug + Send + Sync + 'static {
    /// What was probed at open.
    fn capabilities(&self) -> Capabilities;

    /// What has degrees, as probed at open.
    fn characteristics(&self) -> Characteristics;

    /// Makes the empty tree `at`, which does not exist: a directory, or what this filesystem cuts cheapest.
    ///
    /// # Errors
    /// As the filesystem reports them; nothing is left at `at`.
    fn make_tree(&self, at: &Path) -> Result<()>;

    /// Makes `to`, which does not exist, a copy of the tree `from` as it is now, by the cheapest way that
    /// this filesystem has. Not yet durable: the engine flushes before it publishes.
    ///
    /// # Errors
    /// As the filesystem reports them; what is left at `to` is garbage that [`remove_tree`](Self::remove_tree) removes.
    fn cut(&self, from: &Path, to: &Path, mode: CutMode, meter: &Meter) -> Result<Cut>;

    /// Makes the tree `at`, which [`cut`](Self::cut) or [`make_tree`](Self::make_tree) made writable, one
    /// that will never change, as far as this filesystem can: a restore keeps what it replaces. What is
    /// sealed is sealed already.
    ///
    /// # Errors
    /// As the filesystem reports them; the tree is as it was.
    fn seal(&self, at: &Path) -> Result<()>;

    /// Makes `to`, which does not exist, a copy of the foreign directory `from`, every attribute kept or
    /// reported. With [`Import::Move`](crate::volume::Import::Move) `from` becomes `to` by one rename(2): a
    /// kill at any point leaves one of the two whole, and recovery rests on that.
    ///
    /// # Errors
    /// As [`cut`](Self::cut); a move across filesystems is `Unsupported` before anything moves.
    fn import(&self, from: &Path, to: &Path, import: crate::volume::Import, meter: &Meter) -> Result<Cut>;

    /// Removes the tree `at` with everything in it; what is not there is removed already.
    ///
    /// # Errors
    /// As the filesystem reports them; a repeat goes on.
    fn remove_tree(&self, at: &Path, meter: &Meter) -> Result<()>;

    /// Makes everything durable that was written to the filesystem of `at` before the call (syncfs(2)). It goes on
    /// when `meter` is stopped; a failure then is told again by the next flush, because perhaps nobody hears of it.
    ///
    /// # Errors
    /// `Unavailable` with `Verify` after an I/O error since the last flush by this opened store.
    fn flush(&self, at: &Path, meter: &Meter) -> Result<()>;

    /// Enforces a size on the tree `at`, or lifts the limit. Only called with
    /// [`ENFORCED_SIZE`](Capabilities::ENFORCED_SIZE).
    ///
    /// # Errors
    /// `Exhausted` if more is used already.
    fn limit_size(&self, at: &Path, size_bytes: Option<u64>) -> Result<()>;

    /// Whether the place answers, found out without waiting on it for good: asked before work that nobody waits
    /// for, so that no thread is lost to a file server that is gone.
    ///
    /// # Errors
    /// `Unavailable` if it does not.
    fn reach(&self) -> Result<()>;

    /// How long a holder that gives no sign of life keeps its attachments from whoever asks for
    /// [`Takeover::WhenExpired`](crate::Takeover::WhenExpired); `None` where no lease runs out.
    fn lease(&self) -> Option<Duration>;

    /// Bytes that can still be written below `at`.
    ///
    /// # Errors
    /// As the filesystem reports them.
    fn free_bytes(&self, at: &Path) -> Result<u64>;

    /// What this host can say about a holder; never [`Expired`](Verdict::Expired).
    fn verdict(&self, holder: &Holder, here: &Node) -> Verdict;

    /// Puts a mount of ours on `request.target`, or finds the very same one there. Only called with
    /// [`MOUNTS`](Capabilities::MOUNTS).
    ///
    /// # Errors
    /// `Denied` or `Invalid` for a target that may not be used; nothing is mounted then.
    fn mount(&self, request: &MountRequest<'_>) -> Result<()>;

    /// Takes a mount of ours away; what is not mounted is taken away already. A mount of somebody else at
    /// the target is left alone.
    ///
    /// # Errors
    /// `InUse` while files are open and `busy` says [`BusyFiles::Refuse`].
    fn unmount(&self, source: &Path, target: &Path, busy: BusyFiles) -> Result<Unmounted>;
}

/// Whether a cut may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutMode {
    /// It will never change: a snapshot.
    Immutable,
    /// It becomes somebody's data.
    Writable,
}

/// What a cut or an import was worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The consistency that the filesystem gave, without hooks.
    pub consistency: Consistency,
    /// What was copied or cloned; `None` where nothing was counted.
    pub totals: Option<TreeTotals>,
    /// What could not be kept, one sentence each.
    pub remarks: Vec<String>,
}

/// A mount of ours.
#[derive(Debug, Clone, Copy)]
pub struct MountRequest<'a> {
    /// The tree.
    pub source: &'a Path,
    /// Where it shall appear.
    pub target: &'a Path,
    /// Whose path that is.
    pub site: MountSite,
    /// Whether anything below it may be written.
    pub mode: MountMode,
    /// What it forbids and maps.
    pub policy: &'a MountPolicy,
}

/// Whose path a mount's target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountSite {
    /// The caller's: never inside the store.
    Callers,
    /// The engine's own, inside the store: a directory that it made for this mount.
    Engines,
}

/// Whether a mount may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MountMode {
    /// It may.
    ReadWrite,
    /// Neither it nor anything below it.
    ReadOnly,
}

/// How a mount of ours went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unmounted {
    /// At once, or it was not there.
    Gone,
    /// It goes with the last open file.
    WhenIdle,
}

/// What this host can say about a holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It lives.
    Alive,
    /// It is dead, and this proves it.
    Dead(String),
    /// Nothing here proves either.
    CannotTell,
    /// Nothing proves either, and a challenger saw no sign of life for a whole lease.
    Expired,
}
