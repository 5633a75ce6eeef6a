//! Any source into a directory, the cheapest way that there is.

use super::{
    apply::{ApplyLimits, ApplyOptions, apply},
    beneath::Root,
    blocking::blocking,
    copy::{CloneMode, CopyOptions, copy},
    losses::{Losses, OnLoss},
    source::{TreeSource, TreeTotals},
    trust::Trust,
    walk::Unreadable,
};
use crate::{error::Result, progress::Meter};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How a tree is brought into a directory.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TransferOptions {
    /// Whether what the tree says about privilege is believed; [`Untrusted`](Trust::Untrusted) unless
    /// said otherwise.
    pub trust: Trust,
    /// What happens when something cannot be kept.
    pub on_loss: OnLoss,
    /// What happens at an entry that may not be read.
    pub unreadable: Unreadable,
    /// Whether files of a source on this host share their bytes with their origin. With
    /// [`Require`](CloneMode::Require), a source that is not on this host is `Unsupported`.
    pub clone: CloneMode,
    /// The most that a source may give that is read as a stream; a directory of this host already has
    /// its size, and is not measured.
    pub limits: ApplyLimits,
    /// Counts entries and bytes, and stops the call.
    pub meter: Meter,
}

impl TransferOptions {
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

    /// Sets [`clone`](Self::clone).
    #[must_use]
    pub fn with_clone(mut self, clone: CloneMode) -> Self {
        self.clone = clone;
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

/// What was brought, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferReport {
    /// Entries and bytes of content.
    pub totals: TreeTotals,
    /// What could not be kept.
    pub losses: Losses,
    /// Which way it went.
    pub way: Way,
}

/// Which way a tree went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// From directory to directory, in the kernel.
    Copied {
        /// Files that share their bytes with their origin.
        cloned: u64,
        /// Files whose bytes were copied.
        copied: u64,
    },
    /// Read from the source and written.
    Applied,
}

/// Brings the tree of `source` into the empty directory `target`: by [`copy`] where the source is a directory of
/// this host, else by [`apply`].
///
/// # Promise
/// As those two; nothing outside of `target` is written, nothing outside of the source is read.
///
/// # Cancellation
/// Dropping the future stops the meter and with it the work at its next safe point. What is in `target`
/// then, and after an error, is the caller's to remove.
///
/// # Errors
/// As [`copy`] and [`apply`].
pub async fn transfer(
    source: Arc<dyn TreeSource>,
    target: &Path,
    options: TransferOptions,
) -> Result<TransferReport> {
    let _stop = StopOnDrop(options.meter.clone());
    if let Some(from) = source.directory().map(Path::to_path_buf) {
        let to = target.to_path_buf();
        return blocking(move || copied(&from, to, &options)).await;
    }
    if options.clone == CloneMode::Require {
        return Err(crate::Error::new(crate::ErrorKind::Unsupported, "the source is not on this host")
            .during("transfer", target.display())
            .advise("let the bytes be copied"));
    }
    let TransferOptions { trust, on_loss, unreadable, limits, meter, .. } = options;
    let applying = ApplyOptions::default()
        .with_trust(trust)
        .with_on_loss(on_loss)
        .with_unreadable(unreadable)
        .with_limits(limits)
        .with_meter(meter);
    let report = apply(source, target, applying).await?;
    Ok(TransferReport { totals: report.totals, losses: report.losses, way: Way::Applied })
}

fn copied(from: &Path, to: PathBuf, options: &TransferOptions) -> Result<TransferReport> {
    let how = CopyOptions::default()
        .with_trust(options.trust)
        .with_on_loss(options.on_loss)
        .with_unreadable(options.unreadable)
        .with_clone(options.clone);
    let report = copy(&Root::open(from)?, &Root::open(&to)?, &how, &options.meter)?;
    let way = Way::Copied { cloned: report.cloned, copied: report.copied };
    Ok(TransferReport { totals: report.totals, losses: report.losses, way })
}

/// The blocking copy cannot be dropped with the future that waits for it, but it can be told.
struct StopOnDrop(Meter);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
#[cfg(feature = "conformance")]
mod tests {
    use super::*;
    use crate::{
        ErrorKind,
        tree::{
            DirectoryTree, Entry, EntryKind, Metadata, TreePath,
            sample::{MemoryTree, Row, describe, differences, plant},
        },
    };
    use std::fs;

    #[tokio::test]
    async fn a_directory_of_this_host_is_copied_and_anything_else_is_read_and_written() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        plant(from.path(), &[Row::HardLinks, Row::Holes, Row::Symlinks]).unwrap();
        let source = Arc::new(DirectoryTree::open(from.path()).unwrap());
        let report = transfer(source, to.path(), TransferOptions::faithful()).await.unwrap();
        assert!(matches!(report.way, Way::Copied { cloned, copied } if cloned + copied == 6), "{report:?}");
        let (before, after) = (describe(from.path()).unwrap(), describe(to.path()).unwrap());
        assert_eq!(differences(&before, &after, &[]), [""; 0]);

        let root = Entry::new(
            TreePath::root(),
            EntryKind::Directory,
            Metadata { mode: 0o700, ..Metadata::default() },
        );
        let file = EntryKind::File { size: 2, data: None };
        let path = TreePath::new("f").unwrap();
        let file = Entry::new(path.clone(), file, Metadata { mode: 0o600, ..Metadata::default() });
        let memory = Arc::new(MemoryTree::new([root, file]).with_content(path, b"hi".as_slice()));
        let to = tempfile::tempdir().unwrap();
        let cloned = TransferOptions::default().with_clone(CloneMode::Require);
        let error = transfer(memory.clone(), to.path(), cloned).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let report = transfer(memory, to.path(), TransferOptions::default()).await.unwrap();
        assert_eq!((report.way, report.totals), (Way::Applied, TreeTotals { files: 2, bytes: 2 }));
        assert_eq!(fs::read(to.path().join("f")).unwrap(), b"hi");
    }
}
