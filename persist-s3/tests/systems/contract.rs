//! The conformance suite on a service: every promise of the contract.
//!
//! The full probe is of a bucket and an endpoint. It is run once: the other stores begin with the marker of the
//! first, which says that it was passed.

use super::{
    place::Place,
    service::Service,
    suite::{Shared, Suite},
};
use async_trait::async_trait;
use bytes::Bytes;
use libtest_mimic::Trial;
use object_store::{ObjectStoreExt, PutMode};
use persist_core::{
    Node, OpenMode, OpenOptions, Result, VolumeStore,
    clock::ManualClock,
    conformance::{Promise, Subject, promises},
};
use persist_s3::{
    S3Store,
    client::{Cause, Quirks},
};
use std::{path::Path, sync::Arc};

/// The key of a store's marker (`persist-s3/docs/operations.md`).
const MARKER: &str = "store";

/// One trial a promise.
pub fn trials(suite: &Suite) -> Vec<Trial> {
    let trial = |promise: &Promise| {
        let promise = *promise;
        suite.trial(&format!("{}::{}", promise.group, promise.name), move |service| {
            let (prefix, place, service) = (promise.name, Place::new(), Arc::clone(service));
            promise.check(Arc::new(OnService { prefix, place, service }));
        })
    };
    promises().iter().map(trial).collect()
}

/// A store below a prefix of its own, and its nodes.
struct OnService {
    prefix: &'static str,
    place: Place,
    service: Shared,
}

impl OnService {
    /// Gives the store the marker of a probed one, if it has none.
    async fn probed(&self) {
        let marker = self.service.marker.get_or_init(|| marker(&self.service)).await;
        let clients =
            self.service.clients(self.prefix).with_quirks(Quirks { if_match: self.service.if_match });
        let put = clients.head.put_opts(&MARKER.into(), marker.clone().into(), PutMode::Create.into()).await;
        assert!(put.as_ref().map_or_else(|e| Cause::of(e) == Cause::Conflict, |_| true), "{put:?}");
    }
}

async fn marker(service: &Service) -> Bytes {
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
    let options = options.with_extension(service.options());
    S3Store::open(service.config("first"), options).await.unwrap().close().await.unwrap();
    let marker = service.clients("first").head.get(&MARKER.into()).await.unwrap();
    marker.bytes().await.unwrap()
}

#[async_trait]
impl Subject for OnService {
    async fn open(&self, node: Node) -> Result<Arc<dyn VolumeStore>> {
        self.probed().await;
        let config = self.place.config(self.service.config(self.prefix), node.id.as_str());
        let options = self.place.options(node, self.service.options());
        Ok(Arc::new(S3Store::open(config, options).await?))
    }

    fn scratch(&self) -> &Path {
        self.place.path()
    }

    fn clock(&self) -> &ManualClock {
        &self.place.clock
    }
}
