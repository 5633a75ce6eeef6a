//! What is new is grouped into frames in path order, and every file waits until its chunks have a place.

use crate::format::{
    frame::{Draft, FrameKind},
    location::{ChunkId, ChunkRef},
};
use persist_core::Result;
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::Arc,
};

/// Chunks of this upload that are remembered so that equal ones are stored once: two generations of so
/// many, 20 MiB in all; an equal chunk that comes later than that is stored again.
const RECENT: usize = 128 << 10;

/// Entries that wait for one frame: beyond these the frame is closed as it is, because entries without new
/// data would wait for ever. Some MiB of memory.
const WAITING_MAX: usize = 4096;

/// Says where chunks are that the volume already has.
pub(crate) trait KnownChunks: fmt::Debug + Send + Sync {
    /// Where the chunk is; `None` if that is not known, which costs its upload and nothing else.
    fn find(&self, id: &ChunkId) -> Option<ChunkRef>;
}

/// Groups chunks and resolves where they are. No I/O.
#[derive(Debug)]
pub(super) struct Grouping<T> {
    draft: Draft,
    known: Option<Arc<dyn KnownChunks>>,
    recent: Recent,
    /// How many new chunks were put into drafts, and how many of them have a place.
    drafted: u64,
    placed: u64,
    waiting: Waiting<T>,
    pub(super) new_bytes: u64,
    pub(super) known_bytes: u64,
}

/// Files whose chunks have no place yet, in order.
#[derive(Debug)]
struct Waiting<T> {
    files: HashMap<u64, File<T>>,
    order: VecDeque<u64>,
    next: u64,
    /// For a new chunk by its number: which chunks of which files it is.
    places: HashMap<u64, Vec<(u64, usize)>>,
}

#[derive(Debug)]
struct File<T> {
    before: HashMap<ChunkId, ChunkRef>,
    chunks: Vec<Option<ChunkRef>>,
    missing: usize,
    value: Option<Result<T>>,
}

#[derive(Debug, Default)]
struct Recent {
    new: HashMap<ChunkId, Slot>,
    old: HashMap<ChunkId, Slot>,
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Placed(ChunkRef),
    Drafted(u64),
}

impl<T> Grouping<T> {
    pub(super) fn new(known: Option<Arc<dyn KnownChunks>>) -> Self {
        Self {
            draft: Draft::new(FrameKind::Data),
            known,
            recent: Recent::default(),
            drafted: 0,
            placed: 0,
            waiting: Waiting {
                files: HashMap::new(),
                order: VecDeque::new(),
                next: 0,
                places: HashMap::new(),
            },
            new_bytes: 0,
            known_bytes: 0,
        }
    }

    /// The next file begins; `before` is what it consisted of at the last commit.
    pub(super) fn open(&mut self, before: Vec<ChunkRef>) {
        let before = before.into_iter().map(|chunk| (chunk.id, chunk)).collect();
        self.waiting.push(File { before, chunks: Vec::new(), missing: 0, value: None });
    }

    /// The last file is read again: what was read of it is stored, but is not in it.
    pub(super) fn again(&mut self) {
        if let Some(file) = self.waiting.take_last() {
            self.waiting.push(File { before: file.before, chunks: Vec::new(), missing: 0, value: None });
        }
    }

    /// The last file's next chunk. Gives a frame back when it is full.
    pub(super) fn chunk(&mut self, id: ChunkId, raw: &[u8]) -> Result<Option<Draft>> {
        let slot = self.find(&id);
        if slot.is_some() {
            self.known_bytes += raw.len() as u64;
        } else {
            self.new_bytes += raw.len() as u64;
        }
        let slot = slot.unwrap_or(Slot::Drafted(self.drafted));
        self.waiting.chunk(slot);
        if !matches!(slot, Slot::Drafted(number) if number == self.drafted) {
            return Ok(None);
        }
        self.recent.put(id, slot);
        self.drafted += 1;
        let full = (!self.draft.takes(raw.len())).then(|| self.take_draft());
        self.draft.push(id, raw)?;
        Ok(full)
    }

