//! A plugin with its socket in a temporary directory, and what is asked of it.

use docker_volume_plugin::{
    Plugin, Server, Settings, client,
    known::Known,
    stores::{self, Opener},
};
use futures::FutureExt;
use persist::{Node, OpenMode, Result, VolumeStore};
use persist_core::testing::FaultStore;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// Longer than anything that is not meant to hang takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ground of a test: what outlives a plugin.
pub struct Ground(TempDir);

/// Stores whose calls are counted, by their URLs.
#[derive(Clone, Default)]
pub struct Counted(Arc<Mutex<HashMap<String, FaultStore>>>);

/// A plugin that serves.
pub struct Served {
    pub socket: PathBuf,
    pub plugin: Arc<Plugin>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<Result<()>>,
}

impl Ground {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// On a filesystem that is no memory: copies of an object store's volumes are refused there.
    pub fn on_a_device() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The URL of a store of this ground.
    pub fn url(&self, store: &str) -> String {
        format!("local://{}", self.path().join(store).display())
    }

    pub fn settings(&self) -> Settings {
        Settings {
            default_store: Some(self.url("store").parse().unwrap()),
            open_mode: OpenMode::CreateIfMissing,
            node: node(),
            change_limit: PATIENCE,
            look_limit: PATIENCE,
        }
    }

    pub fn facade(&self) -> Opener {
        stores::facade(node(), self.path().join("state"), |_| None)
    }

    /// Serves with the usual settings.
    pub fn serve(&self) -> Served {
        self.serve_with(self.settings(), self.facade())
    }

    pub fn serve_with(&self, settings: Settings, opener: Opener) -> Served {
        let known = Known::open(&self.path().join("state")).unwrap();
        let socket = self.path().join("plugin.sock");
        let server = Server::bind(&socket).unwrap();
        let plugin = Plugin::new(settings, known, opener);
        plugin.take_up();
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&plugin);
        let done = tokio::spawn(async move { server.serve(serving, async { drop(stopped.await) }).await });
        Served { socket, plugin, stop, done }
    }

    /// The store beside the plugin, as another program sees it.
    pub async fn store(&self) -> Arc<dyn VolumeStore> {
        persist::open(&self.url("store")).await.unwrap()
    }
}

impl Counted {
    /// Opens the stores with a counter around each.
    pub fn opener(&self, ground: &Ground) -> Opener {
        let (facade, all) = (ground.facade(), self.clone());
        Arc::new(move |url, mode| {
            let (name, opening, all) = (url.to_string(), facade(url, mode), all.clone());
            async move {
                let store = FaultStore::new(opening.await?);
                all.0.lock().unwrap().insert(name, store.clone());
                Ok(Arc::new(store) as Arc<dyn VolumeStore>)
            }
            .boxed()
        })
    }

    /// The store at `url`, which is open.
    pub fn store(&self, url: &str) -> FaultStore {
        self.0.lock().unwrap()[url].clone()
    }
}

impl Served {
    /// The answer, or the line of the refusal.
    pub async fn ask(&self, call: &str, request: Value) -> Result<Value, String> {
        ask(&self.socket, &format!("VolumeDriver.{call}"), request).await
    }

    /// As `ask`, for a call that is not Docker's.
    pub async fn ask_for(&self, endpoint: &str, request: Value) -> Result<Value, String> {
        ask(&self.socket, endpoint, request).await
    }

    pub async fn create(&self, name: &str, options: Value) -> Result<Value, String> {
        self.ask("Create", json!({ "Name": name, "Opts": options })).await
    }

    pub async fn mount(&self, name: &str, id: &str) -> Result<PathBuf, String> {
        let answer = self.ask("Mount", json!({ "Name": name, "ID": id })).await?;
        Ok(answer["Mountpoint"].as_str().unwrap().into())
    }

    pub async fn unmount(&self, name: &str, id: &str) -> Result<Value, String> {
        self.ask("Unmount", json!({ "Name": name, "ID": id })).await
    }

    pub async fn remove(&self, name: &str) -> Result<Value, String> {
        self.ask("Remove", json!({ "Name": name })).await
    }

    pub async fn status(&self, name: &str) -> Value {
        self.ask("Get", json!({ "Name": name })).await.unwrap()["Volume"]["Status"].clone()
    }

    /// Who has the volume, by the IDs of the claims, in order.
    pub async fn holders(&self, name: &str) -> Vec<String> {
        let status = self.status(name).await;
        let holders = status["holders"].as_array().unwrap().iter();
        let mut ids: Vec<_> = holders.map(|holder| holder["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Stops as SIGTERM does.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.done.await.unwrap().unwrap();
    }
}

async fn ask(socket: &Path, endpoint: &str, request: Value) -> Result<Value, String> {
    let (status, answer) = client::exchange(socket, endpoint, request.to_string().into()).await.unwrap();
    match answer["Err"].as_str() {
        None => {
            assert_eq!(status, 200, "{answer}");
            Ok(answer)
        }
        Some(line) => {
            assert!(status >= 400, "{status}: {line}");
            assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
            Err(line.to_owned())
        }
    }
}

pub fn node() -> Node {
    persist::this_host().unwrap()
}
