//! A store in a bucket of a server in this process, opened by any node with a workspace of its own.

mod place;

use async_trait::async_trait;
use persist_core::{Node, OpenOptions, Result, VolumeStore, clock::ManualClock, conformance::Subject};
use persist_s3::{Credentials, S3Config, S3Options, S3Store, config::Transport};
use persist_s3_server::{KeyPair, Server, ServerOptions};
use place::Place;
use std::{path::Path, sync::Arc};

pub const BUCKET: &str = "bucket";

/// A bucket, and the directories of its nodes.
pub struct OnServer {
    /// What was asked of it, by its log.
    pub server: Server,
    place: Place,
}

impl OnServer {
    /// A fresh bucket.
    pub fn new() -> Self {
        Self { server: Server::in_memory(ServerOptions::new(BUCKET, keys())), place: Place::new() }
    }

    /// The configuration of a node.
    pub fn config(&self, node: &str) -> S3Config {
        let mut config = S3Config::new(BUCKET);
        (config.endpoint, config.prefix) = (Some("http://in.process".into()), "store".into());
        config.transport = Transport::PlainAllowed;
        self.place.config(config, node)
    }

    /// What a store is opened with.
    pub fn options(&self, node: Node) -> OpenOptions {
        let credentials = Credentials::keys("access", "secret");
        let s3 = S3Options::default().with_credentials(credentials).with_connector(self.server.connector());
        self.place.options(node, s3)
    }
}

fn keys() -> KeyPair {
    KeyPair::new("access", "secret")
}

#[async_trait]
impl Subject for OnServer {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        let config = self.config(node.id.as_str());
        let store = S3Store::open(config, self.options(node)).await?;
        Ok(Arc::new(store))
    }

    fn scratch(&self) -> &Path {
        self.place.path()
    }

    fn clock(&self) -> &ManualClock {
        &self.place.clock
    }
}
