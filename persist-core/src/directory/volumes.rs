//! Lands next.
#![allow(unused)]

use super::engine::Engine;
use crate::{
    attachment::*, capability::*, care::*, error::*, name::*, quiesce::*, snapshot::*, tree::*, volume::*,
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) async fn create(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: CreateOptions,
    ) -> Result<CreateReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn get(self: &Arc<Self>, volume: &VolumeName) -> Result<VolumeRecord> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) fn list(self: &Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        futures::stream::empty().boxed()
    }

    pub(crate) async fn update(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: UpdateOptions,
    ) -> Result<UpdateReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: DeleteOptions,
    ) -> Result<DeleteReport> {
        Err(Error::internal("not landed yet"))
    }
}
