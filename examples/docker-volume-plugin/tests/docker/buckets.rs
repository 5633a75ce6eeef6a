//! Two hosts on one object store: each with a daemon, a plugin and a directory of its own.

use crate::ground::Ground;
use persist_s3_server::{KeyPair, Server, ServerOptions};
use runtimes::{IMAGE, Planned, SHELL};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

pub fn trials() -> Vec<Planned> {
    let test = |name: &'static str, run: fn(Hosts)| {
        Planned::new("docker", name, &["dockerd", "docker", "busybox"], move || {
            run(Hosts::new());
            Ok(())
        })
    };
    vec![
        test("two_plugins_one_store_the_command_of_the_readme_does_what_it_says", readme),
        test("two_plugins_one_store_a_volume_follows_its_container", follows),
        test("two_plugins_one_store_a_killed_host_is_waited_out_and_its_work_is_a_salvage", waited_out),
        test("two_plugins_one_store_a_vouch_fences_a_host_that_writes_on", vouched_for),
    ]
}

/// A short lease: these tests wait for it.
const LEASE_SECONDS: u64 = 5;

struct Hosts {
    one: Ground,
    two: Ground,
    bucket: Bucket,
}

/// A server of the S3 protocol, for as long as this lives.
struct Bucket {
    url: String,
    _serving: Runtime,
}

impl Bucket {
    fn new() -> Self {
        let serving = Runtime::new().unwrap();
        let server = Server::in_memory(ServerOptions::new("bucket", KeyPair::new("key", "secret")));
        let listener = serving.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        serving.spawn(async move { server.serve(listener, std::future::pending()).await });
        let options = format!("allow_http=true&lease_ttl_seconds={LEASE_SECONDS}");
        Self { url: format!("s3://bucket/volumes?endpoint=http://{address}&{options}"), _serving: serving }
    }
}

impl Hosts {
    fn new() -> Self {
        let bucket = Bucket::new();
        let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        let host = |name| Ground::on(&bucket.url, &["--node", name], &keys);
        Self { one: host("one"), two: host("two"), bucket }
    }

    fn create(&self, options: &[&str]) {
        self.one.create("shop", options);
        self.two.create("shop", options);
    }
}

fn readme(hosts: Hosts) {
    let Hosts { one, two, bucket } = &hosts;
    for host in [one, two] {
        let names = [("s3://bucket/volumes", &*bucket.url)];
        assert_eq!(host.readme("Docker, on hosts that share an object store", &names), "shop");
    }
    one.run("shop:/data", "echo 3 apples > /data/orders");
    assert_eq!(two.run("shop:/data", "cat /data/orders"), "3 apples");
}

const RUN: [&str; 7] = ["run", "--rm", "--network", "none", "-v", "shop:/data", IMAGE];

fn follows(hosts: Hosts) {
    let Hosts { one, two, .. } = &hosts;
    hosts.create(&["owner=1234:5678", "label.team=a"]);
    let write = "dd if=/dev/urandom of=/data/big bs=1M count=3 2>/dev/null; mkdir /data/d; ln /data/big /data/d/same; \
                 ln -s ../big /data/d/link; echo 3 apples > /data/orders; chown 7:8 /data/orders";
    let look = "cd /data; stat -c '%n %u:%g %a %h %s %Y' . big d/same orders; sha256sum big; readlink d/link; cat orders";
    let before = one.run("shop:/data", &format!("{write}; {look}"));
    assert!(before.contains(". 1234:5678") && before.contains("big 0:0"), "{before}");
    assert!(status(one)["last_sync"].is_string());
    assert_eq!(two.run("shop:/data", look), before);
    two.run("shop:/data", "echo 5 pears > /data/orders");
    assert_eq!(one.run("shop:/data", "cat /data/orders"), "5 pears");
    // What lives is not taken away.
    one.start("holder", "shop:/data", "sleep 1000");
    let refused = two.refused(&[&RUN[..], &["true"]].concat());
    assert!(refused.contains("another holds the volume") && refused.contains("one"), "{refused}");
    let holders = status(two)["holders"].clone();
    assert_eq!(holders[0]["node"], "one", "{holders}");
    one.docker(&["rm", "--force", "holder"]);
    two.run("shop:/data", "true");
    two.docker(&["volume", "rm", "shop"]);
}

