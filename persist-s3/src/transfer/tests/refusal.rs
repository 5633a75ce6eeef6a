use super::bucket::{Volume, file};
use crate::{
    format::crypt::CallerKey,
    transfer::read::{FetchOptions, Held},
};
use object_store::{ObjectStoreExt, PutPayload};
use persist_core::{ErrorKind, tree::TreeSource};

async fn volume() -> Volume {
    let files: Vec<_> = (0..5).map(|n| file(&format!("f{n}"), n, 1000)).collect();
    Volume::write(&files, None).await
}

#[tokio::test]
async fn a_pack_that_is_gone_is_damage_if_it_was_held_and_pruned_if_not() {
    let volume = volume().await;
    let pack = volume.object(volume.chunks[0].at.pack);
    volume.bucket.inner.delete(&pack).await.unwrap();
    for (held, kind) in [(Held::Pinned, ErrorKind::Corrupt), (Held::Unpinned, ErrorKind::NotFound)] {
        let tree = volume.cold(FetchOptions { held, ..FetchOptions::default() });
        let path = persist_core::tree::TreePath::new("f1").unwrap();
        let error = tree.read(&path, 0..10).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(pack.as_ref()), "{error}");
    }
}

#[tokio::test]
async fn a_changed_byte_of_a_pack_is_corrupt_and_named() {
    let volume = volume().await;
    let object = volume.object(volume.chunks[0].at.pack);
    let kept = volume.bucket.inner.get(&object).await.unwrap().bytes().await.unwrap();
    let at = usize::try_from(volume.chunks[1].at.offset).unwrap() + 50;
    for (body, what) in [
        ([&kept[..at], &[kept[at] ^ 1], &kept[at + 1..]].concat(), "a changed byte"),
        (kept[..3000].to_vec(), "a short object"),
    ] {
        volume.bucket.inner.put(&object, PutPayload::from(body)).await.unwrap();
        let tree = volume.cold(FetchOptions::default());
        let path = persist_core::tree::TreePath::new("f1").unwrap();
        let error = tree.read(&path, 0..1000).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_read() {
    let tree = volume().await.cold(FetchOptions::default());
    let root = persist_core::tree::TreePath::root();
    assert_eq!(tree.read(&root, 0..1).await.unwrap_err().kind(), ErrorKind::Invalid);
    let none = persist_core::tree::TreePath::new("none").unwrap();
    assert_eq!(tree.read(&none, 0..1).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(tree.entry(&none).await.unwrap().is_none());
}

#[tokio::test]
async fn a_bit_that_changes_on_its_way_is_asked_for_once_more_and_is_never_given() {
    for caller in [None, Some(CallerKey::new([3; 32]))] {
        // They share a frame, whose middle is in the sixth.
        let files: Vec<_> = (0..11).map(|n| file(&format!("f{n:02}"), n, 8 << 10)).collect();
        let volume = Volume::write(&files, caller.as_ref()).await;
        let chunk = &volume.chunks[5];
        let wanted = volume.fetcher(FetchOptions::default()).chunk(chunk).await.unwrap();
        volume.bucket.flip(1);
        volume.bucket.taken();
        assert_eq!(volume.fetcher(FetchOptions::default()).chunk(chunk).await.unwrap(), wanted);
        assert_eq!(volume.bucket.taken().0, 2);
        volume.bucket.flip(usize::MAX);
        let error = volume.fetcher(FetchOptions::default()).chunk(chunk).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        volume.bucket.flip(0);
    }
}
