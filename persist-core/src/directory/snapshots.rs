//! Lands next.
#![allow(unused)]

use super::engine::Engine;
use crate::{
    attachment::*, capability::*, care::*, error::*, name::*, quiesce::*, snapshot::*, tree::*, volume::*,
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) async fn snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: SnapshotOptions,
    ) -> Result<SnapshotReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) fn snapshots(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: ListOptions,
    ) -> BoxStream<'static, Result<SnapshotRecord>> {
        futures::stream::empty().boxed()
    }

    pub(crate) async fn open_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
    ) -> Result<Arc<dyn TreeSource>> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn delete_snapshot(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: DeleteSnapshotOptions,
    ) -> Result<Outcome> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn restore(
        self: &Arc<Self>,
        volume: &VolumeName,
        snapshot: &SnapshotName,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        Err(Error::internal("not landed yet"))
    }
}
