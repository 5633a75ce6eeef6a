//! A program that is told everything by its environment, started as a deployment would start it.

#![allow(clippy::unwrap_used, reason = "a test ends where its ground gives way")]

use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
};
use tokio::{net::TcpListener, process::Command};

/// The program: this test binary, asked for its ignored test.
const PROGRAM: &str = "the_program_counts_its_starts";

/// What the program prints before the number of its start.
const STARTED: &str = "started for the ";

#[tokio::test]
#[ignore = "the program that the other tests start"]
async fn the_program_counts_its_starts() {
    let bound = match persist::from_env().await {
        Ok(bound) => bound,
        Err(error) => panic!("refused: {error}"),
    };
    let at = bound.path().join("starts");
    let before = fs::read_to_string(&at).map_or(0, |text| text.parse().unwrap());
    fs::write(&at, (before + 1).to_string()).unwrap();
    println!("{STARTED}{}", before + 1);
    bound.detach().await.unwrap();
}

async fn started(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", PROGRAM, "--ignored", "--nocapture"]).stdin(Stdio::null());
    // Nothing of what happens to be set where the tests run.
    command.env_clear().envs(variables.iter().copied());
    command.output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A bucket on a socket, until this is dropped.
async fn bucket() -> (String, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = Server::in_memory(ServerOptions::new("bucket", KeyPair::new("access", "canarySECRET")));
    let (over, stop) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { server.serve(listener, async { drop(stop.await) }).await });
    (endpoint, over)
}

fn url_in(directory: &Path) -> String {
    format!("s3://bucket/shop?allow_http=true&workspace={}#shop", directory.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_bound_by_the_variables_of_amazons_tools_and_found_again_on_another_node() {
    let (endpoint, _over) = bucket().await;
    // A workspace is refused in memory, which a temporary directory may be.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (start, mode) in [("1", "create-if-missing"), ("2", "existing")] {
        let url = url_in(&place.path().join(start));
        let variables = [
            ("PERSIST_URL", url.as_str()),
            ("PERSIST_OPEN_MODE", mode),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "access"),
            ("AWS_SECRET_ACCESS_KEY", "canarySECRET"),
        ];
        let output = started(&variables).await;
        assert!(said(&output).contains(&format!("{STARTED}{start}")), "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_or_wrong_is_named_and_no_secret_is_printed() {
    let (endpoint, _over) = bucket().await;
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = url_in(place.path());
    let good = [
        ("PERSIST_URL", url.as_str()),
        ("PERSIST_OPEN_MODE", "create-if-missing"),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_ACCESS_KEY_ID", "access"),
        ("AWS_SECRET_ACCESS_KEY", "canarySECRET"),
    ];
    for (variable, instead, named) in [
        ("PERSIST_URL", "", "PERSIST_URL"),
        ("PERSIST_OPEN_MODE", "sometimes", "PERSIST_OPEN_MODE"),
        ("PERSIST_OPEN_MODE", "existing", "no store"),
        ("AWS_ACCESS_KEY_ID", "somebody", "credentials"),
    ] {
        let variables = good.map(|(name, value)| (name, if name == variable { instead } else { value }));
        let output = started(&variables).await;
        let said = said(&output);
        assert!(!output.status.success(), "{variable}={instead}: {said}");
        assert!(said.to_lowercase().contains(&named.to_lowercase()), "{variable}={instead}: {said}");
        assert!(!said.contains("canarySECRET"), "{said}");
    }
    assert!(!place.path().join("volumes").exists(), "a refused start leaves nothing behind");
}
