//! Lands next.
#![allow(unused)]

use super::engine::Engine;
use crate::{
    attachment::*, capability::*, care::*, error::*, name::*, quiesce::*, snapshot::*, tree::*, volume::*,
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) async fn health(self: &Arc<Self>) -> Result<Vec<Health>> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn usage(self: &Arc<Self>, options: UsageOptions) -> Result<Usage> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn verify(self: &Arc<Self>, options: VerifyOptions) -> Result<VerifyReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn prune(self: &Arc<Self>, options: PruneOptions) -> Result<PruneReport> {
        Err(Error::internal("not landed yet"))
    }
}
