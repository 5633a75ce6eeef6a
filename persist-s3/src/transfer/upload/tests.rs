use super::*;
use crate::format::{
    chunk::Written,
    crypt::CallerKey,
    fmt::{self as volume_format, Keyring, NewFormat},
    frame::{Opener, chunk_of},
    pack::PACK_TARGET_BYTES,
    table::{Home, PackEntry},
};
use crate::{
    format::tree::PageSink,
    keys::{Keys, Part},
};
use bucket::Bucket;
use futures::{StreamExt, stream};
use object_store::{ObjectStoreExt, path::Path};
use persist_core::{Epoch, ErrorKind, VolumeId, clock::Entropy, testing::SeededEntropy};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

mod bucket;

fn keyring(caller: Option<&CallerKey>) -> Keyring {
    let volume = VolumeId::parse("00000000-0000-7000-8000-000000000001").unwrap();
    let new = NewFormat { volume: &volume, origin: None, caller };
    volume_format::create(&new, &SeededEntropy::new(1)).unwrap().1
}

fn destination(store: &Arc<Bucket>, keyring: &Keyring) -> Destination {
    Destination {
        store: Arc::<Bucket>::clone(store),
        keys: Keys::new(Path::default()),
        keyring: keyring.clone(),
        epoch: Epoch::new(1),
        numbers: Arc::new(AtomicU64::new(0)),
        entropy: Arc::new(SeededEntropy::new(2)),
    }
}

fn data(seed: u64, bytes: usize) -> Vec<u8> {
    let mut data = vec![0; bytes];
    SeededEntropy::new(seed).fill(&mut data);
    data
}

fn job(name: usize, data: Vec<u8>) -> Job<usize> {
    let read = move |intake: &mut Intake<usize>| {
        intake.read(&data[..], data.len() as u64, Written::Anew)?;
        Ok(name)
    };
    Job { bytes: 0, before: Vec::new(), read: Box::new(read) }
}

fn sized(job: Job<usize>, bytes: usize) -> Job<usize> {
    Job { bytes: bytes as u64, ..job }
}

fn stored() -> UploadOptions {
    UploadOptions { compression: Compression::Stored, ..UploadOptions::default() }
}

fn upload(to: Destination, jobs: Vec<Job<usize>>, options: UploadOptions) -> Upload<usize> {
    let jobs = stream::iter(jobs.into_iter().map(Ok)).boxed();
    Upload::new(to, PackTable::new(), jobs, options).unwrap()
}

async fn all(upload: &mut Upload<usize>) -> Result<Vec<Uploaded<usize>>> {
    let mut all = Vec::new();
    while let Some(next) = upload.next().await? {
        all.push(next);
    }
    Ok(all)
}

fn path(entry: &PackEntry) -> Path {
    Keys::new(Path::default()).of(&entry.volume, Part::Pack(entry.name.clone()))
}

/// Reads a chunk back from wherever it was put.
async fn read(store: &Bucket, done: &UploadDone, keyring: &Keyring, chunk: &ChunkRef) -> Vec<u8> {
    let within = done.within.iter().find(|pack| pack.slot.index == chunk.at.pack);
    let (entry, object) = match within {
        Some(pack) => (PackEntry::of(pack), pack.parts.concat().into()),
        None => {
            let entry = done.table.get(chunk.at.pack).unwrap().clone();
            let object = store.get(&path(&entry)).await.unwrap();
            (entry, object.bytes().await.unwrap())
        }
    };
    assert_eq!(entry.home, Home::Own);
    let range = entry.frame_range(&chunk.at).unwrap();
    let sealed = object.slice(range.start as usize..range.end as usize);
    let sealing = keyring.sealing(&entry.volume, entry.key).unwrap();
    let mut opener = Opener::new().unwrap();
    let frame = opener.open_frame(sealed, &sealing, &entry.frame_binding(&chunk.at)).unwrap();
    chunk_of(&frame, chunk, &keyring.secret().ids()).unwrap().to_vec()
}

