//! The server as `object_store` sees it, in process and in virtual time.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future::join_all};
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    UpdateVersion, aws::AmazonS3, aws::AmazonS3Builder, path::Path,
};
use persist_s3_server::{
    Broken, Condition, Conditions, Fault, KeyPair, ObjectKind, Outcome, Rule, Server, ServerOptions, Verb,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const BUCKET: &str = "bucket";

fn server(conditions: Conditions) -> Server {
    let options = ServerOptions::new(BUCKET, KeyPair::new("writer", "secret"))
        .with_keys(KeyPair::new("reader", "other").read_only())
        .with_conditions(conditions);
    Server::in_memory(options)
}

fn builder(server: &Server) -> AmazonS3Builder {
    AmazonS3Builder::new()
        .with_http_connector(server.connector())
        .with_endpoint("http://in.process")
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_region("eu-test-1")
        .with_access_key_id("writer")
        .with_secret_access_key("secret")
}

fn client(server: &Server) -> AmazonS3 {
    builder(server).build().unwrap()
}

/// A client that asks once.
fn plain(server: &Server) -> AmazonS3 {
    builder(server).with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() }).build().unwrap()
}

async fn put(s3: &AmazonS3, key: &str, body: &'static str, mode: PutMode) -> Result<String, Error> {
    let put = s3.put_opts(&Path::from(key), PutPayload::from_static(body.as_bytes()), mode.into()).await;
    put.map(|done| done.e_tag.unwrap())
}

fn if_match(etag: &str) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(etag.to_owned()), version: None })
}

async fn get(s3: &AmazonS3, key: &str) -> Bytes {
    s3.get(&Path::from(key)).await.unwrap().bytes().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_conditional_write_is_kept_or_refused_as_s3_documents_it() {
    let s3 = client(&server(Conditions::Atomic));
    let first = put(&s3, "a/head", "one", PutMode::Create).await.unwrap();
    assert!(matches!(put(&s3, "a/head", "two", PutMode::Create).await, Err(Error::AlreadyExists { .. })));
    let second = put(&s3, "a/head", "two", if_match(&first)).await.unwrap();
    assert!(matches!(put(&s3, "a/head", "three", if_match(&first)).await, Err(Error::Precondition { .. })));
    assert!(matches!(put(&s3, "b/head", "x", if_match(&first)).await, Err(Error::Precondition { .. })));
    assert_eq!(get(&s3, "a/head").await, "two");
    let again = put(&s3, "a/head", "one", if_match(&second)).await.unwrap();
    assert_eq!(again, first, "the tag is the checksum of the content: A-B-A is real");
}

/// How many of 16 writers at once created the object, and how many replaced it.
async fn winners(conditions: Conditions) -> (usize, usize) {
    let s3 = Arc::new(client(&server(conditions)));
    let bodies = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];
    let created = join_all(bodies.map(|body| put(&s3, "k", body, PutMode::Create))).await;
    let base = put(&s3, "k", "base", PutMode::Overwrite).await.unwrap();
    let updated = join_all(bodies.map(|body| put(&s3, "k", body, if_match(&base)))).await;
    (created.iter().filter(|r| r.is_ok()).count(), updated.iter().filter(|r| r.is_ok()).count())
}

#[tokio::test(start_paused = true)]
async fn a_race_has_one_winner_only_where_conditions_are_atomic() {
    assert_eq!(winners(Conditions::Atomic).await, (1, 1));
    assert_eq!(winners(Conditions::Ignored).await, (16, 16));
    assert_eq!(winners(Conditions::CheckThenAct).await, (16, 16));
    assert_eq!(winners(Conditions::QuotedEtagRefused).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_quoted_tag_is_refused_and_a_bare_one_taken_where_the_server_is_like_rgw() {
    let s3 = client(&server(Conditions::QuotedEtagRefused));
    let etag = put(&s3, "k", "one", PutMode::Create).await.unwrap();
    assert!(matches!(put(&s3, "k", "two", if_match(&etag)).await, Err(Error::Precondition { .. })));
    put(&s3, "k", "two", if_match(etag.trim_matches('"'))).await.unwrap();
    let stale = put(&s3, "k", "three", if_match(etag.trim_matches('"'))).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })));
}

