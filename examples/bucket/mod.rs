//! The bucket of the object store examples: of an S3 server in this process, so that they run with no set-up,
//! or the one whose URL is the first argument, with the AWS variables for its credentials.

use persist::{
    Node, NodeId, OpenMode, OpenOptions, StoreUrl, VolumeStore,
    s3::{Credentials, S3Options},
};
use persist_s3_server::{KeyPair, Server, ServerOptions, Verb};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// A bucket, and hosts that use it: each is a directory here, as it would be a machine elsewhere.
pub(crate) struct Bucket {
    url: String,
    server: Option<Server>,
    hosts: TempDir,
}

impl Bucket {
    /// The bucket that the first argument names, without `workspace=`: every host has one of its own.
    pub(crate) fn from_arguments() -> Outcome<Self> {
        let given = std::env::args().nth(1);
        // Not the usual directory for temporary files: that is often in memory, where no workspace may be.
        let hosts = tempfile::Builder::new().prefix("persist-example-").tempdir_in("/var/tmp")?;
        let server = given.is_none().then(|| {
            Server::in_memory(ServerOptions::new("persist", KeyPair::new("example", "not-a-secret")))
        });
        let here = || "s3://persist/examples?endpoint=http://in.process&allow_http=true".to_owned();
        Ok(Self { url: given.unwrap_or_else(here), server, hosts })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The store as `host` opens it, which has a name and a directory of its own, and shares the bucket.
    pub(crate) async fn open(&self, host: &str) -> Outcome<Arc<dyn VolumeStore>> {
        let node = Node::new(NodeId::new(host)?, persist::this_host()?.boot);
        let options = OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_state_directory(self.directory_of(host));
        let url: StoreUrl = self.url.parse()?;
        match &self.server {
            Some(server) => {
                let keys = Credentials::keys("example", "not-a-secret");
                let s3 = S3Options::default().with_credentials(keys).with_connector(server.connector());
                Ok(persist::s3::open(&url, options.with_extension(s3)).await?)
            }
            None => Ok(persist::s3::open_by_variables(&url, options, std::env::var_os).await?),
        }
    }

    /// Where `host` keeps its copies.
    pub(crate) fn directory_of(&self, host: &str) -> PathBuf {
        self.hosts.path().join(host)
    }

    /// What went to the bucket and came from it since this was asked last; only a server here can say.
    pub(crate) fn moved(&self) -> String {
        let Some(server) = &self.server else { return "requests: see the service's own count".into() };
        let counts = server.log().counts();
        let of = |verb| counts.iter().filter(|((seen, _), _)| *seen == verb).map(|(_, n)| n.requests).sum();
        let (puts, gets, lists): (u64, u64, u64) = (of(Verb::Put), of(Verb::Get), of(Verb::List));
        let others = counts.values().map(|n| n.requests).sum::<u64>() - puts - gets - lists;
        let up: u64 = counts.values().map(|n| n.received).sum();
        let down: u64 = counts.values().map(|n| n.sent).sum();
        server.log().reset();
        let kib = |bytes: u64| bytes.div_ceil(1024);
        format!(
            "{puts} PUT, {gets} GET, {lists} LIST, {others} other requests; {} KiB up, {} KiB down",
            kib(up),
            kib(down)
        )
    }
}