#[tokio::test]
async fn every_file_comes_back_in_order_and_byte_for_byte() {
    for caller in [None, Some(&CallerKey::new([1; 32]))] {
        let (store, keyring) = (Arc::new(Bucket::default()), keyring(caller));
        let sizes = [0, 1, 5_000_000, 70_000, 70_000, 200_000, 1 << 20, (1 << 20) + 1, 3, 0];
        let files: Vec<_> = sizes.iter().zip(1..).map(|(size, seed)| data(seed, *size)).collect();
        let jobs =
            files.iter().enumerate().map(|(i, file)| sized(job(i, file.clone()), file.len())).collect();
        let mut upload = upload(destination(&store, &keyring), jobs, UploadOptions::default());
        let uploaded = all(&mut upload).await.unwrap();
        let done = upload.finish().await.unwrap();
        assert_eq!(done.new_bytes, sizes.iter().sum::<usize>() as u64);
        for (i, (file, of)) in files.iter().zip(&uploaded).enumerate() {
            assert_eq!(of.value.as_ref().unwrap(), &i);
            let mut back = Vec::new();
            for chunk in &of.chunks {
                back.extend(read(&store, &done, &keyring, chunk).await);
            }
            assert!(back == *file, "file {i}");
        }
    }
}

#[tokio::test]
async fn a_small_upload_makes_no_request_and_its_pages_come_last() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let jobs = (0..10).map(|i| job(i, data(i as u64, 4000))).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, UploadOptions::default());
    let uploaded = all(&mut upload).await.unwrap();
    let page = upload.pages().put(&[b'p'; 60_000]).unwrap();
    let done = upload.finish().await.unwrap();
    assert_eq!(store.puts(), 0);
    let indexes: Vec<_> = done.within.iter().map(|pack| pack.slot.index).collect();
    assert_eq!(indexes, [uploaded[0].chunks[0].at.pack, page.pack]);
    // Ten small files in a row share a frame: one GET reads them.
    assert!(uploaded.iter().all(|of| of.chunks[0].at.frame_offset == 0));
}

#[tokio::test]
async fn large_data_is_a_request_for_each_32_mib() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let jobs = (0..110).map(|i| sized(job(i, data(i as u64, 1 << 20)), 1 << 20)).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    let uploaded = all(&mut upload).await.unwrap();
    let done = upload.finish().await.unwrap();
    assert_eq!((uploaded.len(), store.puts(), done.within.len()), (110, 3, 1));
    assert!(done.table.packs().all(|(_, entry)| entry.bytes as usize <= PACK_TARGET_BYTES + 65_536));
    assert_eq!(done.within[0].bytes >> 20, 14);
}

/// Paused time goes on only when nothing else can: no thread works, and no request is answered.
#[tokio::test(start_paused = true)]
async fn no_more_packs_are_under_way_than_the_memory_allows() {
    let (bucket, _dropped) = Bucket::hanging();
    let (store, keyring) = (Arc::new(bucket), keyring(None));
    // Four packs of 32 files, and the file that closes the fourth.
    let jobs = (0..129).map(|i| sized(job(i, data(i as u64, 1 << 20)), 1 << 20)).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    tokio::select! {
        _ = all(&mut upload) => panic!("a fourth pack was sent"),
        () = tokio::time::sleep(std::time::Duration::from_secs(3600)) => {}
    }
    assert_eq!((store.puts(), stored().in_flight().unwrap()), (3, 3));
}

#[tokio::test]
async fn equal_data_is_stored_once() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let jobs = (0..50).map(|i| job(i, data(7, 90_000))).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    let uploaded = all(&mut upload).await.unwrap();
    let done = upload.finish().await.unwrap();
    assert!(uploaded.iter().all(|of| of.chunks == uploaded[0].chunks));
    assert_eq!((done.new_bytes, done.known_bytes), (90_000, 49 * 90_000));
}

#[tokio::test]
async fn what_a_file_was_before_is_not_stored_again() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let file = data(1, 3_000_000);
    let to = destination(&store, &keyring);
    let mut first = upload(to.clone(), vec![sized(job(0, file.clone()), file.len())], stored());
    let before = all(&mut first).await.unwrap().remove(0).chunks;
    let mut changed = file;
    changed.extend_from_slice(b"appended");
    let size = changed.len();
    let again = Job { before: before.clone(), ..sized(job(0, changed), size) };
    let mut second = upload(to, vec![again], stored());
    let after = all(&mut second).await.unwrap().remove(0).chunks;
    let done = second.finish().await.unwrap();
    assert_eq!(after[..before.len() - 1], before[..before.len() - 1]);
    let last: u64 = after[before.len() - 1..].iter().map(|chunk| u64::from(chunk.at.bytes)).sum();
    assert_eq!(done.new_bytes, last);
}

