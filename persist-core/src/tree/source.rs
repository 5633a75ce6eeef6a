//! A tree that can be read entry by entry: what every store can give and take.

use super::entry::{Entry, TreePath};
use crate::error::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::{fmt::Debug, ops::Range, path::Path};

/// An immutable tree, readable in path order with ranged reads.
///
/// `transfer` connects any source with any store; comparison, partial restore and copies between
/// stores use the same trait.
#[async_trait]
pub trait TreeSource: Debug + Send + Sync + 'static {
    /// The entries in path order, the root first, beginning after `after`.
    ///
    /// # Promise
    /// Every call gives the same entries in the same order; memory is bounded whatever the size of the
    /// tree. A name of a file that has several says so in [`Entry::link`].
    ///
    /// # Errors
    /// The stream ends after its first error.
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>>;

    /// The entry at `path`, or `None`.
    ///
    /// # Errors
    /// As the store reports them; an absent entry is not an error.
    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>>;

    /// The bytes of the file at `path` within `range`, cut at the end of the file; holes read as zeros.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the store can tell that the bytes are not
    /// what was written; [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if it is not a file.
    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes>;

    /// Entries and bytes, where known without a walk.
    fn totals(&self) -> Option<TreeTotals>;

    /// The directory that holds this tree on this host, where there is one: lets an engine clone instead
    /// of read. It stays unchanged while this source lives.
    fn directory(&self) -> Option<&Path>;
}

/// How large a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TreeTotals {
    /// Entries, the root included.
    pub files: u64,
    /// Bytes of content, holes included, a file with several names once.
    pub bytes: u64,
}
