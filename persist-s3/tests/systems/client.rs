//! What the clients and the probe must find on every service.

use super::service::{BUCKET, Service};
use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use object_store::{GetOptions, GetRange, ObjectStoreExt, PutMode, PutPayload, UpdateVersion, path::Path};
use persist_core::clock::Environment;
use persist_s3::{
    Clients, Credentials,
    client::{Cause, IfMatch, Quirks},
    probe,
};

/// A test by the name of its promise.
pub type Test = (&'static str, fn(&Service));

/// Runs an asynchronous test on a runtime of its own.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |service| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.unwrap().block_on($name(service));
        })),*]
    };
}

pub const TESTS: &[Test] = tests![
    the_probe_passes_finds_the_quirk_and_leaves_nothing,
    a_version_is_replaced_once_and_never_by_a_stale_one,
    an_object_is_read_in_whole_in_part_and_under_its_version,
    a_thousand_names_and_more_are_listed_once_and_removed,
    a_pack_of_the_largest_size_goes_up_and_comes_back,
    what_is_not_there_is_told_apart,
];

/// For services that check signatures.
pub const SIGNED: &[Test] = tests![strange_keys_are_refused];

/// Clients that keep to what the probe finds on this service.
async fn clients(service: &Service, prefix: &str) -> Clients {
    service.clients(prefix).with_quirks(Quirks { if_match: service.if_match })
}

fn body(text: &str) -> PutPayload {
    PutPayload::from(text.to_owned())
}

fn replacing(etag: &Option<String>) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: etag.clone(), version: None })
}

async fn the_probe_passes_finds_the_quirk_and_leaves_nothing(service: &Service) {
    let plain = service.clients("probed");
    let found = probe::full(&plain, &Environment::default()).await.unwrap();
    assert_eq!(found.quirks.if_match, service.if_match);
    let clients = plain.clone().with_quirks(found.quirks);
    probe::short(&clients, &Environment::default()).await.unwrap();
    if service.if_match == IfMatch::Bare {
        probe::short(&plain, &Environment::default()).await.unwrap_err();
    }
    assert!(clients.data.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
}

async fn a_version_is_replaced_once_and_never_by_a_stale_one(service: &Service) {
    let clients = clients(service, "versions").await;
    let key = Path::from("v/1/head");
    let first = clients.head.put_opts(&key, body("1"), PutMode::Create.into()).await.unwrap().e_tag;
    let twice = clients.head.put_opts(&key, body("x"), PutMode::Create.into()).await.unwrap_err();
    assert_eq!(Cause::of(&twice), Cause::Conflict);
    let bodies = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let put = |text: &'static str| clients.head.put_opts(&key, body(text), replacing(&first).into());
    let ends = join_all(bodies.map(put)).await;
    let won: Vec<_> =
        bodies.iter().zip(&ends).filter(|(_, end)| end.is_ok()).map(|(body, _)| *body).collect();
    let [winner] = won.as_slice() else { panic!("{won:?} won") };
    for error in ends.iter().filter_map(|end| end.as_ref().err()) {
        // Ceph RGW 16 says 500 to some of the losers, which is why every doubtful answer is resolved.
        let lost = [Cause::Precondition, Cause::Conflict, Cause::Server].contains(&Cause::of(error));
        assert!(lost, "{error:?}");
    }
    assert_eq!(clients.head.get(&key).await.unwrap().bytes().await.unwrap(), *winner);
}

async fn an_object_is_read_in_whole_in_part_and_under_its_version(service: &Service) {
    let clients = clients(service, "reads").await;
    let key = Path::from("p/0f/1-1-ab");
    let etag = clients.data.put(&key, body("0123456789")).await.unwrap().e_tag.unwrap();
    assert_eq!(clients.data.get_range(&key, 2..5).await.unwrap(), "234");
    let tail = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
    assert_eq!(clients.data.get_opts(&key, tail).await.unwrap().bytes().await.unwrap(), "789");
    assert_eq!(clients.data.head(&key).await.unwrap().size, 10);
    let unchanged = GetOptions { if_none_match: Some(etag), ..GetOptions::default() };
    let unchanged = clients.data.get_opts(&key, unchanged).await.unwrap_err();
    assert!(matches!(unchanged, object_store::Error::NotModified { .. }), "{unchanged:?}");
}

async fn a_thousand_names_and_more_are_listed_once_and_removed(service: &Service) {
    let clients = clients(service, "names").await;
    let names: Vec<Path> = (0..1005).map(|i| Path::from(format!("n/{i:04}"))).collect();
    let put = |name: &Path| {
        let (name, data) = (name.clone(), clients.data.clone());
        async move { data.put(&name, body("x")).await.map(drop) }
    };
    stream::iter(names.iter().map(put)).buffer_unordered(16).try_collect::<()>().await.unwrap();
    let list = |after: &'static str| {
        let listed = clients.data.list_with_offset(Some(&Path::from("n")), &Path::from(after));
        async move { listed.map_ok(|found| found.location).try_collect::<Vec<_>>().await.unwrap() }
    };
    assert_eq!(list("n").await, names);
    assert_eq!(list("n/1000").await, names[1001..]);
    let removed = clients.data.delete_stream(stream::iter(names.clone()).map(Ok).boxed());
    assert_eq!(removed.try_collect::<Vec<_>>().await.unwrap().len(), names.len());
    assert!(list("n").await.is_empty());
}

async fn a_pack_of_the_largest_size_goes_up_and_comes_back(service: &Service) {
    let clients = clients(service, "packs").await;
    let key = Path::from("p/00/1-1-cd");
    let pack: Vec<u8> = (0..32_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    clients.data.put(&key, PutPayload::from(pack.clone())).await.unwrap();
    assert!(clients.data.get(&key).await.unwrap().bytes().await.unwrap() == pack, "other bytes came back");
    clients.data.delete(&key).await.unwrap();
}

async fn what_is_not_there_is_told_apart(service: &Service) {
    let here = clients(service, "missing").await;
    let absent = Path::from("v/2/head");
    assert_eq!(Cause::of(&here.head.get(&absent).await.unwrap_err()), Cause::NotFound);
    let etag = Some("\"0123456789abcdef0123456789abcdef\"".to_owned());
    let refused = here.head.put_opts(&absent, body("x"), replacing(&etag).into()).await.unwrap_err();
    assert!(matches!(Cause::of(&refused), Cause::NotFound | Cause::Precondition), "{refused:?}");
    let mut config = service.config("missing");
    config.bucket = format!("{BUCKET}-of-nobody");
    let elsewhere = Clients::connect(&config, &service.options()).unwrap();
    assert_eq!(Cause::of(&elsewhere.head.get(&absent).await.unwrap_err()), Cause::NoSuchBucket);
}

async fn strange_keys_are_refused(service: &Service) {
    for (access_key, secret_key) in [("AK", "wrong"), ("nobody", "SK")] {
        let options = service.options().with_credentials(Credentials::keys(access_key, secret_key));
        let stranger = Clients::connect(&service.config("strange"), &options).unwrap();
        let refused = stranger.head.get(&Path::from("k")).await.unwrap_err();
        assert_eq!(Cause::of(&refused), Cause::BadCredentials, "{refused:?}");
        let refused = persist_s3::client::error(&refused, persist_s3::client::Effect::Read).to_string();
        assert!(!refused.contains("wrong") && !refused.contains("nobody"), "{refused}");
    }
}
