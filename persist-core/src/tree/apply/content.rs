//! Filling files: read from the source asynchronously, written on blocking threads.

use super::{
    build::Site,
    gate::{corrupt, data_bytes},
    parents::Parents,
    plan::{Batch, SMALL_BYTES},
};
use crate::{
    error::Result,
    linux::cause::cause,
    tree::{
        entry::{DataRange, Entry, EntryKind},
        losses::Loss,
        source::TreeSource,
    },
};
use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use std::{fs::File, os::unix::fs::FileExt, pin::pin, sync::Arc};

/// Reads that are under way for one batch: hides the round trip to a distant source.
pub(super) const AHEAD: usize = 4;

/// How much of a large file is read at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The content of a small file by place, or why it cannot be had.
type Content = Result<Vec<(u64, Bytes)>, String>;

/// Makes and fills the files of `batch`, and everything else of it that is no directory.
pub(super) async fn fill(site: Arc<Site>, source: Arc<dyn TreeSource>, mut batch: Batch) -> Result<Batch> {
    let (small, large): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(&mut batch.files).into_iter().partition(|file| data_bytes(&file.kind) <= SMALL_BYTES);
    // By place, not by reference: a closure over references would make the future one that cannot be sent.
    let contents: Vec<Content> = futures::stream::iter(0..small.len())
        .map(|n| whole(&site, &*source, &small[n]))
        .buffered(AHEAD)
        .try_collect()
        .await?;
    for entry in &large {
        stream(&site, &source, entry).await?;
    }
    site.run(move |site| {
        let mut at = Parents::new(&site.root);
        for (entry, content) in small.iter().zip(contents) {
            site.workers.check()?;
            write_small(site, &mut at, entry, content)?;
        }
        for entry in &batch.others {
            site.workers.check()?;
            site.make_other(&mut at, entry)?;
        }
        batch.files = small.into_iter().chain(large).collect();
        Ok(batch)
    })
    .await
}

async fn whole(site: &Site, source: &dyn TreeSource, entry: &Entry) -> Result<Content> {
    let mut content = Vec::new();
    for chunk in chunks(entry) {
        match read(source, entry, chunk).await {
            Ok(bytes) => content.push((chunk.offset, bytes)),
            Err(error) if site.passes_over(&error) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(content))
}

fn write_small(site: &Site, at: &mut Parents<'_>, entry: &Entry, content: Content) -> Result<()> {
    let content = match content {
        Ok(content) => content,
        Err(why) => {
            site.lose(entry, Loss::Unreadable, why);
            return Ok(());
        }
    };
    let file = site.create(at, entry)?;
    set_size(site, &file, entry)?;
    for (offset, bytes) in content {
        write(site, &file, entry, offset, &bytes)?;
    }
    site.finish_file(file, entry)
}

/// Fills a large file chunk by chunk, a few chunks ahead.
async fn stream(site: &Arc<Site>, source: &Arc<dyn TreeSource>, entry: &Entry) -> Result<()> {
    let mut read = pin!(
        futures::stream::iter(chunks(entry))
            .map(|chunk| placed(&**source, entry, chunk))
            .buffered(AHEAD)
            .peekable()
    );
    if let Some(Err(error)) = read.as_mut().peek().await
        && site.passes_over(error)
    {
        site.lose(entry, Loss::Unreadable, error);
        return Ok(());
    }
    let subject = Arc::new(entry.clone());
    let entry = Arc::clone(&subject);
    let make = move |site: &Site| {
        let file = site.create(&mut Parents::new(&site.root), &entry)?;
        set_size(site, &file, &entry)?;
        Ok(Arc::new(file))
    };
    let file = site.run(make).await?;
    while let Some((offset, bytes)) = read.try_next().await? {
        let (file, entry) = (Arc::clone(&file), Arc::clone(&subject));
        site.run(move |site| write(site, &file, &entry, offset, &bytes)).await?;
    }
    let finish = move |site: &Site| match Arc::into_inner(file) {
        Some(file) => site.finish_file(file, &subject),
        None => Err(crate::Error::internal("a file that is being filled has two owners")),
    };
    site.run(finish).await
}

async fn placed(source: &dyn TreeSource, entry: &Entry, range: DataRange) -> Result<(u64, Bytes)> {
    Ok((range.offset, read(source, entry, range).await?))
}

async fn read(source: &dyn TreeSource, entry: &Entry, range: DataRange) -> Result<Bytes> {
    let bytes = source.read(&entry.path, range.offset..range.offset + range.length).await?;
    if u64::try_from(bytes.len()).ok() != Some(range.length) {
        return Err(corrupt("the source gives other bytes than it announced")
            .during("apply", crate::name::shortened(&entry.path.to_string()))
            .context("wanted", range.length)
            .context("got", bytes.len()));
    }
    Ok(bytes)
}

/// The data of a file, none larger than [`CHUNK_BYTES`].
fn chunks(entry: &Entry) -> impl Iterator<Item = DataRange> {
    let ranges: Vec<DataRange> = match &entry.kind {
        EntryKind::File { data: Some(data), .. } => data.clone(),
        EntryKind::File { size, data: None } if *size > 0 => vec![DataRange { offset: 0, length: *size }],
        _ => Vec::new(),
    };
    ranges.into_iter().flat_map(|range| {
        let count = range.length.div_ceil(CHUNK_BYTES);
        (0..count).map(move |n| {
            let skipped = n * CHUNK_BYTES;
            DataRange { offset: range.offset + skipped, length: (range.length - skipped).min(CHUNK_BYTES) }
        })
    })
}

/// Makes the file as long as it will be where that does not follow from its data: the rest is a hole.
fn set_size(site: &Site, file: &File, entry: &Entry) -> Result<()> {
    let EntryKind::File { size, data: Some(data) } = &entry.kind else { return Ok(()) };
    let end = data.last().map_or(0, |range| range.offset + range.length);
    if end == *size {
        return Ok(());
    }
    file.set_len(*size).map_err(|e| cause(e, "truncate", site.root.place(&entry.path)))
}

fn write(site: &Site, file: &File, entry: &Entry, offset: u64, bytes: &Bytes) -> Result<()> {
    file.write_all_at(bytes, offset).map_err(|e| cause(e, "write", site.root.place(&entry.path)))?;
    site.workers.count(0, bytes.len());
    Ok(())
}
