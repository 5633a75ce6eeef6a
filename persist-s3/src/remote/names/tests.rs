use super::*;
use crate::remote::testing::{Bench, volume_name};
use persist_core::clock::SystemEnvironment;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_listing_tells_live_and_deleted_names_apart_whatever_they_are(
        name in "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", nonce in any::<u128>()
    ) {
        let id = VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        let mut record = NameRecord { format: FORMAT, name: volume_name(&name), volume: Some(id), nonce };
        let longest = encode(&NameRecord { nonce: u128::MAX, name: volume_name(&"x".repeat(128)), ..record.clone() });
        prop_assert_eq!(longest.unwrap().len(), LIVE_BYTES);
        let object = |body| Object { body, etag: ETag("e".into()) };
        prop_assert_eq!(&decode(&object(encode(&record).unwrap()), &record.name).unwrap(), &record);
        record.volume = None;
        let body = encode(&record).unwrap();
        prop_assert_eq!(body.len(), DELETED_BYTES);
        prop_assert_eq!(&decode(&object(body), &record.name).unwrap(), &record);
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let object = Object { body: Bytes::from(bytes), etag: ETag("e".into()) };
        let error = decode(&object, &volume_name("a")).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test(start_paused = true)]
async fn names_are_listed_in_order_after_one_and_without_deleted_ones_by_one_request() {
    let bench = Bench::new();
    for name in ["b", "a", "c", "a-b", "d", "Z", "a.b"] {
        bench.volume(name).await;
    }
    bench.remote.delete(&volume_name("c"), None, async |_| Ok(())).await.unwrap();
    bench.store.calm();
    let all: Vec<_> = bench.remote.names(None).map_ok(|name| name.to_string()).try_collect().await.unwrap();
    assert_eq!(all, ["Z", "a", "a-b", "a.b", "b", "d"]);
    let some: Vec<_> = bench.remote.names(Some(&volume_name("a-b"))).take(2).try_collect().await.unwrap();
    assert_eq!(some, [volume_name("a.b"), volume_name("b")]);
    assert_eq!(bench.store.seen(), ["LIST s/n", "LIST s/n"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_without_a_head_is_corrupt_and_not_free() {
    let bench = Bench::new();
    let id = bench.volume("a").await;
    bench.remote.remove(&bench.remote.keys.of(&id, crate::keys::Part::Head)).await.unwrap();
    assert_eq!(bench.remote.resolve(&volume_name("a")).await.unwrap_err().kind(), ErrorKind::Corrupt);
}
