//! Listing attachments, and closing.

use super::{engine::Engine, readers::volume_of};
use futures::{
    StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use persist_core::{AttachmentRecord, Result, VolumeStore, attachment::AttachmentFilter};
use std::{collections::BTreeMap, sync::Arc};

impl Engine {
    /// The attachments of this node, from its own records, and those of other nodes, from the heads.
    pub(super) fn attachments(
        self: &Arc<Self>,
        filter: AttachmentFilter,
    ) -> BoxStream<'static, Result<AttachmentRecord>> {
        if let Err(error) = self.calls.check_open() {
            return stream::once(future::ready(Err(error))).boxed();
        }
        let engine = Arc::clone(self);
        let all = async move { engine.all_attachments(&filter).await.map(|all| stream::iter(all).map(Ok)) };
        stream::once(all).try_flatten().boxed()
    }

    async fn all_attachments(&self, filter: &AttachmentFilter) -> Result<Vec<AttachmentRecord>> {
        let mut found = BTreeMap::new();
        for record in self.of_this_node().await? {
            found.insert(record.id.clone(), record);
        }
        for record in self.of_heads(filter).await? {
            // A node's own record says more than the head.
            let ours = found.values().any(|there: &AttachmentRecord| {
                there.volume == record.volume && there.access.writes() && there.epoch == record.epoch
            });
            if !ours {
                found.entry(record.id.clone()).or_insert(record);
            }
        }
        Ok(found.into_values().filter(|record| accepts(filter, record)).collect())
    }

    async fn of_this_node(&self) -> Result<Vec<AttachmentRecord>> {
        let mut found = Vec::new();
        if let Some(spaces) = &self.spaces {
            let near: Vec<_> = spaces.near().attachments(Default::default()).try_collect().await?;
            for record in near {
                let volume = volume_of(&record)?;
                let (name, epoch) = match self.serving.session(&volume) {
                    Some(session) => (session.name.clone(), session.epoch),
                    None => (self.remote.find_there(&volume).await?.0.name, record.epoch),
                };
                found.push(self.shown_record(&record, &volume, &name, epoch));
            }
        }
        if let Some(readers) = &self.readers {
            for volume in readers.list().await? {
                found.extend(self.readers_of(&volume).await?.into_iter().map(|shown| shown.record));
            }
        }
        Ok(found)
    }

    /// Who holds a lease, of the volumes that `filter` passes.
    async fn of_heads(&self, filter: &AttachmentFilter) -> Result<Vec<AttachmentRecord>> {
        let names: Vec<_> = match &filter.volume {
            Some(name) => vec![name.clone()],
            None => self.remote.names(None).try_collect().await?,
        };
        let mut found = Vec::new();
        for name in names {
            let crate::remote::Named::Volume(head, _) = self.remote.resolve(&name).await? else { continue };
            let Some(lease) = &head.lease else { continue };
            let of = (head.volume.clone(), name);
            let (id, holder) = (lease.attachment.clone(), lease.holder.clone());
            found.push(AttachmentRecord::new(id, of, holder, lease.access, head.epoch, lease.since));
        }
        Ok(found)
    }

    /// Ends what this store serves. Leases stay until they run out or are adopted; so do attachments.
    pub(super) async fn close(self: &Arc<Self>) -> Result<()> {
        self.calls.close().await;
        for session in self.serving.sessions() {
            self.serving.end(&session.volume);
            drop(session);
        }
        self.serving.readers().clear();
        for spaces in self.spaces.iter().chain(&self.readers) {
            spaces.close().await?;
        }
        Ok(())
    }
}

fn accepts(filter: &AttachmentFilter, record: &AttachmentRecord) -> bool {
    filter.volume.as_ref().is_none_or(|volume| *volume == record.volume_name)
        && filter.node.as_ref().is_none_or(|node| *node == record.holder.node.id)
        && filter.workload.as_ref().is_none_or(|workload| *workload == record.holder.workload)
}
