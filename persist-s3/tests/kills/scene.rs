//! A server as a process, whose objects are in files, and nodes with workspaces of their own.

use persist_core::{
    AttachOptions, Attachment, Error, ErrorKind, Liveness, Node, NodeId, OpenMode, OpenOptions, Result,
    Takeover, VolumeName, VolumeStore, Vouch, Workload, holder::BootId,
};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
};
use tempfile::TempDir;

/// The first argument of a server.
pub const MARK: &str = "--as-server";

const BUCKET: &str = "bucket";

/// The shortest ttl that a configuration takes (`persist-s3/src/config/check.rs`): a paused writer is to lose
/// its lease soon.
const TTL_SECONDS: u64 = 5;

/// The directories of a server and of its nodes.
pub struct Scene {
    directory: TempDir,
}

/// A server as a process; killed when it is dropped.
pub struct Running {
    process: Child,
    url: String,
}

impl Scene {
    pub fn new() -> Self {
        // A workspace is refused in memory, which a temporary directory may be.
        Self { directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() }
    }

    /// Starts the server, on the port of `before` if there was one.
    pub fn serve(&self, before: Option<&Running>) -> Running {
        let port = before.map_or("0", |server| server.url.rsplit(':').next().unwrap());
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([MARK, port])
            .arg(self.directory.path().join("objects"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(url.starts_with("http://"), "the server did not start");
        Running { process, url: url.trim().to_owned() }
    }

    /// The directory of the nodes' workspaces.
    pub fn nodes(&self) -> PathBuf {
        self.directory.path().join("nodes")
    }
}

impl Running {
    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server itself: its port and its directory are its arguments.
pub fn server(mut words: impl Iterator<Item = String>) -> ExitCode {
    let port: u16 = words.next().unwrap().parse().unwrap();
    let server = Server::in_files(PathBuf::from(words.next().unwrap()), served()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        server.serve(listener, std::future::pending()).await.unwrap();
    });
    ExitCode::SUCCESS
}

/// What any server here serves.
pub fn served() -> ServerOptions {
    ServerOptions::new(BUCKET, KeyPair::new("access", "secret"))
}

/// Opens the store at `url` as `node`, whose workspace is below `nodes`.
///
/// # Errors
/// As the store gives them.
pub async fn open(url: &str, nodes: &Path, node: &str) -> Result<S3Store> {
    let mut config = S3Config::new(BUCKET);
    (config.endpoint, config.transport) = (Some(url.to_owned()), Transport::PlainAllowed);
    config.workspace = Some(nodes.join(node));
    config.lease_ttl_seconds = TTL_SECONDS;
    let options = OpenOptions::default()
        .with_mode(OpenMode::CreateIfMissing)
        .with_node(Node::new(NodeId::new(node)?, BootId::new("boot")?))
        .with_extension(S3Options::default().with_credentials(Credentials::keys("access", "secret")));
    S3Store::open(config, options).await
}

/// One workload that outlives its processes: each new one takes up what the last one left. `liveness` is what
/// proves it dead: nothing that a host sees, or the end of its process.
pub fn workload(liveness: Liveness) -> AttachOptions {
    AttachOptions::default().with_workload(Workload::new("script").unwrap()).with_liveness(liveness)
}

/// Attaches, and vouches for the death of whoever is in the way: the caller has killed it.
///
/// # Errors
/// As the store gives them.
pub async fn attach_after_a_death(store: &dyn VolumeStore, volume: &VolumeName) -> Result<Attachment> {
    let refused =
        match store.attach(volume, workload(Liveness::External).with_takeover(Takeover::Never)).await {
            Err(error) if error.kind() == ErrorKind::InUse => error,
            done => return done,
        };
    let [holder] = refused.holders() else { panic!("not one holder: {refused}") };
    let vouch = Vouch::new(holder.attachment.clone(), holder.epoch, "it was killed");
    store.attach(volume, workload(Liveness::External).with_takeover(Takeover::Vouched(vouch))).await
}

/// What a script could not do to its files, as an error of the store.
pub fn as_error(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the script could not write").with_source(error)
}

pub fn vol(name: &str) -> VolumeName {
    VolumeName::new(name).unwrap()
}
