//! A writer killed at each of its requests: before the server has applied it, and after.

use super::{
    child::{self, Orders, Said},
    known::Known,
    scene::{self, Scene, vol},
    tree,
};
use libtest_mimic::{Failed, Trial};
use persist_core::{CreateOptions, Liveness, Result, VolumeStore};
use persist_s3::S3Store;
use persist_s3_server::{Broken, Fault, Rule, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

/// Kills in the plain test command, spread over all requests.
const KILLS: u64 = 12;

/// Syncs, a snapshot, and a detach.
const STEPS: u64 = 4;

pub fn trials() -> Vec<Trial> {
    let name = "requests::nothing_acknowledged_is_lost_if_the_writer_is_killed_at_a_request";
    vec![Trial::test(name, each)]
}

fn each() -> Result<(), Failed> {
    let served = Served::start()?;
    let undisturbed = served.counted()?;
    let apart = if super::kills(0) > 0 { 1 } else { (2 * undisturbed).div_ceil(KILLS) };
    let mut kills = 0;
    for point in (0..2 * undisturbed).step_by(usize::try_from(apart)?) {
        let (number, applied) = (point / 2 + 1, point % 2 == 1);
        let lost = if applied { Fault::LostReply(Broken::Reset) } else { Fault::LostRequest(Broken::Reset) };
        served.killed_at(number, lost).map_err(|e| format!("request {number}, {lost:?}: {e}"))?;
        kills += 1;
    }
    println!("{kills} kills at {undisturbed} requests");
    Ok(())
}

/// A server in this process, on a socket: its faults know the request at which somebody dies.
struct Served {
    server: Server,
    url: String,
    scene: Scene,
    looker: S3Store,
    runtime: tokio::runtime::Runtime,
}

impl Served {
    fn start() -> Result<Self, Failed> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (server, scene) = (Server::in_memory(scene::served()), Scene::new());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = server.clone();
        // Ends with the runtime.
        runtime.spawn(async move { serving.serve(listener, std::future::pending()).await });
        let looker = runtime.block_on(scene::open(&url, &scene.nodes(), "looker"))?;
        Ok(Self { server, url, scene, looker, runtime })
    }

    fn orders(&self, volume: &str, first: u64) -> Orders {
        Orders {
            url: self.url.clone(),
            nodes: self.scene.nodes(),
            node: "writer",
            volume: volume.to_owned(),
            liveness: Liveness::External,
            first,
            steps: STEPS,
            detach_every: child::DETACH_EVERY,
        }
    }

    /// How many requests a writer makes that nobody disturbs.
    fn counted(&self) -> Result<u64, Failed> {
        self.runtime.block_on(self.looker.create(&vol("v0"), CreateOptions::default()))?;
        self.server.log().reset();
        let said = self.lived(self.orders("v0", 1).start());
        assert_eq!(said.last(), Some(&Said::Ended));
        Ok(self.server.log().counts().values().map(|count| count.requests).sum())
    }

    /// Kills a writer of a new volume at its request `number`; then another node looks, and a writer of the same
    /// node goes on to the end.
    fn killed_at(&self, number: u64, lost: Fault) -> Result<()> {
        let volume = format!("v{number}-{}", u8::from(matches!(lost, Fault::LostReply(_))));
        self.runtime.block_on(self.looker.create(&vol(&volume), CreateOptions::default()))?;
        let (seen, process) = (AtomicU64::new(0), Arc::new(AtomicI32::new(0)));
        let victim = Arc::clone(&process);
        let here = move |_: &_| {
            let here = seen.fetch_add(1, Ordering::Relaxed) + 1 == number;
            if let (true, Some(pid)) = (here, Pid::from_raw(victim.load(Ordering::Relaxed))) {
                kill_process(pid, Signal::KILL).unwrap();
            }
            here
        };
        self.server.faults().add(Rule::once("the writer is killed", lost, here));
        let child = self.orders(&volume, 1).start();
        process.store(i32::try_from(child.id()).unwrap(), Ordering::Relaxed);
        let said = self.lived(child);
        self.server.faults().clear();
        let mut known = Known::new();
        known.lived(&said, 1);
        self.runtime.block_on(self.look(&volume, &mut known))?;
        let said = self.lived(self.orders(&volume, 1 + STEPS).start());
        assert_eq!(said.last(), Some(&Said::Ended), "the next writer");
        known.lived(&said, 1 + STEPS);
        self.runtime.block_on(self.look(&volume, &mut known))
    }

    fn lived(&self, mut child: Child) -> Vec<Said> {
        let said = child::listen(&mut child).collect();
        let status = child.wait().unwrap();
        assert!(status.code().is_none_or(|code| code == 0), "{status}: {said:?}");
        said
    }

    async fn look(&self, volume: &str, known: &mut Known) -> Result<()> {
        let attachment = scene::attach_after_a_death(&self.looker, &vol(volume)).await?;
        known.found(tree::value_at(attachment.path()));
        for value in &known.snapshots {
            let name = child::snapshot_of(*value);
            assert_eq!(tree::value_of(&self.looker, &vol(volume), &name).await?, *value);
        }
        self.looker.detach(&attachment.id, Default::default()).await.map(drop)
    }
}
