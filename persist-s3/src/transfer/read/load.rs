//! Fetching a run and opening its frames: the one place that asks the bucket for content.

use super::{
    Held,
    runs::{FrameSpan, Run},
    shelf::Opened,
};
use crate::{
    client::{Cause, Effect, error},
    format::{
        crypt::Sealing,
        fmt::Keyring,
        frame::Opener,
        table::{Home, PackEntry, PackTable},
    },
    keys::{Keys, Part},
    transfer::processors::Processors,
};
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectStore, path::Path};
use persist_core::{Error, ErrorKind, Result};
use std::{ops::Range, sync::Arc};
use tokio::sync::Semaphore;

/// What is needed to fetch.
pub(super) struct Loader {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) keys: Keys,
    pub(super) table: Arc<PackTable>,
    pub(super) keyring: Keyring,
    pub(super) held: Held,
    pub(super) known: Vec<KnownBytes>,
    /// Requests under way.
    pub(super) requests: Semaphore,
    /// Memory for what requests fetch, in units of [`UNIT_BYTES`].
    pub(super) memory: Semaphore,
    pub(super) memory_units: u32,
    /// What opens them.
    pub(super) processors: Processors,
}

/// Memory is counted in units that a semaphore can hold.
pub(super) const UNIT_BYTES: u64 = 1024;

/// Bytes of an object that were fetched before, such as the end of the commit object.
#[derive(Debug, Clone)]
pub(crate) struct KnownBytes {
    /// The object.
    pub(crate) object: Path,
    /// Where they begin in it.
    pub(crate) start: u64,
    /// What they are.
    pub(crate) bytes: Bytes,
}

impl Loader {
    /// The opened frames of `run`, and how much memory they take.
    pub(super) async fn load(&self, run: &Run) -> Result<(Opened, u64)> {
        let (Some(first), Some(last)) = (run.spans.first(), run.spans.last()) else {
            return Ok((Opened::new(), 0));
        };
        let entry = self.table.get(first.pack)?;
        let object = self.object(entry);
        let begin = entry.frame_range(&first.location())?.start;
        let range = begin..entry.frame_range(&last.location())?.end;
        let sealing = self.keyring.sealing(&entry.volume, entry.key)?;
        let fetched = run.fetched();
        let units = u32::try_from(fetched.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.memory_units);
        let over = |_| Error::internal("a reader was used after its end");
        let _memory = self.memory.acquire_many(units).await.map_err(over)?;
        let bytes = self.bytes(&object, range).await?;
        let work = Work { entry: entry.clone(), spans: run.spans.clone(), sealing, bytes };
        let opened = self.processors.run(move || work.open()).await.map_err(|e| e.during("read", &object))?;
        let raw: usize = opened.values().map(Bytes::len).sum();
        // Frames that are stored as they are keep the whole answer alive.
        Ok((opened, fetched.max(u64::try_from(raw).unwrap_or(u64::MAX))))
    }

    fn object(&self, entry: &PackEntry) -> Path {
        let part = match &entry.home {
            Home::Own => Part::Pack(entry.name.clone()),
            Home::Commit { commit, .. } => Part::Commit(commit.clone()),
        };
        self.keys.of(&entry.volume, part)
    }

    async fn bytes(&self, object: &Path, range: Range<u64>) -> Result<Bytes> {
        if let Some(known) = self.known.iter().find_map(|known| known.slice(object, &range)) {
            return Ok(known);
        }
        let over = |_| Error::internal("a reader was used after its end");
        let _request = self.requests.acquire().await.map_err(over)?;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let answer = async { self.store.get_opts(object, options).await?.bytes().await };
        let bytes = answer.await.map_err(|e| self.failed(&e, object))?;
        if u64::try_from(bytes.len()).ok() != Some(range.end - range.start) {
            return Err(Error::new(ErrorKind::Corrupt, "the object is shorter than the commit says")
                .during("read", object)
                .context("wanted", format_args!("{}..{}", range.start, range.end))
                .context("got", bytes.len())
                .advise("keep the object; restore the volume from a snapshot that is whole"));
        }
        Ok(bytes)
    }

    fn failed(&self, failure: &object_store::Error, object: &Path) -> Error {
        if Cause::of(failure) != Cause::NotFound {
            return error(failure, Effect::Read).during("read", object);
        }
        match self.held {
            Held::Pinned => Error::new(ErrorKind::Corrupt, "an object that the commit needs is gone")
                .during("read", object)
                .advise("find out who deletes in the bucket beside persist; verify the volume"),
            Held::Unpinned => {
                Error::not_found("an object that the commit needs is gone, and nothing held it")
                    .during("read", object)
                    .advise("read a newer commit, or with credentials that may pin")
            }
        }
    }
}

impl KnownBytes {
    fn slice(&self, object: &Path, range: &Range<u64>) -> Option<Bytes> {
        let begin = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        (self.object == *object && end <= self.bytes.len()).then(|| self.bytes.slice(begin..end))
    }
}

/// The frames of one answer, for a thread that may compute.
struct Work {
    entry: PackEntry,
    spans: Vec<FrameSpan>,
    sealing: Sealing,
    bytes: Bytes,
}

impl Work {
    fn open(self) -> Result<Opened> {
        let mut opener = Opener::new()?;
        let begin = self.spans.first().map_or(0, |span| span.offset);
        let place = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let mut opened = Opened::with_capacity(self.spans.len());
        for span in &self.spans {
            let from = place(span.offset - begin);
            let sealed = self.bytes.slice(from..from + place(span.bytes));
            let binding = self.entry.frame_binding(&span.location());
            opened.insert(span.offset, opener.open_frame(sealed, &self.sealing, &binding)?);
        }
        Ok(opened)
    }
}
