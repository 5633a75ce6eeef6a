//! What people do: create, run, share, inspect, remove.

use crate::ground::{Ground, planned};
use runtimes::Planned;
use rustix::process::Pid;
use serde_json::{Value, json};
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

pub fn trials() -> Vec<Planned> {
    vec![
        planned("two_containers_share_a_volume_and_a_third_reads_it_when_both_are_gone", shared),
        planned("the_command_of_the_readme_does_what_it_says", readme),
        planned("the_options_of_a_volume_are_seen_in_the_container_and_by_inspect", options),
        planned("what_is_refused_is_told_to_the_user_of_docker", refusals),
        planned("a_target_that_is_there_is_covered_and_one_that_cannot_be_leaves_no_claim", targets),
        planned("a_container_that_mounts_read_only_cannot_write", read_only),
        planned("a_removed_volume_is_gone_for_docker_and_in_the_trash_of_the_store", removed),
        planned("a_read_only_state_directory_is_told_and_known_volumes_run", read_only_state),
        planned("an_idle_plugin_that_had_a_hundred_volumes_is_small", memory),
    ]
}

fn shared(ground: Ground) {
    ground.create("shop", &[]);
    ground.start("first", "shop:/data", "mkfifo /data/pipe; cat /data/pipe > /data/heard");
    // The pipe has two ends: the second container gets on only with the first.
    ground.run("shop:/data", "until test -p /data/pipe; do :; done; echo from the second > /data/pipe");
    ground.docker(&["wait", "first"]);
    ground.docker(&["rm", "first"]);
    assert!(ground.plugin.holders("shop").is_empty());
    assert_eq!(ground.run("shop:/data", "cat /data/heard"), "from the second");
}

fn readme(ground: Ground) {
    let runtime = "Docker, by volumes with names";
    assert_eq!(ground.readme(runtime, &[]), "shop");
    ground.run("shop:/data", "touch /data/orders");
    assert_eq!(ground.readme(runtime, &[]), "shop\norders");
}

fn options(ground: Ground) {
    let store = format!("store=local://{}", ground.home.path().join("other").display());
    ground.create("shop", &[&store, "owner=1234:5678", "mode=0700", "label.team=a"]);
    assert_eq!(ground.run("shop:/data", "stat -c '%u %g %a' /data"), "1234 5678 700");
    let shown: Value = serde_json::from_str(&ground.docker(&["volume", "inspect", "shop"])).unwrap();
    let status = &shown[0]["Status"];
    assert_eq!((&shown[0]["Scope"], &status["labels"]), (&json!("local"), &json!({ "team": "a" })));
    assert!(status["last_sync"].is_string() && status["epoch"] == 1, "{shown}");
    ground.start("holder", "shop:/data", "sleep 1000");
    let shown: Value = serde_json::from_str(&ground.docker(&["volume", "inspect", "shop"])).unwrap();
    let path = shown[0]["Mountpoint"].as_str().unwrap();
    assert_eq!(fs::metadata(path).unwrap().uid(), 1234);
    assert_eq!(shown[0]["Status"]["holders"].as_array().unwrap().len(), 1);
}

fn refusals(ground: Ground) {
    let unknown = ground.refused(&["volume", "create", "-d", &ground.driver, "-o", "siez=1", "shop"]);
    assert!(unknown.contains("siez") && unknown.contains("size"), "{unknown}");
    ground.create("shop", &["access=read-write"]);
    ground.start("holder", "shop:/data", "sleep 1000");
    let second =
        ground.refused(&["run", "--rm", "--network", "none", "-v", "shop:/data", runtimes::IMAGE, "true"]);
    assert!(second.contains("another holder has the volume"), "{second}");
    let used = ground.refused(&["volume", "rm", "shop"]);
    assert!(used.contains("in use"), "{used}");
}

