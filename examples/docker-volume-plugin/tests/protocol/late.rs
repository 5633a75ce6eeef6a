//! Stores that are slow, dead, or late: they keep no other volume waiting, and nothing is left behind.

use crate::bench::*;
use futures::{FutureExt, future::join_all};
use persist::{Error, ErrorKind, OpenMode, StoreUrl};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// Short: these tests wait for it.
const LIMIT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_store_that_does_not_open_keeps_no_other_volume_waiting_and_comes_late() {
    let ground = Ground::new();
    let (gate, opener) = gated(&ground);
    let mut settings = ground.settings();
    (settings.change_limit, settings.look_limit) = (LIMIT, LIMIT);
    let plugin = ground.serve_with(settings, opener);
    let slow = json!({ "store": ground.url("slow") });
    let mut waiting = Box::pin(plugin.create("late", slow.clone()));
    assert!((&mut waiting).now_or_never().is_none());
    plugin.create("quick", json!({})).await.unwrap();
    plugin.mount("quick", "1").await.unwrap();
    let refused = waiting.await.unwrap_err();
    assert!(refused.contains("in time"), "{refused}");
    gate.send_replace(Open::Yes);
    // The opening went on by itself; a repeat finds it.
    plugin.create("late", slow).await.unwrap();
    assert!(plugin.mount("late", "1").await.unwrap().starts_with(ground.path().join("slow")));
    plugin.stop().await;
}

#[tokio::test]
async fn a_list_is_answered_within_its_deadline_and_says_which_store_is_missing() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("quick", json!({})).await.unwrap();
    plugin.create("slow", json!({ "store": ground.url("slow") })).await.unwrap();
    plugin.stop().await;
    let (gate, opener) = gated(&ground);
    let mut settings = ground.settings();
    settings.look_limit = LIMIT;
    let plugin = ground.serve_with(settings, opener);
    let list = plugin.ask("List", json!({})).await.unwrap();
    let volumes = list["Volumes"].as_array().unwrap();
    assert_eq!((&volumes[0]["Name"], &volumes[0]["Status"]["error"]), (&json!("quick"), &Value::Null));
    assert_eq!(volumes[1]["Name"], "slow");
    assert!(volumes[1]["Status"]["error"].as_str().unwrap().contains("in time"), "{list}");
    // A store that fails is tried again by the next call.
    gate.send_replace(Open::Fails);
    assert!(plugin.ask("Get", json!({ "Name": "slow" })).await.unwrap_err().contains("planned"));
    gate.send_replace(Open::Yes);
    plugin.mount("slow", "1").await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn calls_that_hang_in_a_dead_store_are_bounded_and_refused_and_the_others_go_on() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("alive", json!({})).await.unwrap();
    plugin.create("dead", json!({ "store": ground.url("dead") })).await.unwrap();
    plugin.stop().await;
    let mut settings = ground.settings();
    settings.look_limit = LIMIT;
    let counted = Counted::default();
    let plugin = ground.serve_with(settings, counted.opener(&ground));
    plugin.ask("Get", json!({ "Name": "dead" })).await.unwrap();
    let dead = counted.store(&ground.url("dead"));
    let pipe = Pipe::in_place_of_a_record(&ground.path().join("dead"));
    let before = dead.calls().len();
    // More calls than a store may have under way, and then the same number again.
    for _ in 0..2 {
        let calls = join_all((0..40).map(|_| plugin.ask("Get", json!({ "Name": "dead" })))).await;
        for refused in calls {
            let refused = refused.unwrap_err();
            assert!(refused.contains("not answer"), "{refused}");
        }
        plugin.mount("alive", "1").await.unwrap();
        plugin.unmount("alive", "1").await.unwrap();
    }
    let reached = dead.calls().len() - before;
    assert!((1..=16).contains(&reached), "{reached} calls hang in the store");
    drop(pipe);
    plugin.stop().await;
}

#[tokio::test]
async fn a_mount_whose_caller_went_away_is_taken_back() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    plugin.stop().await;
    let (gate, opener) = gated_at(&ground, "store");
    let plugin = ground.serve_with(ground.settings(), opener);
    let mut mounting = Box::pin(plugin.plugin.mount("shop", "gone"));
    assert!((&mut mounting).now_or_never().is_none());
    drop(mounting);
    gate.send_replace(Open::Yes);
    // Stopping waits for what is under way: the attach, and taking it back.
    plugin.stop().await;
    let plugin = ground.serve();
    assert!(plugin.holders("shop").await.is_empty());
    plugin.stop().await;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    No,
    Fails,
    Yes,
}

/// An opener whose store `slow` waits for the gate.
fn gated(ground: &Ground) -> (watch::Sender<Open>, docker_volume_plugin::stores::Opener) {
    gated_at(ground, "slow")
}

fn gated_at(ground: &Ground, slow: &str) -> (watch::Sender<Open>, docker_volume_plugin::stores::Opener) {
    let (gate, state) = watch::channel(Open::No);
    let (facade, slow) = (ground.facade(), ground.url(slow));
    let opener = move |url: StoreUrl, mode: OpenMode| {
        let (facade, mut state, is_slow) = (Arc::clone(&facade), state.clone(), url.to_string() == slow);
        let opening = async move {
            if is_slow && *state.wait_for(|open| *open != Open::No).await.unwrap() == Open::Fails {
                return Err(Error::new(ErrorKind::Unavailable, "a failure that the test planned"));
            }
            facade(url, mode).await
        };
        opening.boxed()
    };
    (gate, Arc::new(opener))
}

/// A pipe that nobody writes to in the place of a record: opening it blocks (fifo(7)), as a file of a dead
/// server does. Dropped, it lets everybody go, who then read a record of no bytes.
struct Pipe(PathBuf);

impl Pipe {
    fn in_place_of_a_record(store: &Path) -> Self {
        let volumes = fs::read_dir(store.join("volumes")).unwrap();
        let [volume] = volumes.map(|entry| entry.unwrap().path()).collect::<Vec<_>>().try_into().unwrap();
        let records = fs::read_dir(volume.join("records")).unwrap();
        let record = records.map(|entry| entry.unwrap().path()).max().unwrap();
        fs::remove_file(&record).unwrap();
        mknodat(CWD, &record, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        Self(record)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let writer = fs::File::options().read(true).write(true).open(&self.0).unwrap();
        // Who looks again finds a file.
        fs::remove_file(&self.0).unwrap();
        fs::write(&self.0, "").unwrap();
        drop(writer);
    }
}
