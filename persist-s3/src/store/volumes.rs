//! Volumes: found, listed, changed. Creating and deleting them have files of their own.

mod create;
mod delete;

use super::engine::Engine;
use crate::{
    head::record::{Head, Stage},
    remote::Record,
};
use futures::{
    StreamExt, TryStreamExt, future,
    stream::{self, BoxStream},
};
use persist_core::{
    Error, ErrorKind, Result, VolumeId, VolumeName, VolumeRecord,
    snapshot::Outcome,
    volume::{ListOptions, ListStates, UpdateOptions, UpdateReport, VolumeSpec, check},
};
use std::sync::Arc;

/// Heads and records that a listing reads at once: a page of a list is read while a person looks at it, and
/// half of the connections stay free for others.
const LOOKS_AT_ONCE: usize = 8;

impl Engine {
    pub(super) async fn get(&self, name: &VolumeName) -> Result<VolumeRecord> {
        let (head, _) = self.remote.locate(name).await?;
        Ok(self.remote.record(&head).await?.shown(&head))
    }

    pub(super) fn list(self: &Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        if let Err(error) = self.calls.check_open() {
            return stream::once(future::ready(Err(error))).boxed();
        }
        match options.states {
            ListStates::Trashed => self.trashed(options),
            _ => self.ready(options),
        }
    }

    /// What can be changed about a volume, whether somebody has it or not.
    pub(super) async fn update(&self, name: &VolumeName, options: UpdateOptions) -> Result<UpdateReport> {
        check::update(&self.info, &options)?;
        self.check_writable()?;
        let (head, _) = self.remote.locate(name).await?;
        let _turn = self.turns.take(&head.volume).await;
        let before = self.remote.record(&head).await?;
        let edit = |mut record: Record| {
            record.spec = changed(record.spec, &options)?;
            Ok(record)
        };
        let (record, head) = match self.serving.actor(&head.volume) {
            Some(actor) => {
                let record = edit(before.clone())?;
                if record != before {
                    self.remote.describe_held(&actor, &record).await?;
                }
                (record, (*actor.head()).clone())
            }
            None => self.remote.describe_free(&head.volume, edit).await?,
        };
        let outcome = if record == before { Outcome::Already } else { Outcome::Done };
        Ok(UpdateReport::new(record.shown(&head), outcome))
    }

    /// A volume as it is shown; none for one that is neither there nor in the trash.
    pub(super) async fn shown(&self, head: &Head) -> Result<VolumeRecord> {
        Ok(self.remote.record(head).await?.shown(head))
    }

    fn ready(self: &Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        let after = match options.after.as_deref().map(VolumeName::new).transpose() {
            Ok(after) => after,
            Err(error) => return stream::once(future::ready(Err(error))).boxed(),
        };
        let engine = Arc::clone(self);
        let looked = self.remote.names(after.as_ref()).map_ok(move |name| {
            let engine = Arc::clone(&engine);
            async move { engine.if_there(&name).await }
        });
        paged(looked.try_buffered(LOOKS_AT_ONCE), options)
    }

    /// In the order of their ids.
    fn trashed(self: &Arc<Self>, options: ListOptions) -> BoxStream<'static, Result<VolumeRecord>> {
        let engine = Arc::clone(self);
        let after = options.after.as_deref().and_then(VolumeId::parse);
        let ids = async move {
            let mut ids = engine.remote.volumes().await?;
            ids.retain(|id| after.as_ref().is_none_or(|after| id > after));
            ids.sort();
            Ok::<_, Error>(stream::iter(ids).map(Ok))
        };
        let engine = Arc::clone(self);
        let looked = stream::once(ids).try_flatten().map_ok(move |id| {
            let engine = Arc::clone(&engine);
            async move { engine.if_trashed(&id).await }
        });
        paged(looked.try_buffered(LOOKS_AT_ONCE), options)
    }

    async fn if_there(&self, name: &VolumeName) -> Result<Option<VolumeRecord>> {
        match self.get(name).await {
            Ok(record) => Ok(Some(record)),
            // Deleted since its name was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn if_trashed(&self, id: &VolumeId) -> Result<Option<VolumeRecord>> {
        match self.remote.find_there(id).await {
            Ok((head, _)) if matches!(head.stage, Stage::Trashed(_)) => self.shown(&head).await.map(Some),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The volumes that a list asks for, of those that were looked at.
fn paged(
    looked: impl stream::Stream<Item = Result<Option<VolumeRecord>>> + Send + 'static,
    options: ListOptions,
) -> BoxStream<'static, Result<VolumeRecord>> {
    let limit = options.limit.unwrap_or(usize::MAX);
    let wanted = move |found: Option<VolumeRecord>| {
        future::ready(Ok(found.filter(|volume| options.accepts(&volume.spec.labels))))
    };
    looked.try_filter_map(wanted).take(limit).boxed()
}

fn changed(mut spec: VolumeSpec, options: &UpdateOptions) -> Result<VolumeSpec> {
    for (key, value) in &options.labels {
        match value {
            Some(value) => spec.labels.insert(key.clone(), value.clone()),
            None => spec.labels.remove(key),
        };
    }
    check::labels_count(spec.labels.len())?;
    if let Some(size) = options.size_bytes {
        spec.size_bytes = size;
    }
    if let Some(protection) = options.protection {
        spec.protection = protection;
    }
    Ok(spec)
}
