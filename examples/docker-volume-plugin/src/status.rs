//! What `docker volume inspect` shows of a volume as `Status`. Pure.

use crate::{known::Entry, stores::Opened};
use persist::{AttachmentRecord, SnapshotName, VolumeName, VolumeRecord, clock::Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The status of a volume: what the store has on record, and what this process saw of it.
pub(crate) fn status(
    opened: &Opened,
    entry: &Entry,
    record: &VolumeRecord,
    claims: &[AttachmentRecord],
    salvage: &BTreeSet<SnapshotName>,
) -> Map<String, Value> {
    let info = opened.info();
    let synced = |name: &VolumeName| opened.last_sync(name).as_ref().map(Timestamp::to_string);
    let shown = json!({
        "store": entry.store.to_string(),
        "capabilities": info.capabilities.to_string(),
        "survives": info.characteristics.survives,
        "fencing": info.characteristics.fencing,
        "access": entry.access,
        "lease": opened.has_leases().then_some(entry.lease),
        "epoch": record.epoch,
        "holders": claims.iter().map(|claim| holder(opened, claim)).collect::<Vec<_>>(),
        "last_sync": synced(&record.name),
        "salvage": salvage,
        "protection": record.spec.protection,
        "size_bytes": record.spec.size_bytes,
        "labels": record.spec.labels,
        "remarks": info.characteristics.remarks,
    });
    match shown {
        // What is not known or not set is not shown.
        Value::Object(shown) => shown.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn holder(opened: &Opened, claim: &AttachmentRecord) -> Value {
    let held = opened.held(&claim.id).map(|held| format!("{:?}", held.lease()));
    let lease = held.or_else(|| opened.lost(&claim.id).map(|error| error.to_string()));
    json!({
        "id": claim.holder.workload,
        "node": claim.holder.node.id,
        "attachment": claim.id,
        "access": claim.access,
        "epoch": claim.epoch,
        "since": claim.since.to_string(),
        "lease": lease.unwrap_or_else(|| "not served by this plugin".into()),
    })
}
