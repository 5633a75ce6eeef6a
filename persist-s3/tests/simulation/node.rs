//! A node: its workspace, and the runtime that its opened store lives and dies with.

use persist_core::{
    AttachOptions, Attachment, ErrorKind, Liveness, Node as NodeOf, NodeId, OpenMode, OpenOptions, Result,
    Takeover, VolumeName, VolumeStore, Vouch, Workload,
    clock::{Clock, Environment, ManualClock, SystemEnvironment},
    holder::BootId,
};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{future::Future, path::Path, sync::Arc, time::Duration};
use tokio::runtime::{Builder, Runtime};

pub const BUCKET: &str = "bucket";
pub const PREFIX: &str = "store";

/// A node, and the life of its process if it lives.
pub struct Node {
    pub name: &'static str,
    pub life: Option<Life>,
}

/// An opened store on a runtime of its own, whose time is paused.
pub struct Life {
    pub attachment: Option<Attachment>,
    pub store: S3Store,
    pub runtime: Runtime,
}

impl Node {
    pub fn new(name: &'static str) -> Self {
        Self { name, life: None }
    }

    /// Opens the store; a node that lives is as it was.
    ///
    /// # Errors
    /// As the store gives them.
    pub fn open(&mut self, server: &Server, nodes: &Path) -> Result<()> {
        if self.life.is_some() {
            return Ok(());
        }
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let store = runtime.block_on(in_time(opened(server, nodes, self.name)))?;
        self.life = Some(Life { attachment: None, store, runtime });
        Ok(())
    }

    /// The end of its process, at once: no task of it goes on.
    pub fn crash(&mut self) {
        if let Some(Life { attachment, store, runtime }) = self.life.take() {
            drop(runtime);
            drop((attachment, store));
        }
    }
}

/// A server in this process, whose objects are in memory.
pub fn server() -> Server {
    Server::in_memory(ServerOptions::new(BUCKET, KeyPair::new("access", "secret")))
}

/// Attaches, and vouches for the death of whoever is in the way.
///
/// # Errors
/// As the store gives them.
pub async fn attach_over(store: &dyn VolumeStore, volume: &VolumeName) -> Result<Attachment> {
    let refused = match store.attach(volume, workload(Takeover::Never)).await {
        Err(error) if error.kind() == ErrorKind::InUse => error,
        done => return done,
    };
    let [holder] = refused.holders() else { return Err(refused) };
    let vouch = Vouch::new(holder.attachment.clone(), holder.epoch, "it is cut off");
    store.attach(volume, workload(Takeover::Vouched(vouch))).await
}

impl Life {
    /// Runs `call` to its end.
    pub fn run<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(in_time(call))
    }
}

/// Runs `call` in paused time. Such time stands still while a blocking thread works, also where that waits for a
/// request that is repeated after a pause: then it is moved on from here.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let (beat, mut beats) = tokio::sync::mpsc::channel(1);
    // Ends once nobody hears it any more.
    std::thread::spawn(move || {
        while beat.blocking_send(()).is_ok() {
            std::thread::park_timeout(BEAT);
        }
    });
    let moved = async {
        while beats.recv().await.is_some() {
            tokio::time::advance(MOVED_BY).await;
        }
    };
    tokio::select! {
        biased;
        done = call => done,
        () = moved => unreachable!("the beats end with the call"),
    }
}

/// How often time is moved on, and by how much: the pauses between repetitions are some of the latter.
const BEAT: Duration = Duration::from_millis(2);
const MOVED_BY: Duration = Duration::from_millis(100);

async fn opened(server: &Server, nodes: &Path, name: &str) -> Result<S3Store> {
    let mut config = S3Config::new(BUCKET);
    (config.endpoint, config.prefix) = (Some("http://in.process".into()), PREFIX.into());
    config.transport = Transport::PlainAllowed;
    config.workspace = Some(nodes.join(name));
    let clock = ManualClock::at(SystemEnvironment.now());
    let environment = Environment { clock: Arc::new(clock), ..Environment::default() };
    let s3 = S3Options::default()
        .with_credentials(Credentials::keys("access", "secret"))
        .with_connector(server.connector());
    let options = OpenOptions::default()
        .with_mode(OpenMode::CreateIfMissing)
        .with_node(NodeOf::new(NodeId::new(name)?, BootId::new("boot")?))
        .with_environment(environment)
        .with_extension(s3);
    S3Store::open(config, options).await
}

/// The one workload, whose death only the caller knows: no lease runs out here.
pub fn workload(takeover: Takeover) -> AttachOptions {
    let options = AttachOptions::default().with_workload(Workload::new("script").unwrap());
    options.with_liveness(Liveness::External).with_takeover(takeover)
}
