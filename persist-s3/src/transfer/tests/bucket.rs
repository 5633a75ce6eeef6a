//! A volume in a bucket in memory, whose requests are counted.

use crate::{
    format::{
        crypt::CallerKey,
        fmt::{self, Keyring, NewFormat},
        frame::{Compression, Compressor, Draft, FrameKind},
        location::{ChunkRef, Location, PackIndex, TreeRoot},
        pack::{PackBuilder, PackSlot},
        table::{PackEntry, PackTable},
        tree::{Content, PageSink, StoredEntry, TreeBuilder, TreeFormat},
    },
    keys::{Keys, Part},
    transfer::{
        read::{FetchOptions, Fetcher, Origin},
        tree::CommitTree,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use persist_core::{
    Epoch, VolumeId,
    testing::SeededEntropy,
    tree::{DataRange, Entry, EntryKind, Metadata, TreePath},
};
use std::{
    fmt as text,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// Counts what is fetched.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) inner: InMemory,
    gets: Mutex<Vec<(Path, u64)>>,
    /// A bit of each of so many answers will change on its way.
    flips: AtomicUsize,
}

impl Bucket {
    pub(super) fn flip(&self, answers: usize) {
        self.flips.store(answers, SeqCst);
    }

    /// How many objects were asked for since the last call, and how many bytes came.
    pub(super) fn taken(&self) -> (usize, u64) {
        let gets = std::mem::take(&mut *self.gets.lock().unwrap());
        (gets.len(), gets.iter().map(|(_, bytes)| bytes).sum())
    }
}

impl text::Display for Bucket {
    fn fmt(&self, f: &mut text::Formatter<'_>) -> text::Result {
        f.write_str("counted memory")
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, at: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        let answer = self.inner.get_opts(at, options).await;
        let bytes = answer.as_ref().map_or(0, |answer| answer.range.end - answer.range.start);
        self.gets.lock().unwrap().push((at.clone(), bytes));
        // Others run while a request is under way.
        tokio::task::yield_now().await;
        if self.flips.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
            return answer;
        }
        let answer = answer?;
        let (meta, range, attributes) =
            (answer.meta.clone(), answer.range.clone(), answer.attributes.clone());
        let mut body = answer.bytes().await?.to_vec();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        let payload = GetResultPayload::Stream(stream::iter([Ok(body.into())]).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions: Default::default() })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A file of a volume.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: TreePath,
    pub(super) data: Vec<u8>,
    /// Where the data lies; nothing if there are no holes.
    pub(super) ranges: Option<(u64, Vec<DataRange>)>,
}

/// Bytes that differ from file to file.
pub(super) fn file(path: &str, seed: u64, bytes: usize) -> File {
    let mut data = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut data);
    File { path: TreePath::new(path).unwrap(), data, ranges: None }
}

pub(super) fn volume_id() -> VolumeId {
    VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap()
}

/// A commit in a bucket.
pub(super) struct Volume {
    pub(super) bucket: Arc<Bucket>,
    pub(super) keyring: Keyring,
    pub(super) table: Arc<PackTable>,
    pub(super) root: TreeRoot,
    pub(super) chunks: Vec<ChunkRef>,
}

impl Volume {
    /// Writes `files`, which come in path order, below a root directory.
    pub(super) async fn write(files: &[File], caller: Option<&CallerKey>) -> Self {
        let new = NewFormat { volume: &volume_id(), origin: None, caller };
        let keyring = fmt::create(&new, &SeededEntropy::new(1)).unwrap().1;
        let mut packs = Packs::new(&keyring);
        let placed = packs.content(files);
        packs.next();
        let mut builder = TreeBuilder::new(&TreeFormat::new(keyring.secret()), &mut packs);
        builder.push(entry(TreePath::root(), EntryKind::Directory)).unwrap();
        for (file, chunks) in files.iter().zip(&placed) {
            let size = u64::try_from(file.data.len()).unwrap();
            let (size, data) = file.ranges.clone().map_or((size, None), |(size, data)| (size, Some(data)));
            let stored = entry(file.path.clone(), EntryKind::File { size, data });
            builder.push(stored.with_content(Content::Chunks(chunks.clone()))).unwrap();
        }
        let root = builder.finish().unwrap();
        let bucket = Arc::new(Bucket::default());
        let table = packs.put(&bucket).await;
        let chunks = placed.into_iter().flatten().collect();
        Self { bucket, keyring, table: Arc::new(table), root, chunks }
    }

