//! Which packs a tree is made of: what else its commit's table lists, nobody reads through that commit.

use super::{
    entry::{Body, Content, Data, Record, Spilled},
    page::Page,
    read::{LEAVES_AHEAD, Source, Span, Tree, pages},
    spill::Blob,
};
use crate::format::location::PackIndex;
use futures::TryStreamExt;
use persist_core::Result;
use std::{collections::BTreeSet, sync::Arc};

impl Tree {
    /// The packs that hold a page or a chunk of this tree.
    ///
    /// # Promise
    /// Reads every page, those of long lists of chunks included, and no data; a few leaves at a time. Memory: a
    /// number for each pack.
    ///
    /// # Errors
    /// As [`entries`](Self::entries): a tree of which a page cannot be read may be made of any pack.
    pub async fn packs(&self) -> Result<BTreeSet<PackIndex>> {
        let source = self.source();
        // The root page is there also for a tree without entries.
        let mut packs = BTreeSet::from([self.root().at.pack]);
        let opening = Arc::clone(&source);
        let mut opened = pages(Arc::clone(&source), None)
            .map_ok(move |(level, span)| opened(Arc::clone(&opening), level, span))
            .try_buffered(LEAVES_AHEAD);
        while let Some((span, leaf)) = opened.try_next().await? {
            packs.insert(span.child.page.at.pack);
            for record in leaf.iter().flat_map(|leaf| leaf.records()) {
                add(&source, record, &mut packs).await?;
            }
        }
        Ok(packs)
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
async fn add(source: &Source, record: &Record, packs: &mut BTreeSet<PackIndex>) -> Result<()> {
    let blob = |blob: &Blob| blob.parts().iter().map(|part| part.at.pack).collect::<Vec<_>>();
    if let Spilled::Elsewhere(xattrs) = &record.attributes.xattrs {
        packs.extend(blob(xattrs));
    }
    let Body::File { data, content, .. } = &record.body else { return Ok(()) };
    if let Data::Ranges(Spilled::Elsewhere(ranges)) = data {
        packs.extend(blob(ranges));
    }
    if let Content::Chunks(chunks) = content {
        packs.extend(chunks.iter().map(|chunk| chunk.at.pack));
        return Ok(());
    }
    packs.extend(source.list_pages(content).await?.iter().map(|page| page.at.pack));
    let mut chunks = source.chunks(content);
    while let Some(placed) = chunks.try_next().await? {
        packs.insert(placed.chunk.at.pack);
    }
    Ok(())
}
