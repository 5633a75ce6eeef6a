//! The memory that readers read through and hand on, lent in turn. An allocator keeps what one thread has freed from the
//! next, so that blocks of megabytes, new for each batch of files, add up to several times what is in use.

use crate::format::chunk::{CHUNK_MAX_BYTES, ChunkBuffer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a section can hold: the longest chunk.
pub(super) const SECTION_MAX_BYTES: usize = CHUNK_MAX_BYTES;

/// Cheap to clone; ends with the upload.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    read: Vec<ChunkBuffer>,
    raw: Vec<Vec<u8>>,
}

impl Buffers {
    /// For one reader.
    pub(super) fn to_read(&self) -> ChunkBuffer {
        self.idle().read.pop().unwrap_or_default()
    }

    /// For one section: empty, and with room for the longest.
    pub(super) fn raw(&self) -> Vec<u8> {
        let idle = self.idle().raw.pop();
        idle.unwrap_or_else(|| Vec::with_capacity(SECTION_MAX_BYTES))
    }

    pub(super) fn read(&self, buffer: ChunkBuffer) {
        self.idle().read.push(buffer);
    }

    pub(super) fn taken_in(&self, mut raw: Vec<u8>) {
        raw.clear();
        self.idle().raw.push(raw);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
