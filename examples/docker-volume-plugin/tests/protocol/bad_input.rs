//! What no Docker sends, and what a host does to a plugin.

use crate::bench::*;
use docker_volume_plugin::{Server, client};
use persist::ErrorKind;
use serde_json::{Value, json};
use std::{fs, os::unix::net::UnixListener};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

#[tokio::test]
async fn what_is_no_request_is_answered_in_the_protocols_error_form() {
    let ground = Ground::new();
    let plugin = ground.serve();
    let huge = format!("{{\"Name\":\"{}\"}}", "x".repeat(2 << 20));
    for (endpoint, body, status) in [
        ("VolumeDriver.Get", "", 400),
        ("VolumeDriver.Get", "{", 400),
        ("VolumeDriver.Get", "[]", 400),
        ("VolumeDriver.Get", "null", 400),
        ("VolumeDriver.Get", "{\"Name\":7}", 400),
        ("VolumeDriver.Get", "{\"name\":\"x\"}", 400),
        ("VolumeDriver.Mount", "{\"Name\":\"x\"}", 400),
        ("VolumeDriver.Create", "{\"Name\":\"x\",\"Opts\":{\"size\":1}}", 400),
        ("VolumeDriver.Get", &huge, 413),
        ("VolumeDriver.Burn", "{}", 404),
        ("", "{}", 404),
        ("../../etc/passwd", "{}", 404),
    ] {
        let (answered, answer) =
            client::exchange(&plugin.socket, endpoint, body.to_owned().into()).await.unwrap();
        assert_eq!(answered, status, "{endpoint} {answer}");
        assert!(answer["Err"].as_str().is_some_and(|line| !line.is_empty()), "{answer}");
    }
    let (status, _) = client::exchange(&plugin.socket, "Plugin.Activate", "{".into()).await.unwrap();
    assert_eq!(status, 200);
    plugin.stop().await;
}

#[tokio::test]
async fn names_and_ids_of_odd_bytes_are_refused_on_one_line() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    let long = "x".repeat(129);
    let mut odd = vec!["", ".", "..", "a/b", "../x", "-rf", "a b", "ä", "\u{202e}x", "💾", &long];
    let bytes: Vec<String> = (0..=0x2c_u8).map(|b| format!("a{}", char::from(b))).collect();
    odd.extend(bytes.iter().map(String::as_str));
    for name in odd {
        for refused in [
            plugin.create(name, json!({})).await.unwrap_err(),
            plugin.mount(name, "1").await.unwrap_err(),
            plugin.ask("Get", json!({ "Name": name })).await.unwrap_err(),
            plugin.remove(name).await.unwrap_err(),
        ] {
            assert!(refused.contains("(in `volume`)"), "{name:?}: {refused}");
        }
    }
    for id in ["", "a\nb", "a\0b", &"x".repeat(1025)] {
        let refused = plugin.mount("shop", id).await.unwrap_err();
        assert!(refused.contains("(in `workload`)"), "{refused}");
    }
    // Printable ids are no paths: they are kept as they are.
    for id in ["../../etc", "a b", "ä", "'\"$(x)", "💾"] {
        plugin.mount("shop", id).await.unwrap();
        assert_eq!(plugin.holders("shop").await, [id]);
        plugin.unmount("shop", id).await.unwrap();
    }
    plugin.stop().await;
}

#[tokio::test]
async fn a_half_open_connection_keeps_no_other_waiting_and_no_stop() {
    let ground = Ground::new();
    let plugin = ground.serve();
    let mut open = Vec::new();
    for text in ["", "POST /VolumeDriver.Get HTT", "POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = UnixStream::connect(&plugin.socket).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        open.push(stream);
    }
    plugin.create("shop", json!({})).await.unwrap();
    plugin.stop().await;
    for mut stream in open {
        let mut rest = Vec::new();
        // Closed by the stop: an end, or a reset.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test]
async fn the_sockets_path_is_taken_only_from_the_dead() {
    let ground = Ground::new();
    let at = |name: &str| ground.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir(at("directory")).unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    for taken in ["file", "directory", "link"] {
        assert_eq!(Server::bind(&at(taken)).unwrap_err().kind(), ErrorKind::Conflict, "{taken}");
    }
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "precious");
    let live = UnixListener::bind(at("socket")).unwrap();
    assert_eq!(Server::bind(&at("socket")).unwrap_err().kind(), ErrorKind::InUse);
    drop(live);
    drop(Server::bind(&at("socket")).unwrap());
    Server::bind(&at("new/directory/socket")).unwrap();
}

#[tokio::test]
async fn a_store_whose_place_is_a_file_a_link_to_one_or_anothers_directory_is_refused_and_nothing_is_touched()
{
    let ground = Ground::new();
    let plugin = ground.serve();
    let at = |name: &str| ground.path().join(name);
    fs::write(at("file"), "precious").unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    fs::create_dir(at("others")).unwrap();
    fs::write(at("others/file"), "precious").unwrap();
    for place in ["file", "link", "others", "file/below"] {
        let refused = plugin.create("shop", json!({ "store": ground.url(place) })).await.unwrap_err();
        assert!(refused.contains(place), "{refused}");
    }
    for kept in ["file", "others/file"] {
        assert_eq!(fs::read_to_string(at(kept)).unwrap(), "precious");
    }
    assert_eq!(fs::read_dir(at("others")).unwrap().count(), 1);
    assert_eq!(plugin.ask("List", json!({})).await.unwrap()["Volumes"], json!([]));
    plugin.stop().await;
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_said_and_what_is_known_is_served() {
    let ground = Ground::new();
    let plugin = ground.serve();
    plugin.create("shop", json!({})).await.unwrap();
    // A directory that is gone refuses new files to root as well; a read-only one only to others.
    let volumes = ground.path().join("state/volumes");
    fs::rename(&volumes, ground.path().join("moved")).unwrap();
    let refused = plugin.create("other", json!({})).await.unwrap_err();
    assert!(refused.contains("state directory") && refused.contains("--state"), "{refused}");
    plugin.mount("shop", "1").await.unwrap();
    plugin.unmount("shop", "1").await.unwrap();
    plugin.stop().await;
    let volume = "other".parse().unwrap();
    let made = ground.store().await.get(&volume).await;
    assert_eq!(made.unwrap_err().kind(), ErrorKind::NotFound, "made, and not known");
}

#[tokio::test]
async fn a_volume_that_its_store_has_lost_is_listed_with_what_is_wrong() {
    let ground = Ground::new();
    let plugin = ground.serve();
    for name in ["here", "lost"] {
        plugin.create(name, json!({})).await.unwrap();
    }
    ground.store().await.delete(&"lost".parse().unwrap(), Default::default()).await.unwrap();
    let list = plugin.ask("List", json!({})).await.unwrap();
    let errors: Vec<_> = list["Volumes"].as_array().unwrap().iter().map(|v| &v["Status"]["error"]).collect();
    assert_eq!(errors[0], &Value::Null);
    assert!(errors[1].as_str().unwrap().contains("no volume of this name"), "{list}");
    plugin.remove("lost").await.unwrap();
    plugin.stop().await;
}
