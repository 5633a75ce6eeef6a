//! The socket: who may connect, for how long, how many, and how it ends.

use crate::{Plugin, routes::router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use persist::{Error, ErrorKind, Result, linux::cause::cause};
use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

/// Where Docker looks for plugins (<https://docs.docker.com/engine/extend/plugin_api/>); the file's name is
/// the driver's.
pub const DEFAULT_SOCKET: &str = "/run/docker/plugins/persist.sock";

/// Connections at once. Docker keeps a few; what is more waits in the socket's queue.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection may be idle, or the head of a request take: half-open sockets go.
const HEAD_LIMIT: Duration = Duration::from_secs(30);

/// How long accepting pauses after an error: the process may be out of descriptors (accept(2), EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that nobody is served on yet.
#[derive(Debug)]
pub struct Server {
    listener: net::UnixListener,
    path: PathBuf,
}

impl Server {
    /// Makes the socket, which only this process' user may connect to. What a killed plugin left there is
    /// replaced. Blocks.
    ///
    /// # Errors
    /// `InUse` if another plugin listens there; `Conflict` if something is there that is not a socket; else as
    /// the system reports them.
    pub fn bind(path: &Path) -> Result<Self> {
        let named = |e: io::Error| cause(e, "listen at", path.display());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(named)?;
        }
        make_room(path)?;
        let listener = net::UnixListener::bind(path).map_err(named)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(named)?;
        listener.set_nonblocking(true).map_err(named)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until `stop`; then takes no new connection, lets the calls under way end, and closes the stores.
    ///
    /// # Errors
    /// As the system reports them for the socket.
    pub async fn serve(self, plugin: Arc<Plugin>, stop: impl Future<Output = ()>) -> Result<()> {
        let listener =
            UnixListener::from_std(self.listener).map_err(|e| cause(e, "listen at", self.path.display()))?;
        let (connections, tasks) = (GracefulShutdown::new(), TaskTracker::new());
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let router = TowerToHyperService::new(router(Arc::clone(&plugin)));
        tracing::info!(socket = %self.path.display(), "ready");
        let accepting = async {
            while let Ok(permit) = Arc::clone(&free).acquire_owned().await {
                let Some(stream) = accept(&listener).await else { continue };
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_LIMIT)
                    .serve_connection(TokioIo::new(stream), router.clone());
                let connection = connections.watch(connection);
                tasks.spawn(async move {
                    // A client that went away is no event.
                    let _ = connection.await;
                    drop(permit);
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = stop => tracing::info!("stopping: no new calls"),
        }
        drop(listener);
        // Whoever comes next may have it already.
        let _ = fs::remove_file(&self.path);
        if tokio::time::timeout(plugin.patience(), connections.shutdown()).await.is_err() {
            tracing::warn!("connections do not end: left to the end of this process");
        }
        plugin.close().await;
        Ok(())
    }
}

async fn accept(listener: &UnixListener) -> Option<UnixStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "a connection is not accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Removes a socket that nobody listens at.
fn make_room(path: &Path) -> Result<()> {
    let there = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(|e| cause(e, "look at", path.display()))?,
    };
    if !there.file_type().is_socket() {
        return Err(Error::conflict("something is there that is not a socket", Vec::new())
            .during("listen at", path.display())
            .advise("move it away, or give another path by --socket"));
    }
    match net::UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|e| cause(e, "unlink", path.display()))
        }
        Err(e) => Err(cause(e, "connect to", path.display())),
        Ok(_) => Err(Error::new(ErrorKind::InUse, "another plugin listens there")
            .during("listen at", path.display())
            .advise("stop it, or give another path by --socket")),
    }
}
