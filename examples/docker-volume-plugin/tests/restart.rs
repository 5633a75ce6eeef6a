//! The plugin as a process: killed at any point, restarted, stopped in order. No Docker, no privilege.

#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where its ground gives way"
)]

#[path = "docker/program.rs"]
mod program;

use program::Program;
use serde_json::json;
use std::{fs, path::Path};

fn started(home: &Path) -> Program {
    Program::start(home.join("plugin.sock"), home)
}

#[test]
fn a_claim_outlives_the_plugin_that_is_killed_between_mount_and_unmount() {
    let home = tempfile::tempdir().unwrap();
    let mut plugin = started(home.path());
    plugin.ask("Create", json!({ "Name": "shop", "Opts": { "label.team": "a" } })).unwrap();
    let mount = |plugin: &Program, id: &str| {
        let answer = plugin.ask("Mount", json!({ "Name": "shop", "ID": id })).unwrap();
        answer["Mountpoint"].as_str().unwrap().to_owned()
    };
    let path = mount(&plugin, "one");
    fs::write(Path::new(&path).join("orders"), "3 apples").unwrap();
    plugin.kill();
    // Its container goes on meanwhile.
    fs::write(Path::new(&path).join("more"), "5 pears").unwrap();
    plugin.launch();
    assert_eq!(plugin.holders("shop"), ["one"]);
    assert_eq!(mount(&plugin, "two"), path);
    for id in ["one", "two"] {
        plugin.ask("Unmount", json!({ "Name": "shop", "ID": id })).unwrap();
    }
    assert!(plugin.holders("shop").is_empty());
    assert_eq!(fs::read_to_string(Path::new(&path).join("more")).unwrap(), "5 pears");
    plugin.ask("Remove", json!({ "Name": "shop" })).unwrap();
    plugin.stop();
}

#[test]
fn a_claim_that_nobody_unmounts_is_listed_and_released() {
    let home = tempfile::tempdir().unwrap();
    let mut plugin = started(home.path());
    plugin.ask("Create", json!({ "Name": "shop", "Opts": null })).unwrap();
    plugin.ask("Mount", json!({ "Name": "shop", "ID": "lost container" })).unwrap();
    plugin.kill();
    plugin.launch();
    let claims = plugin.operate(&["claims"]).unwrap();
    assert!(claims.starts_with("shop lost container ") && claims.lines().count() == 1, "{claims}");
    plugin.operate(&["release", "shop", "lost container"]).unwrap();
    assert_eq!(plugin.operate(&["claims"]).unwrap(), "");
    let refused = plugin.operate(&["release", "none", "1"]).unwrap_err().to_string();
    assert!(refused.contains("no such volume"), "{refused}");
    plugin.ask("Remove", json!({ "Name": "shop" })).unwrap();
}

#[test]
fn a_stop_closes_the_stores_detaches_nothing_and_leaves_no_socket() {
    let home = tempfile::tempdir().unwrap();
    let mut plugin = started(home.path());
    plugin.ask("Create", json!({ "Name": "shop", "Opts": {} })).unwrap();
    plugin.ask("Mount", json!({ "Name": "shop", "ID": "one" })).unwrap();
    let log = plugin.stop();
    assert!(log.iter().any(|line| line.contains("closed")), "{log:?}");
    assert!(!home.path().join("plugin.sock").exists());
    plugin.launch();
    assert_eq!(plugin.holders("shop"), ["one"]);
}

#[test]
fn secrets_that_were_given_by_mistake_are_kept_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let mut plugin = started(home.path());
    for options in [
        json!({ "store": "s3://key:hunter2@bucket/x" }),
        json!({ "store": "s3://bucket/x?secret_access_key=hunter2" }),
        json!({ "password": "hunter2" }),
    ] {
        let refused = plugin.ask("Create", json!({ "Name": "shop", "Opts": options })).unwrap_err();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let log = plugin.stop();
    assert!(log.len() > 2 && !log.iter().any(|line| line.contains("hunter2")), "{log:?}");
    assert_eq!(fs::read_dir(home.path().join("state/volumes")).unwrap().count(), 0);
}
