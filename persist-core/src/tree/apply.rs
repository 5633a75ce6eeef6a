//! Writing a source into an empty directory, whoever the source is.

mod build;
mod content;
mod gate;
mod parents;
mod plan;
mod workers;

use super::{
    beneath::Root,
    blocking::blocking,
    losses::{Losses, OnLoss},
    names::Names,
    source::{TreeSource, TreeTotals},
    trust::Trust,
    walk::Unreadable,
};
use crate::{
    error::{Error, Result},
    linux::cause::cause,
    progress::Meter,
};
use build::Site;
use futures::stream::TryStreamExt;
use std::{path::Path, sync::Arc};

/// How many batches are filled at a time: each holds at most 2 MiB of small files, then a few chunks of a
/// large one, so at most some 40 MiB are in memory.
const BATCHES_AT_ONCE: usize = 8;

/// How a tree is written.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// Whether what the tree says about privilege is believed; [`Untrusted`](Trust::Untrusted) unless
    /// said otherwise.
    pub trust: Trust,
    /// What happens when something cannot be kept.
    pub on_loss: OnLoss,
    /// What happens at a file whose source refuses to give its content.
    pub unreadable: Unreadable,
    /// Where a source is stopped that gives more than its reader is prepared for.
    pub limits: ApplyLimits,
    /// Counts entries and bytes of data, and stops the call.
    pub meter: Meter,
}

/// The most that a source may give; one more is [`Exhausted`](crate::ErrorKind::Exhausted), before
/// anything of it is allocated or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplyLimits {
    /// Entries, the root included. By default 2^32: the inodes of the largest ext4.
    pub entries: u64,
    /// Bytes of data, holes not counted. By default 2^50, a pebibyte.
    pub bytes: u64,
    /// Components of a path. By default 65,536: sixteen times what fits in `PATH_MAX`.
    pub depth: usize,
    /// Bytes of the names and values of one entry's attributes. By default 16 MiB; Linux allows 64 KiB
    /// for the names and 64 KiB for each value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`, limits.h).
    pub xattr_bytes: usize,
}

impl Default for ApplyLimits {
    fn default() -> Self {
        Self { entries: 1 << 32, bytes: 1 << 50, depth: 1 << 16, xattr_bytes: 16 << 20 }
    }
}

impl ApplyLimits {
    /// Sets [`entries`](Self::entries).
    #[must_use]
    pub fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// Sets [`bytes`](Self::bytes).
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`depth`](Self::depth).
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Sets [`xattr_bytes`](Self::xattr_bytes).
    #[must_use]
    pub fn with_xattr_bytes(mut self, xattr_bytes: usize) -> Self {
        self.xattr_bytes = xattr_bytes;
        self
    }
}

impl ApplyOptions {
    /// Everything is kept that this process may keep: for sources of our own.
    pub fn faithful() -> Self {
        Self { trust: Trust::Faithful, ..Self::default() }
    }

