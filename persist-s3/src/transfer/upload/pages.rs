//! Tree pages on their way into packs of their own.

use super::packs::Packs;
use crate::format::{
    crypt::IdKey,
    frame::{Draft, FrameKind},
    location::Location,
    pack::PackBuilder,
    tree::PageSink,
};
use persist_core::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Takes the pages of a tree and says at once where they will be. In packs of their own: then the root,
/// which is written last, lies near the end of the commit object, and one GET reads both.
///
/// Blocks for the compression of one page at a time. A full pack is sent in the background.
#[derive(Debug, Clone)]
pub(crate) struct UploadPages {
    packs: Arc<Packs>,
    ids: IdKey,
    open: Arc<Mutex<Option<PackBuilder>>>,
}

impl UploadPages {
    pub(super) fn new(packs: Arc<Packs>, ids: IdKey) -> Self {
        Self { packs, ids, open: Arc::default() }
    }

    fn keep(&self, page: &[u8]) -> Result<Location> {
        let mut draft = Draft::new(FrameKind::Page);
        draft.push(self.ids.id(page), page)?;
        let frame = self.packs.with_compressor(|compressor| draft.compress(compressor))?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full) = open.take_if(|pack| !pack.takes(&frame)) {
            self.packs.send(full, None);
        }
        let pack = match &mut *open {
            Some(pack) => pack,
            none => none.insert(self.packs.open()?),
        };
        let references = pack.append(frame)?;
        references.first().map(|page| page.at).ok_or_else(|| Error::internal("a page has no place"))
    }

    pub(super) fn take(&self) -> Option<PackBuilder> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PageSink for UploadPages {
    fn put(&mut self, page: &[u8]) -> Result<Location> {
        self.keep(page)
    }
}