#[tokio::test(start_paused = true)]
async fn ranges_names_and_conditions_of_reads_are_right() {
    let s3 = client(&server(Conditions::Atomic));
    let key = Path::from("a b/ü%+&=?#");
    let etag = s3.put(&key, PutPayload::from_static(b"0123456789")).await.unwrap().e_tag;
    assert_eq!(s3.get_range(&key, 2..5).await.unwrap(), "234");
    let suffix = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
    assert_eq!(s3.get_opts(&key, suffix).await.unwrap().bytes().await.unwrap(), "789");
    assert_eq!(s3.head(&key).await.unwrap().size, 10);
    let other = GetOptions { if_match: Some("\"other\"".into()), ..GetOptions::default() };
    assert!(matches!(s3.get_opts(&key, other).await, Err(Error::Precondition { .. })));
    let same = GetOptions { if_none_match: etag, ..GetOptions::default() };
    assert!(matches!(s3.get_opts(&key, same).await, Err(Error::NotModified { .. })));
    assert!(matches!(s3.get(&Path::from("none")).await, Err(Error::NotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn two_thousand_names_are_listed_once_and_deleted_together() {
    let server = server(Conditions::Atomic);
    let s3 = client(&server);
    (0..2003).for_each(|i| server.plant(BUCKET, &format!("n/{i:04}"), "x").unwrap());
    server.plant(BUCKET, "v/1/head", "x").unwrap();
    let listed: Vec<_> = s3.list(Some(&Path::from("n"))).try_collect().await.unwrap();
    assert_eq!(listed.len(), 2003);
    assert_eq!(server.log().count(Verb::List, ObjectKind::Name).requests, 3);
    let offset: Vec<_> =
        s3.list_with_offset(Some(&Path::from("n")), &Path::from("n/2000")).try_collect().await.unwrap();
    assert_eq!(offset.len(), 2);
    let top = s3.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, [Path::from("n"), Path::from("v")]);
    let paths = futures::stream::iter(listed.into_iter().map(|meta| Ok(meta.location))).boxed();
    assert_eq!(s3.delete_stream(paths).try_collect::<Vec<_>>().await.unwrap().len(), 2003);
    assert_eq!(server.keys(BUCKET, ""), ["v/1/head"]);
    assert_eq!(server.log().total(Verb::DeleteMany).requests, 3);
}

#[tokio::test(start_paused = true)]
async fn keys_are_checked_and_a_reader_cannot_write() {
    let server = server(Conditions::Atomic);
    server.plant(BUCKET, "k", "x").unwrap();
    let reader =
        builder(&server).with_access_key_id("reader").with_secret_access_key("other").build().unwrap();
    assert_eq!(get(&reader, "k").await, "x");
    for denied in
        [put(&reader, "k", "y", PutMode::Overwrite).await, put(&reader, "l", "y", PutMode::Create).await]
    {
        assert!(matches!(&denied, Err(Error::PermissionDenied { .. })), "{denied:?}");
    }
    assert!(reader.delete(&Path::from("k")).await.is_err());
    for (access, secret) in [("writer", "wrong"), ("nobody", "secret")] {
        let stranger =
            builder(&server).with_access_key_id(access).with_secret_access_key(secret).build().unwrap();
        let refused = stranger.get(&Path::from("k")).await;
        assert!(matches!(&refused, Err(Error::PermissionDenied { .. })), "{refused:?}");
    }
    assert_eq!(server.object(BUCKET, "k").unwrap().unwrap(), "x");
}

#[tokio::test(start_paused = true)]
async fn a_retrying_client_takes_its_own_success_for_a_strangers() {
    let server = server(Conditions::Atomic);
    server
        .faults()
        .add(Rule::once("500 after", Fault::ERROR_AFTER, |seen| seen.condition == Condition::IfNoneMatch));
    let own = put(&client(&server), "k", "mine", PutMode::Create).await;
    assert!(matches!(own, Err(Error::AlreadyExists { .. })));
    assert_eq!(server.object(BUCKET, "k").unwrap().unwrap(), "mine");
    assert!(server.faults().unfired().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_fault_does_to_an_object_what_it_says() {
    for (fault, there) in [
        (Fault::LostRequest(Broken::Reset), false),
        (Fault::LostRequest(Broken::Refused), false),
        (Fault::LostReply(Broken::TimedOut), true),
        (Fault::CONFLICT, false),
        (Fault::NOT_FOUND, false),
        (Fault::SLOW_DOWN, false),
        (Fault::ERROR_AFTER, true),
        (Fault::OWN_PRECONDITION, true),
    ] {
        let server = server(Conditions::Atomic);
        server.faults().add(Rule::once("it", fault, |seen| seen.verb == Verb::Put));
        assert!(put(&plain(&server), "k", "body", PutMode::Create).await.is_err(), "{fault:?}");
        assert_eq!(server.object(BUCKET, "k").unwrap().is_some(), there, "{fault:?}");
        let fired = server.faults().fired();
        assert_eq!((fired.len(), fired[0].fault, fired[0].seen.key.as_str()), (1, fault, "k"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_request_is_applied_after_its_client_gave_up() {
    let server = server(Conditions::Atomic);
    let begun = Instant::now();
    let wait = Duration::from_secs(100);
    server.faults().add(Rule::once("late", Fault::Late(wait), |seen| seen.verb == Verb::Put));
    assert!(put(&plain(&server), "k", "body", PutMode::Create).await.is_err());
    assert!(server.object(BUCKET, "k").unwrap().is_none());
    server.settle().await;
    assert_eq!(server.object(BUCKET, "k").unwrap().unwrap(), "body");
    assert!(begun.elapsed() >= wait, "virtual time did not pass");
}

#[tokio::test(start_paused = true)]
async fn a_delayed_or_doubled_request_is_applied() {
    let server = server(Conditions::Atomic);
    server.faults().add(Rule::once("twice", Fault::Duplicate, |seen| seen.verb == Verb::Put));
    let delay = Fault::Delay(Duration::from_secs(9));
    server.faults().add(Rule::once("delay", delay, |seen| seen.verb == Verb::Put));
    put(&plain(&server), "k", "one", PutMode::Create).await.unwrap();
    put(&plain(&server), "l", "two", PutMode::Create).await.unwrap();
    assert_eq!(server.keys(BUCKET, ""), ["k", "l"]);
    assert!(server.faults().unfired().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_body_is_damaged_as_planned() {
    let server = server(Conditions::Atomic);
    server.plant(BUCKET, "k", "0123456789").unwrap();
    let key = Path::from("k");
    let once = |fault| server.faults().add(Rule::once("damage", fault, |seen| seen.verb == Verb::Get));
    let read = || async { plain(&server).get(&key).await.unwrap().bytes().await };
    once(Fault::FlippedBit(1));
    assert_eq!(read().await.unwrap(), "2123456789");
    once(Fault::CutBody);
    assert!(read().await.is_err() || server.log().total(Verb::Get).requests > 2, "cut, and nobody noticed");
    once(Fault::ShortBody);
    assert_eq!(read().await.unwrap(), "01234");
    assert!(server.faults().unfired().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stale_listing_lacks_the_latest_changes() {
    let server = server(Conditions::Atomic);
    ["a", "b", "c"].iter().for_each(|key| server.plant(BUCKET, key, "x").unwrap());
    server.remove(BUCKET, "a").unwrap();
    server.faults().add(Rule::once("stale", Fault::StaleList(2), |_| true));
    let names = |listed: Vec<object_store::ObjectMeta>| -> Vec<String> {
        listed.into_iter().map(|meta| meta.location.to_string()).collect()
    };
    let s3 = client(&server);
    assert_eq!(names(s3.list(None).try_collect().await.unwrap()), ["a", "b"]);
    assert_eq!(names(s3.list(None).try_collect().await.unwrap()), ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn faults_by_chance_are_the_same_for_the_same_seed() {
    let statuses = |seed| async move {
        let server = server(Conditions::Atomic);
        let storm = Rule::once("storm", Fault::SLOW_DOWN, |_| true).times(u32::MAX).by_chance(seed, 500);
        server.faults().add(storm);
        let s3 = plain(&server);
        for _ in 0..64 {
            drop(put(&s3, "k", "x", PutMode::Overwrite).await);
        }
        let outcomes = server.log().entries().into_iter().map(|entry| entry.outcome);
        outcomes.map(|outcome| outcome == Outcome::Status(503)).collect::<Vec<_>>()
    };
    let (first, same, other) = (statuses(1).await, statuses(1).await, statuses(2).await);
    assert_eq!(first, same);
    assert_ne!(first, other);
    assert!(first.contains(&true) && first.contains(&false));
}