    /// Sets [`trust`](Self::trust).
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Sets [`on_loss`](Self::on_loss).
    #[must_use]
    pub fn with_on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// Sets [`unreadable`](Self::unreadable).
    #[must_use]
    pub fn with_unreadable(mut self, unreadable: Unreadable) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn with_limits(mut self, limits: ApplyLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`meter`](Self::meter).
    #[must_use]
    pub fn with_meter(mut self, meter: Meter) -> Self {
        self.meter = meter;
        self
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApplyReport {
    /// Entries and bytes of content that the source gave.
    pub totals: TreeTotals,
    /// What could not be kept.
    pub losses: Losses,
    /// Where the tree has extended attributes now.
    pub attributes: Attributes,
}

/// Where a tree has extended attributes (xattr(7)), those included that the filesystem or a security module gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Attributes {
    /// No file and no directory has one, and nothing else was given one.
    Nowhere,
    /// Something has one, or nobody looked.
    #[default]
    Somewhere,
}

/// Writes `source` into the empty directory `target`, whose own metadata becomes that of the root.
///
/// # Promise
/// Nothing outside of `target` is read or written, whatever the source says and whatever is planted in
/// `target` meanwhile: everything is made anew, by one name in a directory that was resolved beneath
/// `target`. Holes stay holes, names of one file stay names of one file, directories get their times after
/// their content. Memory is bounded whatever the size of the tree: some 40 MiB of content, the directories
/// on the way to the current entry, and one record for each directory that its owner may not write to and
/// each immutable file of several names. Content is not flushed: `syncfs` before it is relied on.
///
/// # Concurrency
/// Several files are read and filled at a time; all file work happens on blocking threads.
///
/// # Cancellation
/// Stop the meter, also while the source does not answer: when the call has returned, nothing writes any more.
/// Dropping the future ends the work too, at the next entry of each batch that is under way, which may be a moment
/// later. What is there then, and after an error, is the caller's to remove.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) if the source contradicts itself: entries out of path order, a
/// path twice, an entry in what is no directory, a link to what is not an earlier file, ranges that overlap
/// or lie beyond the size, metadata that no filesystem has, other bytes than announced.
/// [`Exhausted`](crate::ErrorKind::Exhausted) at a limit and when space runs out.
/// [`Invalid`](crate::ErrorKind::Invalid) if `target` is no directory,
/// [`Conflict`](crate::ErrorKind::Conflict) if it is not empty.
/// [`Unsupported`](crate::ErrorKind::Unsupported) if something is lost and that was refused, or if the
/// filesystem takes two names of the tree for one. [`Denied`](crate::ErrorKind::Denied) if the source refuses
/// to give a file's content, unless that shall be reported.
pub async fn apply(source: Arc<dyn TreeSource>, target: &Path, options: ApplyOptions) -> Result<ApplyReport> {
    let path = target.to_path_buf();
    let root = blocking(move || open_empty(&path)).await?;
    let ApplyOptions { trust, on_loss, unreadable, limits, meter } = options;
    let site = Arc::new(Site::new(root, trust, unreadable, meter.clone()));
    let _stop = StopOnDrop(Arc::clone(&site));
    let report = tokio::select! {
        report = write(&site, &source, limits) => report,
        // Also while the source does not answer.
        () = meter.stopped() => Err(Meter::refusal()),
    };
    if report.is_err() {
        site.workers.stop();
    }
    site.workers.leave().await;
    let report = report?;
    report.losses.check(on_loss)?;
    Ok(report)
}

async fn write(site: &Arc<Site>, source: &Arc<dyn TreeSource>, limits: ApplyLimits) -> Result<ApplyReport> {
    let totals = plan::batches(source.entries(None), limits)
        .and_then(|batch| build::make_directories(Arc::clone(site), batch))
        .map_ok(|batch| content::fill(Arc::clone(site), Arc::clone(source), batch))
        .try_buffered(BATCHES_AT_ONCE)
        .try_fold(TreeTotals::default(), |_, batch| build::finish(site, source, batch))
        .await?;
    let losses = build::finish_last(site).await?;
    Ok(ApplyReport { totals, losses, attributes: site.attributes() })
}

/// Blocking work cannot be dropped with the future that waits for it, but it can be told.
struct StopOnDrop(Arc<Site>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.workers.stop();
    }
}

fn open_empty(target: &Path) -> Result<Root> {
    let root = Root::open(target)?;
    let names = Names::read(&root).map_err(|e| cause(e, "apply", target.display()))?;
    match names.get(0) {
        None => Ok(root),
        Some(first) => Err(Error::conflict("the directory is not empty", Vec::new())
            .during("apply", target.display())
            .context("found", format_args!("{first:?}"))
            .advise("give an empty directory")),
    }
}

#[cfg(test)]
#[cfg(feature = "conformance")]
mod tests;
