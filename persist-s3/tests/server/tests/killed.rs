//! The program over files: killed at any point, it has everything that it acknowledged.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "a test")]

use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, aws::AmazonS3,
    aws::AmazonS3Builder, path::Path,
};
use std::{collections::BTreeMap, path, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

async fn started(dir: &path::Path) -> (Child, AmazonS3) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_persist-s3-server"))
        .args(["--access-key", "AK", "--secret-key", "SK", "--bucket", "bucket", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().unwrap();
    let s3 = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_region("eu-test-1")
        .with_access_key_id("AK")
        .with_secret_access_key("SK")
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    (child, s3.build().unwrap())
}

async fn put(s3: &AmazonS3, key: &str, body: String) -> Result<(), Error> {
    s3.put_opts(&Path::from(key), PutPayload::from(body), PutMode::Overwrite.into()).await.map(drop)
}

#[tokio::test]
async fn a_killed_server_has_every_object_that_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for round in 0..5 {
        let (mut child, s3) = started(dir.path()).await;
        for (key, body) in &acknowledged {
            let kept: bytes::Bytes = s3.get(&Path::from(key as &str)).await.unwrap().bytes().await.unwrap();
            assert_eq!(&kept, body, "round {round}, {key}");
        }
        let killed = async {
            for i in 0.. {
                let (key, body) = (format!("k/{}", i % 7), format!("{round} {i} {}", "x".repeat(i * 100)));
                match put(&s3, &key, body.clone()).await {
                    Ok(()) => drop(acknowledged.insert(key.clone(), body)),
                    // Written or not: either is right from here on.
                    Err(_) => return acknowledged.remove(&key),
                }
                if i == 10 + round {
                    child.start_kill().unwrap();
                }
            }
            None
        };
        killed.await;
        child.wait().await.unwrap();
        assert!(acknowledged.len() >= 6);
    }
}

#[tokio::test]
async fn a_directory_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let (_child, _) = started(dir.path()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_persist-s3-server"))
        .args(["--access-key", "AK", "--secret-key", "SK", "--dir"])
        .arg(dir.path())
        .output();
    let second = second.await.unwrap();
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another server"));
}
