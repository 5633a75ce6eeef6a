use super::*;
use crate::{Credentials, S3Config, S3Options, config::Transport};
use persist_s3_server::{Broken, Condition, Conditions, Fault, KeyPair, Rule, Server, ServerOptions, Verb};

const BUCKET: &str = "bucket";

fn server(conditions: Conditions) -> Server {
    let keys = KeyPair::new("AK", "SK");
    let keeper = KeyPair::new("keeper", "SK").without(&[Verb::Delete, Verb::DeleteMany]);
    Server::in_memory(ServerOptions::new(BUCKET, keys).with_keys(keeper).with_conditions(conditions))
}

fn clients_of(server: &Server, access_key: &str) -> Clients {
    let mut config = S3Config::new(BUCKET);
    config.prefix = "store".into();
    config.endpoint = Some("http://in.process".into());
    config.transport = Transport::PlainAllowed;
    let options = S3Options::default().with_credentials(Credentials::keys(access_key, "SK"));
    Clients::connect(&config, &options.with_connector(server.connector())).unwrap()
}

fn clients(server: &Server) -> Clients {
    clients_of(server, "AK")
}

async fn probed(conditions: Conditions) -> (Server, Result<Findings>) {
    let server = server(conditions);
    let found = full(&clients(&server), &Environment::default()).await;
    (server, found)
}

#[tokio::test(start_paused = true)]
async fn an_atomic_store_passes_and_is_left_as_it_was() {
    let (server, found) = probed(Conditions::Atomic).await;
    assert_eq!(found.unwrap().quirks, Quirks::default());
    assert!(server.keys(BUCKET, "").is_empty(), "{:?}", server.keys(BUCKET, ""));
    let requests: u64 = server.log().counts().values().map(|count| count.requests).sum();
    assert!(requests < 330, "{requests} requests");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_conditions_is_refused() {
    let (server, found) = probed(Conditions::Ignored).await;
    let error = found.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("If-None-Match: * was ignored"), "{error}");
    assert!(server.keys(BUCKET, "").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_checks_and_then_acts_is_refused() {
    let (_, found) = probed(Conditions::CheckThenAct).await;
    let error = found.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("16 writers raced to create one object, and 16 were told"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_wants_bare_tags_is_found_out_and_used_that_way() {
    let (server, found) = probed(Conditions::QuotedEtagRefused).await;
    let quirks = found.unwrap().quirks;
    assert_eq!(quirks.if_match, IfMatch::Bare);
    let environment = Environment::default();
    short(&clients(&server).with_quirks(quirks), &environment).await.unwrap();
    assert_eq!(short(&clients(&server), &environment).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_second_full_probe_does_not_believe_the_first() {
    let bare = Quirks { if_match: IfMatch::Bare };
    for (conditions, expected) in
        [(Conditions::QuotedEtagRefused, IfMatch::Bare), (Conditions::Atomic, IfMatch::Quoted)]
    {
        let clients = clients(&server(conditions)).with_quirks(bare);
        let found = full(&clients, &Environment::default()).await.unwrap();
        assert_eq!(found.quirks.if_match, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_probe_costs_six_requests_and_sees_a_store_that_lost_its_conditions() {
    let atomic = server(Conditions::Atomic);
    short(&clients(&atomic), &Environment::default()).await.unwrap();
    let requests: u64 = atomic.log().counts().values().map(|count| count.requests).sum();
    assert_eq!(requests, 6);
    assert!(atomic.keys(BUCKET, "").is_empty());
    let ignored = server(Conditions::Ignored);
    let refused = short(&clients(&ignored), &Environment::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_hiccup_is_no_verdict() {
    for fault in [
        Fault::SLOW_DOWN,
        Fault::ERROR_AFTER,
        Fault::OWN_PRECONDITION,
        Fault::LostReply(Broken::TimedOut),
        Fault::LostRequest(Broken::Reset),
    ] {
        for skip in [0, 1, 20, 100] {
            let server = server(Conditions::Atomic);
            let writes = |seen: &persist_s3_server::Seen| seen.condition != Condition::None;
            server.faults().add(Rule::once("hiccup", fault, writes).skip(skip));
            let found = full(&clients(&server), &Environment::default()).await;
            assert!(found.is_ok(), "{fault:?} at {skip}: {}", found.unwrap_err());
            assert!(server.faults().unfired().is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_is_unavailable_and_not_unsupported() {
    let server = server(Conditions::Atomic);
    server.faults().add(Rule::once("down", Fault::SLOW_DOWN, |_| true).times(u32::MAX));
    let error = full(&clients(&server), &Environment::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_lags_is_refused() {
    let server = server(Conditions::Atomic);
    let stale = Rule::once("stale", Fault::StaleList(1), |_| true);
    server.faults().add(stale);
    let error = full(&clients(&server), &Environment::default()).await.unwrap_err();
    assert!(error.to_string().contains("is not listed"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_may_not_remove_may_still_write() {
    let server = server(Conditions::Atomic);
    short(&clients_of(&server, "keeper"), &Environment::default()).await.unwrap();
    let left = server.keys(BUCKET, "");
    assert!(!left.is_empty() && left.iter().all(|key| key.starts_with("store/probe/")), "{left:?}");
}
