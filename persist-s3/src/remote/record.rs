//! The record of a volume: what it is. An immutable object that the head names.
//!
//! Another description is another object and a change of the head. Only the holder of the lease changes a
//! held head: for it, a foreign change would be a lost lease. So a volume that is attached elsewhere is
//! described anew by its holder's process, or not before it is detached.

use super::{Remote, actor::HeadActor, head::Changed};
use crate::{
    head::{
        change::Change,
        free::FreeChange,
        names::{Digest, UniqueName},
        record::Head,
    },
    keys::Part,
};
use bytes::Bytes;
use persist_core::{
    Epoch, Error, ErrorKind, Result, SnapshotName, VolumeId, VolumeName, VolumeRecord, VolumeSpec,
    clock::Timestamp,
    volume::{Origin, VolumeState},
};
use serde::{Deserialize, Serialize};

/// The format of a record.
const FORMAT: u16 = 1;

/// The largest record in bytes: labels are short facts.
const RECORD_MAX_BYTES: usize = 256 << 10;

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    format: u16,
    /// The volume: another volume's record is refused.
    pub(crate) id: VolumeId,
    /// Its name.
    pub(crate) name: VolumeName,
    /// What it was made to be, with the labels, the size and the protection of now.
    pub(crate) spec: VolumeSpec,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// When it was created, by the clock of the node that did.
    pub(crate) created: Timestamp,
    /// The snapshot that the tree was last restored from.
    pub(crate) restored_from: Option<SnapshotName>,
}

impl Record {
    /// A new volume.
    pub(crate) fn new(
        id: VolumeId,
        name: VolumeName,
        spec: VolumeSpec,
        origin: Origin,
        created: Timestamp,
    ) -> Self {
        Self { format: FORMAT, id, name, spec, origin, created, restored_from: None }
    }

    /// What callers see of it, with what `head` knows.
    pub(crate) fn shown(&self, head: &Head) -> VolumeRecord {
        let (id, name) = (self.id.clone(), self.name.clone());
        let mut shown = VolumeRecord::new(id, name, self.spec.clone(), self.created);
        shown.origin = self.origin.clone();
        shown.epoch = head.epoch;
        shown.restored_from = self.restored_from.clone();
        if let Some(trashed) = head.stage.trashed() {
            shown.state = VolumeState::Trashed { since: trashed.since, until: trashed.until };
        }
        shown
    }

    fn encode(&self) -> Result<Bytes> {
        let bytes = serde_json::to_vec(self)
            .map_err(|e| Error::internal("a volume's record cannot be written as JSON").with_source(e))?;
        if bytes.len() > RECORD_MAX_BYTES {
            return Err(Error::invalid("labels", "the labels are too large for a volume's record")
                .context("bytes", bytes.len())
                .context("limit", RECORD_MAX_BYTES));
        }
        Ok(Bytes::from(bytes))
    }

    fn decode(bytes: &[u8], name: &UniqueName, volume: &VolumeId) -> Result<Self> {
        let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what).context("id", volume);
        if Digest::of(bytes) != name.hash {
            return Err(corrupt("the volume's record is not what was written"));
        }
        let record: Self = serde_json::from_slice(bytes)
            .map_err(|e| corrupt("the volume's record cannot be read").with_source(e))?;
        if record.format != FORMAT {
            return Err(Error::new(ErrorKind::Unsupported, "the volume's record has a newer format")
                .context("format", record.format)
                .advise("use a newer version"));
        }
        if record.id != *volume {
            return Err(corrupt("the volume's record is another volume's"));
        }
        Ok(record)
    }
}

/// A record that is encoded under its name, and not written yet.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) name: UniqueName,
    pub(super) body: Bytes,
}

impl Remote {
    /// What the volume behind `head` is.
    ///
    /// # Errors
    /// `Corrupt` for a record that is missing or not what was written; `Unsupported` for a newer format.
    pub(crate) async fn record(&self, head: &Head) -> Result<Record> {
        let missing = || Error::new(ErrorKind::Corrupt, "the volume's record is gone");
        let found = self.record_if_there(head).await?;
        found.ok_or_else(|| missing().context("id", &head.volume).context("record", head.record))
    }

    /// The same; none if it was never written.
    pub(super) async fn record_if_there(&self, head: &Head) -> Result<Option<Record>> {
        let found = self.read(&self.keys.of(&head.volume, Part::Record(head.record))).await?;
        found.map(|object| Record::decode(&object.body, &head.record, &head.volume)).transpose()
    }

    /// Describes a volume anew that its holder, this process, has attached.
    ///
    /// # Errors
    /// As [`HeadActor::change`].
    pub(crate) async fn describe_held(&self, actor: &HeadActor, record: &Record) -> Result<()> {
        let draft = self.draft(record, actor.head().epoch)?;
        self.write_record(&record.id, &draft).await?;
        actor.change(Change::Describe(draft.name)).await.map(drop)
    }

    /// Describes a volume anew that nobody has attached: `edit` gives its new record from the present one,
    /// and runs again if the head has changed meanwhile.
    ///
    /// # Errors
    /// `InUse` with the holder while it is attached; what `edit` gives; `NotFound`; `Unavailable`.
    pub(crate) async fn describe_free(
        &self,
        volume: &VolumeId,
        edit: impl Fn(Record) -> Result<Record>,
    ) -> Result<(Record, Head)> {
        loop {
            let (head, etag) = self.find_there(volume).await?;
            let before = self.record(&head).await?;
            if head.lease.is_some() {
                return Err(super::take::in_use(&head, &before.name));
            }
            let record = edit(before.clone())?;
            if record == before {
                return Ok((record, head));
            }
            // Written anew for every base: prune removes what was written for an older epoch.
            let draft = self.draft(&record, head.epoch)?;
            self.write_record(volume, &draft).await?;
            let change = FreeChange::Describe(draft.name);
            if let Changed::Done(head, _) = self.try_change(&head, &etag, &change).await? {
                return Ok((record, head));
            }
        }
    }

    pub(super) fn draft(&self, record: &Record, epoch: Epoch) -> Result<Draft> {
        let body = record.encode()?;
        Ok(Draft { name: UniqueName::of(epoch, self.nonce(), &body), body })
    }

    pub(super) async fn write_record(&self, volume: &VolumeId, draft: &Draft) -> Result<()> {
        let path = self.keys.of(volume, Part::Record(draft.name));
        self.put_unique(&path, draft.body.clone()).await
    }
}