fn waited_out(hosts: Hosts) {
    let Hosts { mut one, two, bucket: _bucket } = hosts;
    let both = [&one, &two];
    both.iter().for_each(|host| host.create("shop", &[]));
    one.run("shop:/data", "echo synced > /data/log");
    let pid = writes(&one, "echo lost >> /data/log; echo > /data/there");
    one.dockerd.kill().unwrap();
    one.plugin.kill();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(two.run("shop:/data", "cat /data/log; echo two >> /data/log"), "synced");
    one.plugin.launch();
    one.dockerd.launch().unwrap();
    let salvage = salvaged(&one);
    let lost = status(&one)["holders"][0].clone();
    assert!(lost["lease"].as_str().unwrap().contains("another writer has taken over"), "{lost}");
    assert_eq!(salvaged(&two), salvage, "the other host shows it too");
    two.create("found", &[&format!("from-snapshot=shop@{salvage}")]);
    assert_eq!(two.run("found:/data", "cat /data/log"), "synced\nlost");
    // Docker has forgotten the claim: it is ended by hand, and the volume comes back as the other host left it.
    one.plugin.operate(&["release", "shop", lost["id"].as_str().unwrap()]).unwrap();
    assert_eq!(one.run("shop:/data", "cat /data/log"), "synced\ntwo");
}

fn vouched_for(hosts: Hosts) {
    let Hosts { mut one, two, bucket: _bucket } = hosts;
    for host in [&one, &two] {
        host.create("shop", &["lease=kept"]);
    }
    one.run("shop:/data", "echo synced > /data/log");
    writes(
        &one,
        "echo before >> /data/log; echo > /data/there; until test -e /data/go; do :; done; \
                  echo after >> /data/log; echo > /data/done",
    );
    one.plugin.kill();
    let refused = two.refused(&[&RUN[..], &["true"]].concat());
    assert!(refused.contains("another holds the volume"), "{refused}");
    let claims = two.plugin.operate(&["claims"]).unwrap();
    let words: Vec<_> = claims.split(' ').collect();
    let [_, _, _, node, _, attachment, epoch, ..] = words[..] else { panic!("{claims}") };
    assert_eq!(node, "one");
    let vouch = |epoch: &str| {
        two.plugin.operate(&["vouch", "shop", attachment, epoch, "--reason", "seen without power"])
    };
    let stale = vouch("0").unwrap_err().to_string();
    assert!(stale.contains("the holder has moved on"), "{stale}");
    vouch(epoch).unwrap();
    assert_eq!(two.run("shop:/data", "cat /data/log; echo two >> /data/log"), "synced");
    // It was not dead: its container writes on, and reaches nothing.
    one.docker(&["exec", "writer", SHELL, "-c", "echo > /data/go; until test -e /data/done; do :; done"]);
    one.plugin.launch();
    let salvage = salvaged(&one);
    assert_eq!(two.run("shop:/data", "cat /data/log"), "synced\ntwo");
    two.create("found", &[&format!("from-snapshot=shop@{salvage}")]);
    assert_eq!(two.run("found:/data", "cat /data/log"), "synced\nbefore\nafter");
    // Docker ends the claim, and the host has the volume again.
    one.docker(&["rm", "--force", "writer"]);
    assert_eq!(one.run("shop:/data", "cat /data/log"), "synced\ntwo");
}

/// Starts a container that has made `/data/there` when this returns, and gives its process.
fn writes(host: &Ground, script: &str) -> Pid {
    host.start("writer", "shop:/data", &format!("{script}; sleep 1000"));
    host.docker(&["exec", "writer", SHELL, "-c", "until test -e /data/there; do :; done"]);
    let pid = host.docker(&["inspect", "--format", "{{.State.Pid}}", "writer"]);
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

/// What `docker volume inspect` shows as the status of the volume.
fn status(host: &Ground) -> Value {
    let shown: Value = serde_json::from_str(&host.docker(&["volume", "inspect", "shop"])).unwrap();
    shown[0]["Status"].clone()
}

/// The one salvage that the host shows, once it does: a plugin takes up in the background.
fn salvaged(host: &Ground) -> String {
    loop {
        let shown = status(host)["salvage"].clone();
        match &shown.as_array().unwrap()[..] {
            [] => continue,
            [salvage] => return salvage.as_str().unwrap().to_owned(),
            more => panic!("{more:?}"),
        }
    }
}
