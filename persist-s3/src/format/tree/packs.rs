//! Which packs a tree is made of, and how much of each: what else its commit's table lists, nobody reads through that
//! commit.

use super::{
    entry::{Body, Content, Data, Record, Spilled},
    page::Page,
    read::{LEAVES_AHEAD, Source, Span, Tree, pages},
    spill::Blob,
};
use crate::format::location::{Location, PackIndex};
use futures::TryStreamExt;
use persist_core::{Result, tree::TreePath};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// How much of each pack a tree refers to.
#[derive(Debug, Default)]
pub struct PacksUsed {
    bytes: BTreeMap<PackIndex, u64>,
    /// The frame that was added last.
    last: Option<(PackIndex, u32)>,
}

impl PacksUsed {
    /// Bytes of the sealed frames of a pack that are referred to; nothing if none is. A frame that is referred to from
    /// places that do not follow one another counts each time.
    pub fn of(&self, pack: PackIndex) -> Option<u64> {
        self.bytes.get(&pack).copied()
    }

    fn add(&mut self, at: &Location) {
        let frame = (at.pack, at.frame_offset);
        let bytes = self.bytes.entry(at.pack).or_default();
        if self.last.replace(frame) != Some(frame) {
            *bytes += u64::from(at.frame_bytes);
        }
    }
}

impl Tree {
    /// The packs that hold a page or a chunk of this tree.
    ///
    /// # Promise
    /// Reads every page, those of long lists of chunks included, and no data; a few leaves at a time. Memory: a
    /// number for each pack.
    ///
    /// # Errors
    /// As [`entries`](Self::entries): a tree of which a page cannot be read may be made of any pack.
    pub async fn packs(&self) -> Result<PacksUsed> {
        let source = self.source();
        let mut packs = PacksUsed::default();
        // The root page is there also for a tree without entries.
        packs.add(&self.root().at);
        let opening = Arc::clone(&source);
        let mut opened = pages(Arc::clone(&source), None)
            .map_ok(move |(level, span)| opened(Arc::clone(&opening), level, span))
            .try_buffered(LEAVES_AHEAD);
        while let Some((span, leaf)) = opened.try_next().await? {
            packs.add(&span.child.page.at);
            for record in leaf.iter().flat_map(|leaf| leaf.records()) {
                add(&source, record, &mut packs).await?;
            }
        }
        Ok(packs)
    }

    /// The files with a chunk in one of `packs`: reads as much as [`packs`](Self::packs). Memory: their paths.
    ///
    /// # Errors
    /// As [`entries`](Self::entries).
    pub async fn files_in(&self, packs: &BTreeSet<PackIndex>) -> Result<BTreeSet<TreePath>> {
        let mut paths = BTreeSet::new();
        let mut entries = self.entries(None);
        while let Some(stored) = entries.try_next().await? {
            let mut chunks = self.chunks(&stored.content, 0..u64::MAX);
            while let Some(placed) = chunks.try_next().await? {
                if packs.contains(&placed.chunk.at.pack) {
                    paths.insert(stored.entry.path.clone());
                    break;
                }
            }
        }
        Ok(paths)
    }
}

/// A page, opened if it is a leaf.
async fn opened(source: Arc<Source>, level: u8, span: Span) -> Result<(Span, Option<Page>)> {
    if level > 0 {
        return Ok((span, None));
    }
    let leaf = source.load(0, &span).await?;
    Ok((span, Some(leaf)))
}

/// Adds what an entry is made of beyond its page.
async fn add(source: &Source, record: &Record, packs: &mut PacksUsed) -> Result<()> {
    let blob = |packs: &mut PacksUsed, blob: &Blob| blob.parts().iter().for_each(|part| packs.add(&part.at));
    if let Spilled::Elsewhere(xattrs) = &record.attributes.xattrs {
        blob(packs, xattrs);
    }
    let Body::File { data, content, .. } = &record.body else { return Ok(()) };
    if let Data::Ranges(Spilled::Elsewhere(ranges)) = data {
        blob(packs, ranges);
    }
    if let Content::Chunks(chunks) = content {
        chunks.iter().for_each(|chunk| packs.add(&chunk.at));
        return Ok(());
    }
    source.list_pages(content).await?.iter().for_each(|page| packs.add(&page.at));
    let mut chunks = source.chunks(content);
    while let Some(placed) = chunks.try_next().await? {
        packs.add(&placed.chunk.at);
    }
    Ok(())
}
