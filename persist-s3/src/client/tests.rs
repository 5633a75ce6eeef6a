use super::*;
use bytes::Bytes;
use futures::future::join_all;
use object_store::{ObjectStoreExt, PutMode, PutPayload, UpdateVersion, path::Path};
use persist_s3_server::{Conditions, Fault, KeyPair, Rule, Server, ServerOptions, Verb};
use tokio::time::Instant;

const BUCKET: &str = "bucket";

fn server(conditions: Conditions) -> Server {
    Server::in_memory(ServerOptions::new(BUCKET, KeyPair::new("AK", "SK")).with_conditions(conditions))
}

fn config() -> S3Config {
    let mut config = S3Config::new(BUCKET);
    config.prefix = "some/store".into();
    config.endpoint = Some("http://in.process".into());
    config.transport = Transport::PlainAllowed;
    config
}

fn connected(server: &Server, config: &S3Config) -> Clients {
    let options = S3Options::default().with_credentials(Credentials::keys("AK", "SK"));
    Clients::connect(config, &options.with_connector(server.connector())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn keys_are_relative_to_the_prefix() {
    let server = server(Conditions::Atomic);
    let clients = connected(&server, &config());
    clients.data.put(&Path::from("a"), PutPayload::new()).await.unwrap();
    clients.head.put(&Path::from("v/1/head"), PutPayload::new()).await.unwrap();
    assert_eq!(server.keys(BUCKET, ""), ["some/store/a", "some/store/v/1/head"]);
}

#[tokio::test(start_paused = true)]
async fn the_head_client_asks_once_and_the_data_client_until_its_deadline() {
    let server = server(Conditions::Atomic);
    let clients = connected(&server, &config());
    server.faults().add(Rule::once("storm", Fault::SLOW_DOWN, |_| true).times(40));
    assert!(clients.head.get(&Path::from("k")).await.is_err());
    assert_eq!(server.log().total(Verb::Get).requests, 1);
    clients.data.put(&Path::from("k"), PutPayload::from_static(b"x")).await.unwrap();
    assert_eq!(server.log().total(Verb::Put).requests, 40, "39 times asked to slow down");
    server.faults().clear();
    server.faults().add(Rule::once("for ever", Fault::SLOW_DOWN, |_| true).times(u32::MAX));
    assert!(clients.data.get(&Path::from("k")).await.is_err(), "a deadline ends it");
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_head_ends_within_half_a_beat() {
    let server = server(Conditions::Atomic);
    let mut config = config();
    config.lease_ttl_seconds = 18;
    let clients = connected(&server, &config);
    server.faults().add(Rule::once("stuck", Fault::Delay(Duration::from_secs(10_000)), |_| true));
    let begun = Instant::now();
    let stuck = clients.head.get(&Path::from("k")).await.unwrap_err();
    assert_eq!(Cause::of(&stuck), Cause::TimedOut);
    assert_eq!(begun.elapsed().as_secs(), 3, "in virtual time");
}

#[tokio::test(start_paused = true)]
async fn data_in_abundance_does_not_hold_up_a_head() {
    let server = server(Conditions::Atomic);
    let config = config();
    let clients = connected(&server, &config);
    server.plant(BUCKET, "some/store/head", Bytes::from_static(b"h")).unwrap();
    let slow = Fault::Delay(Duration::from_secs(60));
    server.faults().add(Rule::once("slow data", slow, |seen| seen.verb == Verb::Put).times(u32::MAX));
    let puts = (0..100).map(|i| {
        let (data, key) = (Arc::clone(&clients.data), Path::from(format!("p/{i}")));
        async move { data.put(&key, PutPayload::new()).await }
    });
    let puts = async { join_all(puts).await.into_iter().for_each(|put| drop(put.unwrap())) };
    let begun = Instant::now();
    let head = async {
        clients.head.get(&Path::from("head")).await.unwrap();
        begun.elapsed()
    };
    let ((), waited) = tokio::join!(puts, head);
    assert_eq!(waited.as_secs(), 0, "in virtual time");
    // 16 at a time, a minute each.
    assert_eq!(begun.elapsed().as_secs().div_ceil(60), 100_u64.div_ceil(config.connections.into()));
}

#[tokio::test(start_paused = true)]
async fn a_bare_tag_is_sent_where_the_store_wants_it() {
    let server = server(Conditions::QuotedEtagRefused);
    let clients = connected(&server, &config());
    let key = Path::from("head");
    let put = clients.head.put(&key, PutPayload::from_static(b"1")).await.unwrap();
    let update = || PutMode::Update(UpdateVersion { e_tag: put.e_tag.clone(), version: None });
    let refused = clients.head.put_opts(&key, PutPayload::from_static(b"2"), update().into()).await;
    assert_eq!(refused.map_err(|e| Cause::of(&e)).unwrap_err(), Cause::Precondition);
    let clients = clients.with_quirks(Quirks { if_match: IfMatch::Bare });
    clients.head.put_opts(&key, PutPayload::from_static(b"2"), update().into()).await.unwrap();
    assert_eq!(server.object(BUCKET, "some/store/head").unwrap().unwrap(), "2");
}

#[test]
fn without_credentials_nothing_opens() {
    let error = Clients::connect(&config(), &S3Options::default()).unwrap_err();
    assert_eq!(error.kind(), persist_core::ErrorKind::Denied);
    assert!(error.to_string().contains("with_credentials"), "{error}");
}
