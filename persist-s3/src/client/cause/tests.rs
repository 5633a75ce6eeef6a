use super::*;
use crate::{Clients, Credentials, S3Config, S3Options};
use object_store::{ObjectStoreExt, PutMode, PutPayload, UpdateVersion, path::Path};
use persist_s3_server::{Answer, Broken, Fault, KeyPair, Rule, Server, ServerOptions};

const BUCKET: &str = "bucket";

fn server() -> Server {
    Server::in_memory(ServerOptions::new(BUCKET, KeyPair::new("AK", "SK")))
}

fn clients(server: &Server) -> Clients {
    let mut config = S3Config::new(BUCKET);
    config.endpoint = Some("http://in.process".into());
    config.transport = crate::config::Transport::PlainAllowed;
    let options = S3Options::default().with_credentials(Credentials::keys("AK", "SK"));
    Clients::connect(&config, &options.with_connector(server.connector())).unwrap()
}

/// The errors of a read and of a write that meet `fault`.
async fn met(fault: Fault) -> (object_store::Error, object_store::Error) {
    let server = server();
    server.faults().add(Rule::once("all", fault, |_| true).times(u32::MAX));
    let clients = clients(&server);
    let key = Path::from("k");
    let read = clients.head.get(&key).await.unwrap_err();
    let update = PutMode::Update(UpdateVersion { e_tag: Some("\"x\"".into()), version: None });
    let write = clients.head.put_opts(&key, PutPayload::from_static(b"x"), update.into()).await.unwrap_err();
    (read, write)
}

#[tokio::test(start_paused = true)]
async fn each_answer_of_a_store_has_its_cause_kind_and_retry() {
    use ErrorKind as K;
    use Retry::{Backoff, Never, Verify};
    for (status, code, expected, kind, read, write) in [
        (403, "AccessDenied", Cause::Denied, K::Denied, Never, Never),
        (403, "InvalidAccessKeyId", Cause::BadCredentials, K::Denied, Never, Never),
        (403, "SignatureDoesNotMatch", Cause::BadCredentials, K::Denied, Never, Never),
        (400, "ExpiredToken", Cause::Expired, K::Denied, Never, Never),
        (403, "RequestTimeTooSkewed", Cause::ClockSkew, K::Denied, Never, Never),
        (404, "NoSuchBucket", Cause::NoSuchBucket, K::Unavailable, Backoff, Backoff),
        (404, "NoSuchKey", Cause::NotFound, K::NotFound, Never, Verify),
        (301, "PermanentRedirect", Cause::WrongRegion, K::Invalid, Never, Never),
        (400, "AuthorizationHeaderMalformed", Cause::WrongRegion, K::Invalid, Never, Never),
        (412, "PreconditionFailed", Cause::Precondition, K::Conflict, Never, Verify),
        (503, "SlowDown", Cause::Throttled, K::Unavailable, Backoff, Verify),
        (500, "InternalError", Cause::Server, K::Unavailable, Backoff, Verify),
        (502, "Whatever", Cause::Server, K::Unavailable, Backoff, Verify),
        (507, "Whatever", Cause::Full, K::Exhausted, Backoff, Backoff),
        (403, "QuotaExceeded", Cause::Full, K::Exhausted, Backoff, Backoff),
        (501, "NotImplemented", Cause::NotUnderstood, K::Unsupported, Never, Never),
        (400, "InvalidRequest", Cause::NotUnderstood, K::Unsupported, Never, Never),
    ] {
        let (r, w) = met(Fault::Instead(Answer { status, code })).await;
        assert_eq!((Cause::of(&r), Cause::of(&w)), (expected, expected), "{code}: {r:?} {w:?}");
        let (r, w) = (error(&r, Effect::Read), error(&w, Effect::Write));
        assert_eq!((r.kind(), w.kind(), r.retry(), w.retry()), (kind, kind, read, write), "{code}");
        let named = status == 301 || r.to_string().contains(code);
        assert!(named && r.to_string().contains(&status.to_string()), "{code}: {r}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_race_and_a_create_of_what_is_there_are_conflicts() {
    let (_, update) = met(Fault::CONFLICT).await;
    assert_eq!(Cause::of(&update), Cause::Conflict);
    let server = server();
    server.plant(BUCKET, "k", "x").unwrap();
    let put =
        clients(&server).head.put_opts(&Path::from("k"), PutPayload::new(), PutMode::Create.into()).await;
    let put = put.unwrap_err();
    assert_eq!(Cause::of(&put), Cause::Conflict);
    assert_eq!(error(&put, Effect::Write).retry(), Retry::Verify);
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_leaves_a_write_in_doubt() {
    for (broken, expected) in [
        (Broken::Refused, Cause::Unreachable),
        (Broken::Reset, Cause::Broken),
        (Broken::TimedOut, Cause::TimedOut),
    ] {
        let (read, write) = met(Fault::LostReply(broken)).await;
        assert_eq!((Cause::of(&read), Cause::of(&write)), (expected, expected));
        assert_eq!(error(&read, Effect::Read).retry(), Retry::Backoff);
        let write = error(&write, Effect::Write);
        assert_eq!((write.kind(), write.retry()), (ErrorKind::Unavailable, Retry::Verify), "{write}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_gone_is_not_an_object_that_is_gone() {
    let server = Server::in_memory(ServerOptions::new("another", KeyPair::new("AK", "SK")));
    let read = clients(&server).head.get(&Path::from("k")).await.unwrap_err();
    assert_eq!(Cause::of(&read), Cause::NoSuchBucket);
    assert_eq!(error(&read, Effect::Read).kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_name_or_port_that_leads_nowhere_is_unreachable() {
    for endpoint in ["http://no-such-host.invalid", "http://127.0.0.1:1"] {
        let mut config = S3Config::new(BUCKET);
        config.endpoint = Some(endpoint.into());
        config.transport = crate::config::Transport::PlainAllowed;
        let options = S3Options::default().with_credentials(Credentials::keys("AK", "SK"));
        let clients = Clients::connect(&config, &options).unwrap();
        let read = clients.head.get(&Path::from("k")).await.unwrap_err();
        assert_eq!(Cause::of(&read), Cause::Unreachable, "{read:?}");
    }
}

#[test]
fn what_a_certificate_is_blamed_for_is_not_a_network() {
    let tls = object_store::client::HttpError::new(
        HttpErrorKind::Connect,
        std::io::Error::other("invalid peer certificate: UnknownIssuer"),
    );
    let tls = object_store::Error::Generic { store: "S3", source: Box::new(tls) };
    assert_eq!(Cause::of(&tls), Cause::Untrusted);
    assert_eq!(error(&tls, Effect::Read).kind(), ErrorKind::Denied);
}
