//! The plugin and the daemon are killed while containers have volumes.

use crate::ground::{Ground, planned};
use runtimes::{Planned, SHELL, Said};

pub fn trials() -> Vec<Planned> {
    vec![
        planned("a_plugin_killed_between_mount_and_unmount_is_missed_by_no_container", plugin),
        planned("a_claim_whose_container_ended_without_the_plugin_is_listed_and_released", leftover),
        planned("a_restarted_daemon_finds_its_volumes_and_leaves_no_claim", restarted),
        planned("a_killed_daemon_finds_its_volumes_and_can_use_them", daemon),
    ]
}

/// A container's writing, seen by another one.
const COUNTS: &str = "while :; do echo x >> /data/log; done";

fn plugin(mut ground: Ground) {
    ground.create("shop", &[]);
    ground.start("writer", "shop:/data", COUNTS);
    let before = ground.plugin.holders("shop");
    assert_eq!(before.len(), 1);
    ground.plugin.kill();
    // It writes on: what it wrote before the look grows.
    let script = "n=$(wc -c < /data/log); until test $(wc -c < /data/log) -gt $n; do :; done; echo grows";
    assert_eq!(ground.docker(&["exec", "writer", SHELL, "-c", script]), "grows");
    ground.plugin.launch();
    assert_eq!(ground.plugin.holders("shop"), before);
    assert_eq!(ground.run("shop:/data", script), "grows");
    ground.docker(&["rm", "--force", "writer"]);
    assert!(ground.plugin.holders("shop").is_empty(), "Docker's Unmount did not end the claim");
    ground.docker(&["volume", "rm", "shop"]);
}

fn leftover(mut ground: Ground) {
    ground.create("shop", &[]);
    ground.start("gone", "shop:/data", "sleep 1000");
    let id = ground.plugin.holders("shop").remove(0);
    ground.plugin.kill();
    // Docker cannot tell the plugin, and removes the container all the same, or says that it did not.
    let _ = ground.dockerd.call(["rm", "--force", "gone"]).and_then(Said::well);
    ground.plugin.launch();
    let claims = ground.plugin.operate(&["claims"]).unwrap();
    assert!(claims.contains(&format!("shop {id} ")), "{claims}");
    ground.plugin.operate(&["release", "shop", &id]).unwrap();
    assert_eq!(ground.plugin.operate(&["claims"]).unwrap(), "");
}

fn restarted(mut ground: Ground) {
    ground.create("shop", &[]);
    ground.start("writer", "shop:/data", "echo precious > /data/kept; sleep 1000");
    ground.docker(&["exec", "writer", SHELL, "-c", "until test -s /data/kept; do :; done"]);
    ground.dockerd.stop().unwrap();
    assert!(ground.plugin.holders("shop").is_empty(), "a daemon that stops unmounts");
    ground.dockerd.launch().unwrap();
    let names = ground.docker(&["volume", "ls", "--quiet"]);
    assert_eq!(names, "shop");
    ground.docker(&["start", "writer"]);
    assert_eq!(ground.run("shop:/data", "cat /data/kept"), "precious");
    assert_eq!(ground.plugin.holders("shop").len(), 1);
}

fn daemon(mut ground: Ground) {
    ground.create("shop", &[]);
    ground.start("writer", "shop:/data", "echo precious > /data/kept; sleep 1000");
    ground.docker(&["exec", "writer", SHELL, "-c", "until test -s /data/kept; do :; done"]);
    let before = ground.plugin.holders("shop");
    ground.dockerd.kill().unwrap();
    assert_eq!(ground.plugin.holders("shop"), before);
    ground.dockerd.launch().unwrap();
    assert_eq!(ground.run("shop:/data", "cat /data/kept"), "precious");
    ground.docker(&["rm", "--force", "writer"]);
    // What the daemon forgot is on record, and is released by hand.
    for id in ground.plugin.holders("shop") {
        println!("left by the killed daemon: {id}");
        ground.plugin.operate(&["release", "shop", &id]).unwrap();
    }
    ground.docker(&["volume", "rm", "shop"]);
}
