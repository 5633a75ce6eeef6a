//! Lands next.
#![allow(unused)]

use super::engine::Engine;
use crate::{
    attachment::*, capability::*, care::*, error::*, name::*, quiesce::*, snapshot::*, tree::*, volume::*,
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

/// What this opened store serves.
#[derive(Debug, Default)]
pub(crate) struct Served;

impl Served {
    pub(crate) fn release(&self) {}
}

impl Engine {
    pub(crate) async fn attach(
        self: &Arc<Self>,
        volume: &VolumeName,
        options: AttachOptions,
    ) -> Result<Attachment> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn adopt(
        self: &Arc<Self>,
        record: &AttachmentRecord,
        options: AdoptOptions,
    ) -> Result<Attachment> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn sync(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: SyncOptions,
    ) -> Result<SyncReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn refresh(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: RefreshOptions,
    ) -> Result<RefreshReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) async fn detach(
        self: &Arc<Self>,
        attachment: &AttachmentId,
        options: DetachOptions,
    ) -> Result<DetachReport> {
        Err(Error::internal("not landed yet"))
    }

    pub(crate) fn attachments(
        self: &Arc<Self>,
        filter: AttachmentFilter,
    ) -> BoxStream<'static, Result<AttachmentRecord>> {
        futures::stream::empty().boxed()
    }
}
