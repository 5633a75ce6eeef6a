//! Listing attachments: every record, from the disk.

use super::stored::{attachment_ids, read};
use crate::{
    attachment::{AttachmentFilter, AttachmentRecord},
    directory::{
        calls::{Output, ReaderGone},
        engine::Engine,
        fresh,
        layout::VolumeLayout,
    },
    error::{Error, ErrorKind, Result},
    id::VolumeId,
    linux::cause::cause,
};
use futures::stream::{BoxStream, StreamExt};
use std::sync::Arc;

impl Engine {
    pub(crate) fn attachments(
        self: &Arc<Self>,
        filter: AttachmentFilter,
    ) -> BoxStream<'static, Result<AttachmentRecord>> {
        let engine = Arc::clone(self);
        let list = move |out: &mut Output<AttachmentRecord>| {
            // The reader has gone: there is nobody to tell.
            let _ = engine.list_attachments(&filter, out);
        };
        self.calls.stream(list).boxed()
    }

    fn list_attachments(
        &self,
        filter: &AttachmentFilter,
        out: &mut Output<AttachmentRecord>,
    ) -> Result<(), ReaderGone> {
        if let Some(name) = &filter.volume {
            return match self.locate(name) {
                Ok(located) => give_all(&located.layout, filter, out),
                // A filter that nothing passes is no error; the volume may have been deleted since.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => out.give(Err(error)),
            };
        }
        let volumes = self.layout.volumes();
        let named = |e| -> Error { cause(e, "list", volumes.display()) };
        let entries = match fresh::read_dir(&volumes) {
            Ok(entries) => entries,
            Err(e) => return out.give(Err(named(e))),
        };
        for entry in entries {
            match entry {
                Ok(entry) => {
                    let id = entry.file_name().to_str().and_then(VolumeId::parse);
                    id.map_or(Ok(()), |id| give_all(&self.layout.volume(&id), filter, out))?;
                }
                Err(e) => out.give(Err(named(e)))?,
            }
        }
        Ok(())
    }
}

fn give_all(
    layout: &VolumeLayout,
    filter: &AttachmentFilter,
    out: &mut Output<AttachmentRecord>,
) -> Result<(), ReaderGone> {
    let ids = match attachment_ids(layout) {
        Ok(ids) => ids,
        Err(error) => return out.give(Err(error)),
    };
    for id in ids {
        match id.and_then(|id| read(layout, &id)) {
            Ok(Some(stored)) if accepts(filter, &stored.record) => out.give(Ok(stored.record))?,
            Ok(_) => {}
            Err(error) => out.give(Err(error))?,
        }
    }
    Ok(())
}

fn accepts(filter: &AttachmentFilter, record: &AttachmentRecord) -> bool {
    let holder = &record.holder;
    filter.node.as_ref().is_none_or(|node| *node == holder.node.id)
        && filter.workload.as_ref().is_none_or(|workload| *workload == holder.workload)
}
