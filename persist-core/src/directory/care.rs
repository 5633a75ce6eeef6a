//! Looking after a store: how it is, what it uses, whether everything can be read.

mod health;
pub(super) mod measure;
mod read;
mod usage;
mod verify;

use super::{
    engine::Engine,
    stored::Located,
    volumes::{each_name, names},
};
use crate::{
    care::{Health, HealthStatus, Usage, UsageOptions, VerifyOptions, VerifyReport, View},
    error::{Error, ErrorKind, Result},
    id::VolumeId,
    progress::CallOptions,
};
use std::{ffi::OsString, ops::ControlFlow, sync::Arc, time::Duration};

/// How long `health` waits for the place: a busy one answers within it, and an operator does not wait
/// longer for "it does not answer".
const HEALTH_BOUND: Duration = Duration::from_secs(5);

impl Engine {
    pub(crate) async fn health(self: &Arc<Self>) -> Result<Vec<Health>> {
        let engine = Arc::clone(self);
        let call = CallOptions::default().with_deadline(HEALTH_BOUND);
        let looked = self.calls.run(&call, move |meter| Ok(health::look(&engine, meter)));
        Ok(match tokio::time::timeout(HEALTH_BOUND, looked).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => vec![health::bad("store-closed", error.to_string())],
            Err(_elapsed) => {
                let message = format!("the place has not answered within {HEALTH_BOUND:?}");
                vec![health::bad("store-unreachable", message)]
            }
        })
    }

    pub(crate) async fn usage(self: &Arc<Self>, options: UsageOptions) -> Result<Usage> {
        let engine = Arc::clone(self);
        let UsageOptions { call, volume } = options;
        self.calls.run(&call, move |meter| usage::count(&engine, volume.as_ref(), meter)).await
    }

    pub(crate) async fn verify(self: &Arc<Self>, options: VerifyOptions) -> Result<VerifyReport> {
        let engine = Arc::clone(self);
        let VerifyOptions { call, volume } = options;
        self.calls.run(&call, move |meter| verify::verify(&engine, volume.as_ref(), meter)).await
    }

    /// Calls `visit` with each volume that has a directory, in the order of their ids: found, not readable,
    /// or (`NotFound`) without a record. The name is given for what is no volume.
    fn each_located(&self, mut visit: impl FnMut(&OsString, Result<Located>) -> Result<()>) -> Result<()> {
        let mut result = Ok(());
        each_name(&self.layout.volumes(), None, |name| {
            let id = name.to_str().and_then(VolumeId::parse);
            let found = id.ok_or_else(foreign).and_then(|id| self.locate_id(&id));
            result = visit(name, found);
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result
    }
}

fn foreign() -> Error {
    Error::new(ErrorKind::Corrupt, "something that is not ours is in the store").advise("move it away")
}
