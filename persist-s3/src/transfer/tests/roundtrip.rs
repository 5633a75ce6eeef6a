//! What an upload and a commit wrote, read back through the bucket.

use super::bucket::{Bucket, File, file, volume_id, whole};
use crate::{
    format::{
        chunk::Written,
        commit::{Commit, CommitObject, CommitSeal, Moved, OpenedCommit},
        crypt::CallerKey,
        fmt::{self, Keyring, NewFormat},
        frame::{Compression, Compressor, Opener},
        location::{ChunkRef, TreeRoot},
        table::PackTable,
        tree::{Content, StoredEntry, TreeBuilder, TreeFormat},
    },
    keys::{Keys, Part},
    transfer::{
        read::{FetchOptions, Fetcher, KnownBytes, Origin},
        tree::CommitTree,
        upload::{Destination, Job, Upload, UploadDone, UploadOptions},
    },
};
use futures::{StreamExt, stream};
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use persist_core::{
    Consistency, Epoch,
    clock::Timestamp,
    testing::SeededEntropy,
    tree::{Entry, EntryKind, Metadata, TreePath, TreeSource},
};
use std::{collections::BTreeSet, sync::Arc};

/// How much of a commit object's end is asked for at once.
const TAIL_BYTES: u64 = 64 << 10;

fn keyring() -> Keyring {
    let new = NewFormat { volume: &volume_id(), origin: None, caller: Some(&CallerKey::new([1; 32])) };
    fmt::create(&new, &SeededEntropy::new(1)).unwrap().1
}

fn keys() -> Keys {
    Keys::new(Path::default())
}

fn job(file: &File) -> Job<File> {
    let (bytes, file) = (file.data.len() as u64, file.clone());
    let read = move |intake: &mut crate::transfer::upload::Intake<File>| {
        intake.read(file.data.as_slice(), bytes, Written::Anew)?;
        Ok(file)
    };
    Job { bytes, before: Vec::new(), read: Box::new(read) }
}

fn entry(path: TreePath, kind: EntryKind, chunks: Vec<ChunkRef>) -> StoredEntry {
    let entry = Entry::new(path, kind, Metadata { mode: 0o755, ..Metadata::default() });
    StoredEntry::new(entry).with_content(Content::Chunks(chunks))
}

/// Uploads `files`, and a tree of them.
async fn uploaded(bucket: &Arc<Bucket>, keyring: &Keyring, files: &[File]) -> (TreeRoot, UploadDone) {
    let to = Destination {
        store: Arc::clone(bucket) as _,
        keys: keys(),
        keyring: keyring.clone(),
        epoch: Epoch::new(1),
        numbers: Arc::default(),
        entropy: Arc::new(SeededEntropy::new(2)),
    };
    let jobs: Vec<_> = files.iter().map(|file| Ok(job(file))).collect();
    let options = UploadOptions { compression: Compression::Stored, ..UploadOptions::default() };
    let mut upload = Upload::new(to, PackTable::new(), stream::iter(jobs).boxed(), options).unwrap();
    let mut entries = vec![entry(TreePath::root(), EntryKind::Directory, Vec::new())];
    while let Some(next) = upload.next().await.unwrap() {
        let file = next.value.unwrap();
        let kind = EntryKind::File { size: file.data.len() as u64, data: None };
        entries.push(entry(file.path, kind, next.chunks));
    }
    let mut pages = upload.pages();
    let mut builder = TreeBuilder::new(&TreeFormat::new(keyring.secret()), &mut pages);
    entries.into_iter().for_each(|entry| builder.push(entry).unwrap());
    let root = builder.finish().unwrap();
    (root, upload.finish().await.unwrap())
}

async fn committed(bucket: &Arc<Bucket>, keyring: &Keyring, files: &[File]) -> CommitObject {
    let (tree, done) = uploaded(bucket, keyring, files).await;
    let commit = Commit {
        volume: volume_id(),
        seq: 1,
        epoch: Epoch::new(1),
        parent: None,
        tree,
        consistency: Consistency::Atomic,
        time: Timestamp::from_millisecond(0),
        stats: Default::default(),
        moved: Moved::default(),
        chunkers: done.chunkers,
        features: BTreeSet::new(),
    };
    let mut compressor = Compressor::new(Compression::default()).unwrap();
    let seal = CommitSeal { sealing: &keyring.writing(), compressor: &mut compressor, nonce: [5; 16] };
    let object = commit.seal(&done.table, done.within, seal).unwrap();
    let at = keys().of(&volume_id(), Part::Commit(object.name.clone()));
    bucket.inner.put(&at, PutPayload::from_iter(object.parts.iter().cloned())).await.unwrap();
    object
}

/// The tree of a commit, from the end of its object.
async fn opened(bucket: &Arc<Bucket>, keyring: &Keyring, object: &CommitObject) -> CommitTree {
    let at = keys().of(&volume_id(), Part::Commit(object.name.clone()));
    let start = object.bytes().saturating_sub(TAIL_BYTES);
    let tail = bucket.get_range(&at, start..object.bytes()).await.unwrap();
    let mut opener = Opener::new().unwrap();
    let opened = OpenedCommit::open(&tail, &volume_id(), &object.name, keyring, &mut opener).unwrap();
    let origin = Origin {
        store: Arc::clone(bucket) as _,
        keys: keys(),
        table: Arc::new(opened.table(None).unwrap()),
        keyring: keyring.clone(),
        known: vec![KnownBytes { object: at, start, bytes: tail }],
    };
    let fetcher = Arc::new(Fetcher::new(origin, FetchOptions::default()));
    CommitTree::new(&TreeFormat::new(keyring.secret()), fetcher, &opened.commit.tree)
}

#[tokio::test]
async fn what_was_uploaded_and_committed_reads_back() {
    let mut files: Vec<_> = (0..40).map(|n| file(&format!("f{n:03}"), n, 3000 * n as usize)).collect();
    files.push(file("large", 99, 40 << 20));
    let (bucket, keyring) = (Arc::new(Bucket::default()), keyring());
    let object = committed(&bucket, &keyring, &files).await;
    let tree = opened(&bucket, &keyring, &object).await;
    for file in &files {
        assert_eq!(tree.read(&file.path, 0..u64::MAX).await.unwrap(), whole(file), "{}", file.path);
    }
    assert_eq!(tree.totals().unwrap().files, 42);
}

#[tokio::test]
async fn one_small_file_of_a_cold_commit_costs_three_requests_beside_head_and_fmt() {
    let files: Vec<_> = (0..3000).map(|n| file(&format!("f{n:06}"), n, 4096)).collect();
    let (bucket, keyring) = (Arc::new(Bucket::default()), keyring());
    let object = committed(&bucket, &keyring, &files).await;
    bucket.taken();
    let tree = opened(&bucket, &keyring, &object).await;
    assert_eq!(tree.read(&files[1234].path, 0..u64::MAX).await.unwrap(), whole(&files[1234]));
    let (requests, _) = bucket.taken();
    assert!(requests <= 3, "the end of the commit with the root in it, a leaf, a frame: {requests}");
}
