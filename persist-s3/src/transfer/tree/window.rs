//! Entries a little ahead of their reader, so that their content is planned before it is asked for.

use crate::{
    format::tree::{Content, StoredEntry},
    transfer::read::Fetcher,
};
use futures::stream::{BoxStream, StreamExt};
use persist_core::Result;
use std::{collections::VecDeque, sync::Arc};

/// Entries in a window: as many as a few leaves hold.
const WINDOW_ENTRIES: usize = 2048;

/// Bytes of content in a window: a few requests.
const WINDOW_BYTES: u64 = 32 << 20;

/// `entries`, window by window: the chunks of a window are planned before its first entry is given. Planning asks
/// nothing of the bucket.
pub(super) fn windows(
    entries: BoxStream<'static, Result<StoredEntry>>,
    fetcher: Arc<Fetcher>,
) -> BoxStream<'static, Result<StoredEntry>> {
    let window = Window { entries: entries.fuse().boxed(), fetcher, ready: VecDeque::new() };
    futures::stream::unfold(window, async |mut window| Some((window.next().await?, window))).boxed()
}

struct Window {
    entries: BoxStream<'static, Result<StoredEntry>>,
    fetcher: Arc<Fetcher>,
    ready: VecDeque<Result<StoredEntry>>,
}

impl Window {
    async fn next(&mut self) -> Option<Result<StoredEntry>> {
        if self.ready.is_empty() {
            self.fill().await;
        }
        self.ready.pop_front()
    }

    async fn fill(&mut self) {
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        while self.ready.len() < WINDOW_ENTRIES && bytes < WINDOW_BYTES {
            let Some(next) = self.entries.next().await else { break };
            // A long list is planned where it is read.
            if let Ok(StoredEntry { content: Content::Chunks(some), .. }) = &next {
                chunks.extend_from_slice(some);
                bytes += some.iter().map(|chunk| u64::from(chunk.at.bytes)).sum::<u64>();
            }
            let ended = next.is_err();
            self.ready.push_back(next);
            if ended {
                break;
            }
        }
        self.fetcher.plan(&chunks);
    }
}