    /// The last file is complete.
    pub(super) fn end(&mut self, value: Result<T>) {
        if let Some(file) = self.waiting.last() {
            file.value = Some(value);
            file.before = HashMap::new();
        }
    }

    /// Whether too many entries wait for their places.
    pub(super) fn is_long(&self) -> bool {
        self.waiting.order.len() > WAITING_MAX
    }

    /// Whether there are chunks that no frame was made of yet.
    pub(super) fn has_draft(&self) -> bool {
        !self.draft.is_empty()
    }

    /// What no frame was made of yet.
    pub(super) fn last_draft(&mut self) -> Option<Draft> {
        (!self.draft.is_empty()).then(|| self.take_draft())
    }

    /// The chunks of the next frame have their places; frames come in the order of their drafts.
    pub(super) fn place(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            self.recent.settle(chunk);
            self.waiting.place(self.placed, chunk);
            self.placed += 1;
        }
    }

    /// The next file in order, if all its chunks have a place.
    pub(super) fn ready(&mut self) -> Option<(Result<T>, Vec<ChunkRef>)> {
        self.waiting.ready()
    }

    fn find(&self, id: &ChunkId) -> Option<Slot> {
        self.recent.find(id).or_else(|| {
            let before = self.waiting.newest().and_then(|file| file.before.get(id).copied());
            before.or_else(|| self.known.as_ref()?.find(id)).map(Slot::Placed)
        })
    }

    fn take_draft(&mut self) -> Draft {
        std::mem::replace(&mut self.draft, Draft::new(FrameKind::Data))
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, file: File<T>) {
        self.files.insert(self.next, file);
        self.order.push_back(self.next);
        self.next += 1;
    }

    fn newest(&self) -> Option<&File<T>> {
        self.files.get(self.order.back()?)
    }

    fn last(&mut self) -> Option<&mut File<T>> {
        self.files.get_mut(self.order.back()?)
    }

    fn take_last(&mut self) -> Option<File<T>> {
        self.files.remove(&self.order.pop_back()?)
    }

    fn chunk(&mut self, slot: Slot) {
        let Some(number) = self.order.back() else { return };
        let Some(file) = self.files.get_mut(number) else { return };
        match slot {
            Slot::Placed(chunk) => file.chunks.push(Some(chunk)),
            Slot::Drafted(new) => {
                self.places.entry(new).or_default().push((*number, file.chunks.len()));
                file.chunks.push(None);
                file.missing += 1;
            }
        }
    }

    fn place(&mut self, new: u64, chunk: &ChunkRef) {
        for (number, at) in self.places.remove(&new).unwrap_or_default() {
            // A file that was read again has another number: nobody waits for what it was before.
            let Some(file) = self.files.get_mut(&number) else { continue };
            if let Some(place) = file.chunks.get_mut(at) {
                *place = Some(*chunk);
                file.missing -= 1;
            }
        }
    }

    fn ready(&mut self) -> Option<(Result<T>, Vec<ChunkRef>)> {
        let number = *self.order.front()?;
        let file = self.files.get(&number)?;
        if file.missing > 0 || file.value.is_none() {
            return None;
        }
        self.order.pop_front();
        let file = self.files.remove(&number)?;
        Some((file.value?, file.chunks.into_iter().flatten().collect()))
    }
}

impl Recent {
    fn find(&self, id: &ChunkId) -> Option<Slot> {
        self.new.get(id).or_else(|| self.old.get(id)).copied()
    }

    fn put(&mut self, id: ChunkId, slot: Slot) {
        if self.new.len() >= RECENT {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(id, slot);
    }

    fn settle(&mut self, chunk: &ChunkRef) {
        for generation in [&mut self.new, &mut self.old] {
            if let Some(slot) = generation.get_mut(&chunk.id) {
                *slot = Slot::Placed(*chunk);
            }
        }
    }
}