#[tokio::test]
async fn entries_without_data_do_not_pile_up_behind_a_small_file() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let empty =
        |name| Job { bytes: 0, before: Vec::new(), read: Box::new(move |_: &mut Intake<_>| Ok(name)) };
    let jobs = stream::iter(0..100_000).map(move |name| {
        counted.fetch_add(1, SeqCst);
        Ok(if name == 0 { job(0, data(1, 100)) } else { empty(name) })
    });
    let mut upload =
        Upload::new(destination(&store, &keyring), PackTable::new(), jobs.boxed(), stored()).unwrap();
    assert_eq!(upload.next().await.unwrap().unwrap().value.unwrap(), 0);
    assert!(taken.load(SeqCst) < 10_000, "{taken:?}");
    assert_eq!(all(&mut upload).await.unwrap().len(), 99_999);
}

#[tokio::test]
async fn a_file_that_is_read_again_is_what_was_read_last() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let read = |intake: &mut Intake<usize>| {
        intake.read(&b"torn"[..], 4, Written::Anew)?;
        intake.read(&b"still"[..], 5, Written::Anew)?;
        Ok(0)
    };
    let moved = Job { bytes: 4, before: Vec::new(), read: Box::new(read) };
    let mut upload = upload(destination(&store, &keyring), vec![moved, job(1, b"next".to_vec())], stored());
    let uploaded = all(&mut upload).await.unwrap();
    let done = upload.finish().await.unwrap();
    assert_eq!(uploaded[0].chunks.len(), 1);
    assert_eq!(self::read(&store, &done, &keyring, &uploaded[0].chunks[0]).await, b"still");
    assert_eq!(self::read(&store, &done, &keyring, &uploaded[1].chunks[0]).await, b"next");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_alone() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let gone = |_: &mut Intake<usize>| Err(Error::not_found("the file went away"));
    let gone = Job { bytes: 9, before: Vec::new(), read: Box::new(gone) };
    let jobs = vec![job(0, data(1, 10)), gone, job(2, data(2, 10))];
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    let values: Vec<_> = all(&mut upload).await.unwrap().into_iter().map(|of| of.value.ok()).collect();
    assert_eq!(values, [Some(0), None, Some(2)]);
}

#[tokio::test]
async fn a_request_that_fails_ends_the_upload() {
    let (store, keyring) = (Arc::new(Bucket::failing()), keyring(None));
    let jobs = (0..40).map(|i| sized(job(i, data(i as u64, 1 << 20)), 1 << 20)).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    let ended = match all(&mut upload).await {
        Ok(_) => upload.finish().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(ended.is_err());
}

#[tokio::test]
async fn a_dropped_upload_drops_its_requests() {
    let (bucket, mut dropped) = Bucket::hanging();
    let (store, keyring) = (Arc::new(bucket), keyring(None));
    let jobs = (0..200).map(|i| sized(job(i, data(i as u64, 1 << 20)), 1 << 20)).collect();
    let mut upload = upload(destination(&store, &keyring), jobs, stored());
    tokio::select! {
        _ = all(&mut upload) => panic!("nothing answers"),
        () = store.begun() => {}
    }
    drop(upload);
    assert_eq!(dropped.recv().await, Some(()));
}

#[tokio::test]
async fn a_stopped_meter_stops_it() {
    let (store, keyring) = (Arc::new(Bucket::default()), keyring(None));
    let options = stored();
    options.meter.stop();
    let mut upload = upload(destination(&store, &keyring), vec![job(0, data(1, 10))], options);
    assert_eq!(upload.next().await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn too_little_memory_is_refused_and_more_allows_more_at_once() {
    let options = |memory| UploadOptions { memory, ..UploadOptions::default() };
    assert_eq!(options(UploadOptions::MEMORY_MIN - 1).in_flight().unwrap_err().field(), Some("memory"));
    assert_eq!(options(UploadOptions::MEMORY_MIN).in_flight().unwrap(), 1);
    assert_eq!(options(256 << 20).in_flight().unwrap(), 3);
    assert_eq!(options(1 << 40).in_flight().unwrap(), 4);
}
