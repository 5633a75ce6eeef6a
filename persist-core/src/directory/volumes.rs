//! Volumes: created, found, listed, changed, deleted.

mod build;
mod create;
mod delete;
mod list;
mod root;
mod source;
#[cfg(test)]
mod tests;
mod update;

pub(super) use build::dress;
pub(super) use delete::{check_free, end, names};
pub(super) use list::each_name;
pub(super) use root::Attributes;

use super::engine::Engine;
use crate::{
    error::Result,
    name::VolumeName,
    progress::CallOptions,
    volume::{
        CreateOptions, CreateReport, DeleteOptions, DeleteReport, ListOptions, UpdateOptions, UpdateReport,
        VolumeRecord,
    },
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) async fn create(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: CreateOptions,
    ) -> Result<CreateReport> {
        let (engine, volume, call) = (Arc::clone(self), volume.clone(), options.call.clone());
        self.calls.run(&call, move |meter| create::create(&engine, &volume, &options, meter)).await
    }

    pub(crate) async fn get(self: &Arc<Self>, volume: &VolumeName) -> Result<VolumeRecord> {
        let (engine, volume) = (Arc::clone(self), volume.clone());
        let get = move |_: &_| engine.locate(&volume).map(|found| found.stored.volume);
        self.calls.run(&CallOptions::default(), get).await
    }

    pub(crate) fn list(self: &Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        let engine = Arc::clone(self);
        self.calls.stream(move |output| list::list(&engine, &options, output)).boxed()
    }

    pub(crate) async fn update(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: UpdateOptions,
    ) -> Result<UpdateReport> {
        let (engine, volume) = (Arc::clone(self), volume.clone());
        let update = move |meter: &_| update::update(&engine, &volume, &options, meter);
        self.calls.run(&CallOptions::default(), update).await
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: DeleteOptions,
    ) -> Result<DeleteReport> {
        let (engine, volume, call) = (Arc::clone(self), volume.clone(), options.call.clone());
        self.calls.run(&call, move |meter| delete::delete(&engine, &volume, &options, meter)).await
    }
}