    pub(super) fn fetcher(&self, options: FetchOptions) -> Arc<Fetcher> {
        let origin = Origin {
            store: Arc::clone(&self.bucket) as _,
            keys: Keys::new(Path::default()),
            table: Arc::clone(&self.table),
            keyring: self.keyring.clone(),
            known: Vec::new(),
        };
        Arc::new(Fetcher::new(origin, options))
    }

    /// The tree, on a node that knows nothing of it.
    pub(super) fn cold(&self, options: FetchOptions) -> CommitTree {
        self.bucket.taken();
        CommitTree::new(&TreeFormat::new(self.keyring.secret()), self.fetcher(options), &self.root)
    }

    /// Where a pack is.
    pub(super) fn object(&self, index: PackIndex) -> Path {
        let entry = self.table.get(index).unwrap();
        Keys::new(Path::default()).of(&entry.volume, Part::Pack(entry.name.clone()))
    }
}

fn entry(path: TreePath, kind: EntryKind) -> StoredEntry {
    StoredEntry::new(Entry::new(path, kind, Metadata { mode: 0o755, ..Metadata::default() }))
}

struct Packs {
    keyring: Keyring,
    compressor: Compressor,
    full: Vec<PackBuilder>,
    open: PackBuilder,
}

impl Packs {
    fn new(keyring: &Keyring) -> Self {
        let compressor = Compressor::new(Compression::Stored).unwrap();
        Self { keyring: keyring.clone(), compressor, full: Vec::new(), open: builder(keyring, 0) }
    }

    fn next(&mut self) {
        let index = u32::try_from(self.full.len() + 1).unwrap();
        self.full.push(std::mem::replace(&mut self.open, builder(&self.keyring, index)));
    }

    fn append(&mut self, draft: Draft) -> Vec<ChunkRef> {
        let frame = draft.compress(&mut self.compressor).unwrap();
        if !self.open.takes(&frame) {
            self.next();
        }
        self.open.append(frame).unwrap()
    }

    /// The chunks of each file: of a MiB at most, small ones in shared frames.
    fn content(&mut self, files: &[File]) -> Vec<Vec<ChunkRef>> {
        let ids = self.keyring.secret().ids();
        let mut references = Vec::new();
        let mut draft = Draft::new(FrameKind::Data);
        for chunk in files.iter().flat_map(|file| file.data.chunks(1 << 20)) {
            if !draft.takes(chunk.len()) {
                let full = std::mem::replace(&mut draft, Draft::new(FrameKind::Data));
                references.extend(self.append(full));
            }
            draft.push(ids.id(chunk), chunk).unwrap();
        }
        if !draft.is_empty() {
            references.extend(self.append(draft));
        }
        let mut references = references.into_iter();
        files
            .iter()
            .map(|file| references.by_ref().take(file.data.len().div_ceil(1 << 20)).collect())
            .collect()
    }

    async fn put(mut self, bucket: &Bucket) -> PackTable {
        self.next();
        let mut table = PackTable::new();
        for (n, pack) in self.full.into_iter().enumerate() {
            if pack.is_empty() {
                table.reserve().unwrap();
                continue;
            }
            let index = table.reserve().unwrap();
            let pack = pack.finish(&mut self.compressor, [u8::try_from(n).unwrap(); 16]).unwrap();
            let at = Keys::new(Path::default()).of(&pack.slot.volume, Part::Pack(pack.name.clone()));
            bucket.inner.put(&at, PutPayload::from_iter(pack.parts.iter().cloned())).await.unwrap();
            table.put(index, PackEntry::of(&pack));
        }
        table
    }
}

impl PageSink for Packs {
    fn put(&mut self, page: &[u8]) -> persist_core::Result<Location> {
        let mut draft = Draft::new(FrameKind::Page);
        draft.push(self.keyring.secret().ids().id(page), page)?;
        Ok(self.append(draft)[0].at)
    }
}

fn builder(keyring: &Keyring, index: u32) -> PackBuilder {
    let slot =
        PackSlot { volume: volume_id(), epoch: Epoch::new(1), number: index.into(), index: PackIndex(index) };
    PackBuilder::new(slot, keyring.writing())
}

/// All of a file, as it reads.
pub(super) fn whole(file: &File) -> Bytes {
    let Some((size, ranges)) = &file.ranges else { return file.data.clone().into() };
    let mut whole = vec![0; usize::try_from(*size).unwrap()];
    let mut data = file.data.as_slice();
    for range in ranges {
        let (from, length) = (usize::try_from(range.offset).unwrap(), usize::try_from(range.length).unwrap());
        whole[from..from + length].copy_from_slice(&data[..length]);
        data = &data[length..];
    }
    whole.into()
}
