//! The tree of a commit: a B-tree in path order whose pages are cut by the content of its keys.
//!
//! Where a page ends follows from the paths in it and not from what was changed before, so two trees of the
//! same entries have the same pages, and a change of a few entries makes a few new pages. An entry says where
//! its content lies: reading needs no index.

mod build;
mod codec;
mod diff;
mod entry;
mod list;
mod packs;
mod page;
mod read;
mod record;
mod rewrite;
mod spill;

#[cfg(test)]
mod tests;

pub use build::TreeBuilder;
pub use codec::TREE_PATH_MAX_BYTES;
pub use diff::{EntryChange, diff};
pub use entry::{ChunkList, Content, PageRef, StoredEntry, is_later_name};
pub use list::{ListBuilder, PlacedChunk};
pub use packs::PacksUsed;
pub use page::{LEVEL_MAX, PAGE_MAX_BYTES};
pub use read::Tree;
pub use record::CHUNKS_HERE_MAX;
pub use rewrite::{Change, rewrite};
pub use spill::RANGES_MAX;

use super::{
    crypt::{ChunkSecret, IdKey, KEY_BYTES},
    location::{ChunkId, Location},
};
use async_trait::async_trait;
use bytes::Bytes;
use codec::corrupt;
use persist_core::{Result, tree::TreePath};
use std::fmt;
use zeroize::Zeroizing;

/// Reads pages; each may be a ranged GET.
#[async_trait]
pub trait Pages: fmt::Debug + Send + Sync {
    /// The bytes at `at`. The caller checks that they are the page it means.
    ///
    /// # Errors
    /// As the store reports them.
    async fn page(&self, at: &Location) -> Result<Bytes>;

    /// These pages will be read, in this order, unless the reader stops before: whoever fetches from afar may
    /// fetch those together that lie together. Fetches nothing by itself.
    fn plan(&self, pages: &[Location]);
}

/// Takes the new pages of a tree while it is written.
pub trait PageSink: Send + Sync {
    /// Keeps `page` and says where it will be.
    ///
    /// # Errors
    /// As the store reports them.
    fn put(&mut self, page: &[u8]) -> Result<Location>;
}

/// What makes a volume's pages its own: how they are named and where they are cut.
#[derive(Clone)]
pub struct TreeFormat {
    ids: IdKey,
    cuts: Zeroizing<[u8; KEY_BYTES]>,
    cut: Cut,
}

/// Where a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Not before it has this many bytes of entries,
    from_bytes: usize,
    /// at the latest with so many,
    to_bytes: usize,
    /// and between them after a path whose hash has these bits clear.
    mask: u64,
}

/// Pages of 64 KiB on average: from 32 KiB on, one path in 512 ends a page, and some 512 entries of 60 to 70
/// bytes are 32 KiB. No page grows far above 128 KiB.
const STANDARD: Cut = Cut { from_bytes: 32 << 10, to_bytes: 128 << 10, mask: 511 };

const PAGE_END: &str = "persist-s3 2026-11-22 v1 end of a tree page";

impl TreeFormat {
    /// The format of a lineage: who does not know its secret can neither name its pages nor choose paths that
    /// make them long or short.
    pub fn new(secret: &ChunkSecret) -> Self {
        let cuts = Zeroizing::new(blake3::derive_key(PAGE_END, secret.expose()));
        Self { ids: secret.ids(), cuts, cut: STANDARD }
    }

    /// The id of a page.
    pub fn id(&self, page: &[u8]) -> ChunkId {
        self.ids.id(page)
    }

    /// The page, checked to be what was asked for.
    async fn fetch(&self, pages: &dyn Pages, page: &PageRef) -> Result<Bytes> {
        let bytes = pages.page(&page.at).await?;
        if self.id(&bytes) != page.id {
            return Err(spill::named(corrupt("its bytes are not what was written"), page));
        }
        Ok(bytes)
    }

    /// Whether a page of `level` ends after `path`, its entry number `count`.
    fn ends(&self, level: u8, path: &TreePath, count: u64, bytes: usize) -> bool {
        self.cut.ends(count, bytes, || {
            let mut hasher = blake3::Hasher::new_keyed(&self.cuts);
            hasher.update(&[level]).update(path.as_bytes());
            low_bits(hasher.finalize().as_bytes())
        })
    }

    /// Whether a page of a list ends after what has this id.
    fn list_ends(&self, id: &ChunkId, count: u64, bytes: usize) -> bool {
        self.cut.ends(count, bytes, || low_bits(&id.0))
    }
}

impl Cut {
    fn ends(self, count: u64, bytes: usize, hash: impl FnOnce() -> u64) -> bool {
        // Two at least: so a tree has a top.
        count > 1 && bytes >= self.from_bytes && (bytes >= self.to_bytes || hash() & self.mask == 0)
    }
}

impl fmt::Debug for TreeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeFormat").field("cut", &self.cut).finish_non_exhaustive()
    }
}

fn low_bits(hash: &[u8; 32]) -> u64 {
    let mut low = [0; 8];
    low.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(low)
}