fn targets(ground: Ground) {
    ground.create("shop", &[]);
    ground.create("other", &[]);
    // One inside the other, whatever the order.
    ground.run("shop:/data", "mkdir /data/inner && echo shop > /data/inner/file");
    let nested = ["run", "--rm", "--network", "none", "-v", "other:/data/inner", "-v", "shop:/data"];
    let script = ["-c", "ls /data/inner; echo other > /data/inner/file"];
    let listed = ground.docker(&[&nested[..], &[runtimes::IMAGE, runtimes::SHELL], &script].concat());
    assert_eq!(listed, "", "the mounted volume does not cover what is at its target");
    assert_eq!(ground.run("shop:/data", "cat /data/inner/file"), "shop");
    assert_eq!(ground.run("other:/data", "cat /data/file"), "other");
    let refused = |mounts: &[&str]| {
        let mounts: Vec<&str> = mounts.iter().flat_map(|mount| ["-v", mount]).collect();
        let run = ["run", "--rm", "--network", "none"];
        ground.refused(&[&run[..], &mounts[..], &[runtimes::IMAGE, runtimes::SHELL, "-c", "true"]].concat())
    };
    for (mounts, why) in [
        // It covers the shell that the image has there.
        (&["shop:/bin"][..], "no such file or directory"),
        (&["shop:/bin/busybox"], "not a directory"),
        (&["shop:/data", "other:/data"], "Duplicate mount point"),
        (&["shop:/proc"], "cannot be mounted"),
        (&["shop:relative"], "absolute"),
    ] {
        let said = refused(mounts);
        assert!(said.contains(why), "{mounts:?}: {said}");
        for volume in ["shop", "other"] {
            assert!(ground.plugin.holders(volume).is_empty(), "{mounts:?} left a claim on {volume}");
        }
    }
}

fn read_only(ground: Ground) {
    ground.create("shop", &[]);
    ground.run("shop:/data", "echo precious > /data/log");
    ground.start("production", "shop:/data", "sleep 1000");
    let tried = ground.run("shop:/data:ro", "cat /data/log; echo x > /data/log || echo refused");
    assert_eq!(tried, "precious\nrefused");
}

fn removed(ground: Ground) {
    ground.create("shop", &[]);
    ground.run("shop:/data", "echo precious > /data/log");
    ground.docker(&["volume", "rm", "shop"]);
    assert_eq!(
        ground.docker(&["volume", "ls", "--quiet", "--filter", &format!("driver={}", ground.driver)]),
        ""
    );
    let volumes = ground.home.path().join("store/volumes");
    let [volume] = fs::read_dir(volumes).unwrap().collect::<Result<Vec<_>, _>>().unwrap().try_into().unwrap();
    let trees = fs::read_dir(volume.path().join("data")).unwrap();
    let kept = trees.filter_map(|tree| fs::read_to_string(tree.unwrap().path().join("log")).ok());
    assert_eq!(kept.collect::<Vec<_>>(), ["precious\n"]);
    ground.create("shop", &[]);
    assert_eq!(ground.run("shop:/data", "ls /data"), "", "a new volume of the name holds the old one's data");
}

fn read_only_state(mut ground: Ground) {
    ground.plugin.stop();
    let state = ground.home.path().join("state");
    let mounted = Mounted::new(&state);
    ground.plugin.launch();
    ground.create("shop", &[]);
    mounted.remount_read_only();
    let refused = ground.refused(&["volume", "create", "-d", &ground.driver, "other"]);
    assert!(refused.contains("state directory") && refused.contains("--state"), "{refused}");
    assert_eq!(ground.run("shop:/data", "echo it runs"), "it runs");
    ground.plugin.stop();
    ground.plugin.launch();
    assert_eq!(ground.run("shop:/data", "echo it runs"), "it runs");
    ground.plugin.kill();
}

fn memory(ground: Ground) {
    /// What an idle plugin may take.
    const RESIDENT_MAX_BYTES: u64 = 30_000_000;
    for number in 0..100 {
        let name = format!("volume-{number}");
        ground.plugin.ask("Create", json!({ "Name": name })).unwrap();
        ground.plugin.ask("Mount", json!({ "Name": name, "ID": "container" })).unwrap();
    }
    let resident = resident(ground.plugin.pid());
    println!("resident with a hundred volumes: {:.1} MB", resident as f64 / 1e6);
    assert!(cfg!(debug_assertions) || resident < RESIDENT_MAX_BYTES, "{resident} bytes");
}

/// The resident memory of a process, in bytes (proc_pid_status(5), `VmRSS`).
fn resident(process: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A filesystem of its own in memory, unmounted when this is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(at: &'a Path) -> Self {
        mount(Command::new("mount").args(["-t", "tmpfs", "persist-test"]).arg(at));
        Self(at)
    }

    fn remount_read_only(&self) {
        mount(Command::new("mount").args(["-o", "remount,ro"]).arg(self.0));
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        mount(Command::new("umount").arg("-l").arg(self.0));
    }
}

fn mount(command: &mut Command) {
    runtimes::run(command).and_then(runtimes::Said::well).unwrap();
}
