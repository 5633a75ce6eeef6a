//! What a volume of the plugin costs a `docker run`, beside a plain bind mount; and what a call costs beside a
//! thousand volumes and a hundred calls. As root, with Docker:
//!
//! `cargo bench -p docker-volume-plugin`

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use docker_volume_plugin::{Plugin, Server, Settings, client, known::Known, stores::Opener};
use futures::{FutureExt, StreamExt};
use persist::{OpenMode, OpenOptions, VolumeStore, local::LocalStore};
use runtimes::{Dockerd, IMAGE, Said, run};
use serde_json::json;
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

const PAIRS: usize = 30;
const VOLUMES: usize = 1000;
const AT_ONCE: usize = 100;

type Counted = Arc<OnceLock<Arc<LocalStore>>>;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let driver = format!("persist-bench-{}", std::process::id());
    let socket = PathBuf::from(format!("/run/docker/plugins/{driver}.sock"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let counted = Counted::default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (plugin, server) = plugin(home.path(), &socket, &counted);
    let serving = runtime.spawn(async { server.serve(plugin, stopped.map(drop)).await });
    println!("resident when it serves: {} KiB", resident_kib());
    runtime.block_on(calls(&socket));
    containers(home.path(), &driver, &counted);
    stop.send(()).unwrap();
    runtime.block_on(serving).unwrap().unwrap();
}

fn plugin(home: &Path, socket: &Path, counted: &Counted) -> (Arc<Plugin>, Server) {
    let node = persist::this_host().unwrap();
    let settings = Settings {
        default_store: Some(format!("local://{}", home.join("store").display()).parse().unwrap()),
        open_mode: OpenMode::CreateIfMissing,
        node: node.clone(),
        change_limit: Duration::from_secs(60),
        look_limit: Duration::from_secs(60),
    };
    let counted = Arc::clone(counted);
    let opener: Opener = Arc::new(move |url, mode| {
        let options = OpenOptions::default().with_mode(mode).with_node(node.clone());
        let counted = Arc::clone(&counted);
        async move {
            let store = Arc::new(persist::local::open_local(&url, options).await?);
            Ok(counted.get_or_init(|| store).clone() as Arc<dyn VolumeStore>)
        }
        .boxed()
    });
    let known = Known::open(&home.join("state")).unwrap();
    (Plugin::new(settings, known, opener), Server::bind(socket).unwrap())
}

/// Mount and Unmount: alone, beside a thousand volumes, and a hundred at once.
async fn calls(socket: &Path) {
    let mount = async |number: usize| {
        let started = Instant::now();
        let request = json!({ "Name": format!("volume-{number}"), "ID": "bench" });
        for call in ["VolumeDriver.Mount", "VolumeDriver.Unmount"] {
            client::call(socket, call, &request).await.unwrap();
        }
        started.elapsed()
    };
    let create = async |number: usize| {
        let request = json!({ "Name": format!("volume-{number}") });
        client::call(socket, "VolumeDriver.Create", &request).await.unwrap();
    };
    create(0).await;
    let mut alone = Vec::new();
    for _ in 0..PAIRS {
        alone.push(mount(0).await);
    }
    println!("Mount and Unmount, one volume: median {:?}", median(alone));
    futures::stream::iter(1..VOLUMES).for_each_concurrent(AT_ONCE, create).await;
    let mut beside = Vec::new();
    for number in 0..PAIRS {
        beside.push(mount(number).await);
    }
    println!("Mount and Unmount, beside {VOLUMES} volumes: median {:?}", median(beside));
    let started = Instant::now();
    let at_once = futures::future::join_all((0..AT_ONCE).map(mount)).await;
    println!("resident with {VOLUMES} volumes: {} KiB", resident_kib());
    println!("{AT_ONCE} at once: median {:?}, all in {:?}", median(at_once), started.elapsed());
}

/// Memory of this process, which is the plugin (proc_pid_status(5)).
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Pairs of `docker run`, one with a volume of the plugin and one with a plain bind.
fn containers(home: &Path, driver: &str, counted: &Counted) {
    let dockerd = Dockerd::start(&[]).unwrap();
    dockerd.call(["volume", "create", "-d", driver, "shop"]).and_then(Said::well).unwrap();
    let plain = home.join("plain");
    std::fs::create_dir(&plain).unwrap();
    let time = |mount: &str| {
        let started = Instant::now();
        run(dockerd.run().args(["-v", mount, IMAGE, "true"])).and_then(Said::well).unwrap();
        started.elapsed()
    };
    let bind = format!("{}:/data", plain.display());
    let store = counted.get().unwrap();
    let (mut with, mut without, before) = (Vec::new(), Vec::new(), store.fsyncs());
    for _ in 0..PAIRS {
        with.push(time("shop:/data"));
        without.push(time(&bind));
    }
    let fsyncs = (store.fsyncs() - before) as f64 / PAIRS as f64;
    let fsync = median((0..PAIRS).map(|_| fsync(home)).collect());
    let syncfs = median((0..PAIRS).map(|_| syncfs(home)).collect());
    let (with, without) = (median(with), median(without));
    let flushed = fsyncs * fsync.as_secs_f64() + syncfs.as_secs_f64();
    let beyond = (with.as_secs_f64() - without.as_secs_f64() - flushed) * 1e3;
    println!("docker run, {PAIRS} pairs: median with a volume {with:?}, with a bind {without:?}");
    println!("each: {fsyncs:.1} fsyncs of {fsync:?}, one syncfs of {syncfs:?}; beyond them {beyond:.1} ms");
}

/// What a detach waits for: it flushes the filesystem, with whatever others have written to it.
fn syncfs(home: &Path) -> Duration {
    let mut file = File::create(home.join("file")).unwrap();
    file.write_all(b"x").unwrap();
    let started = Instant::now();
    rustix::fs::syncfs(&file).unwrap();
    started.elapsed()
}

fn fsync(home: &Path) -> Duration {
    let mut file = File::create(home.join("file")).unwrap();
    file.write_all(b"x").unwrap();
    let started = Instant::now();
    file.sync_all().unwrap();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
