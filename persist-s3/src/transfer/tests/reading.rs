use super::bucket::{File, Volume, file, whole};
use crate::{format::crypt::CallerKey, transfer::read::FetchOptions};
use futures::{StreamExt, TryStreamExt};
use persist_core::tree::{ApplyOptions, DataRange, Entry, TreePath, TreeSource, apply};
use std::sync::Arc;

fn path(text: &str) -> TreePath {
    TreePath::new(text).unwrap()
}

/// `count` files of 8 KiB.
fn small_files(count: u64) -> Vec<File> {
    (0..count).map(|n| file(&format!("file {n:06}"), n, 8 << 10)).collect()
}

#[tokio::test]
async fn one_small_file_of_a_cold_volume_costs_a_request_for_each_page_and_one_for_its_frame() {
    let files = small_files(3000);
    let volume = Volume::write(&files, None).await;
    assert_eq!(volume.root.height, 1);
    let tree = volume.cold(FetchOptions::default());
    assert_eq!(tree.read(&files[1717].path, 0..u64::MAX).await.unwrap(), whole(&files[1717]));
    let (requests, bytes) = volume.bucket.taken();
    assert_eq!(requests, 3, "root, leaf, frame: with head and commit they are five");
    assert!(bytes < 400 << 10, "{bytes}");
    tree.read(&files[1718].path, 0..100).await.unwrap();
    assert_eq!(volume.bucket.taken().0, 0, "its neighbour came along");
}

#[tokio::test]
async fn hydrating_many_small_files_takes_few_large_requests() {
    let files = small_files(5000);
    let volume = Volume::write(&files, Some(&CallerKey::new([3; 32]))).await;
    let tree = volume.cold(FetchOptions::default());
    let target = tempfile::tempdir().unwrap();
    apply(Arc::new(tree), target.path(), ApplyOptions::faithful()).await.unwrap();
    let (requests, bytes) = volume.bucket.taken();
    // 39 MiB of content: five runs in each of two packs at most, and the pages of the tree.
    assert!(requests <= 10 + 12, "{requests}");
    assert!(bytes < 42 << 20, "nothing is fetched twice: {bytes}");
    for file in files.iter().step_by(97) {
        let name = target.path().join(file.path.as_path());
        assert_eq!(std::fs::read(name).unwrap(), file.data, "{}", file.path);
    }
}

#[tokio::test]
async fn listing_fetches_no_content() {
    let volume = Volume::write(&small_files(3000), None).await;
    let tree = volume.cold(FetchOptions::default());
    let entries: Vec<Entry> = tree.entries(None).try_collect().await.unwrap();
    assert_eq!(entries.len(), 3001);
    assert!(entries[1..].iter().all(|entry| entry.hash.is_some()), "a small file's hash is known");
    let (requests, bytes) = volume.bucket.taken();
    assert!(requests < 10 && bytes < 400 << 10, "{requests} {bytes}");
    assert_eq!(tree.totals().unwrap().bytes, 3000 * 8192);
}

#[tokio::test]
async fn listing_a_large_volume_fetches_its_pages_together() {
    let files: Vec<File> = (0..20_000).map(|n| file(&format!("file {n:06}"), n, 4)).collect();
    let volume = Volume::write(&files, None).await;
    let tree = volume.cold(FetchOptions::default());
    let count = tree.entries(None).try_fold(0, async |n, _| Ok(n + 1)).await.unwrap();
    assert_eq!(count, 20_001);
    let (requests, bytes) = volume.bucket.taken();
    // The root, four leaves, and the rest of a score.
    assert!(requests <= 7, "{requests}");
    assert!(bytes > 12 * (64 << 10), "{bytes}");
}

#[tokio::test]
async fn a_large_file_read_in_order_takes_few_requests_and_a_piece_of_it_takes_one() {
    let files = [file("large", 1, 70 << 20)];
    let volume = Volume::write(&files, None).await;
    let tree = volume.cold(FetchOptions::default());
    let content = whole(&files[0]);
    let mib = |n: u64| n << 20..(n + 1) << 20;
    let mut reads = futures::stream::iter(0..70).map(|n| tree.read(&files[0].path, mib(n))).buffered(4);
    let mut n = 0;
    while let Some(bytes) = reads.try_next().await.unwrap() {
        assert_eq!(bytes, content.slice(n << 20..(n + 1) << 20));
        n += 1;
    }
    let (requests, bytes) = volume.bucket.taken();
    assert!(requests <= 18, "{requests}");
    assert!(bytes < 76 << 20, "{bytes}");
    let tree = volume.cold(FetchOptions::default());
    let piece = tree.read(&files[0].path, (33 << 20) + 5..(33 << 20) + 4101).await.unwrap();
    assert_eq!(piece, content.slice((33 << 20) + 5..(33 << 20) + 4101));
    assert!(volume.bucket.taken().1 < 2 << 20);
}

#[tokio::test]
async fn readers_of_one_frame_share_one_request() {
    let files = small_files(10);
    let volume = Volume::write(&files, None).await;
    let fetcher = volume.fetcher(FetchOptions::default());
    volume.bucket.taken();
    let reads = volume.chunks.iter().cycle().take(40).map(|chunk| fetcher.chunk(chunk));
    futures::future::try_join_all(reads).await.unwrap();
    assert_eq!(volume.bucket.taken().0, 1);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_others_their_frame() {
    let volume = Volume::write(&small_files(10), None).await;
    let fetcher = volume.fetcher(FetchOptions::default());
    let mut first = Box::pin(fetcher.chunk(&volume.chunks[0]));
    assert!(futures::poll!(&mut first).is_pending());
    let mut second = Box::pin(fetcher.chunk(&volume.chunks[1]));
    assert!(futures::poll!(&mut second).is_pending());
    drop(first);
    second.await.unwrap();
}

#[tokio::test]
async fn holes_read_as_zeros_and_a_read_ends_with_the_file() {
    let at = |offset, length| DataRange { offset, length };
    let sparse =
        File { ranges: Some((10_000, vec![at(100, 50), at(5000, 4000)])), ..file("sparse", 4, 4050) };
    let volume = Volume::write(std::slice::from_ref(&sparse), None).await;
    let tree = volume.cold(FetchOptions::default());
    let content = whole(&sparse);
    assert_eq!(content.len(), 10_000);
    for (from, to) in [(0, 10_000), (0, 99), (90, 160), (140, 5010), (9000, 20_000), (10_000, 10_001)] {
        let wanted = content.slice(from.min(10_000)..to.min(10_000));
        assert_eq!(tree.read(&path("sparse"), from as u64..to as u64).await.unwrap(), wanted, "{from}..{to}");
    }
    let entry = tree.entry(&path("sparse")).await.unwrap().unwrap();
    assert_eq!(entry.hash, None, "its chunk is not all of it");
}

#[tokio::test]
async fn everything_is_read_with_the_least_memory() {
    let files: Vec<File> = (0..40).map(|n| file(&format!("f{n:02}"), n, 1 << 20)).collect();
    let volume = Volume::write(&files, None).await;
    let tree = volume.cold(FetchOptions { memory_bytes: 0, requests: 1, ..FetchOptions::default() });
    let _: Vec<Entry> = tree.entries(None).try_collect().await.unwrap();
    for file in files.iter().chain(files.iter().rev()) {
        assert_eq!(tree.read(&file.path, 0..u64::MAX).await.unwrap(), whole(file));
    }
}
