//! Attachments for the tests of the renderers.

use super::Source;
use crate::{
    ErrorKind, Result,
    attachment::{Access, AttachmentRecord, Mounted},
    clock::{SystemEnvironment, Timestamp},
    holder::{BootId, Holder, Liveness, Node, NodeId, Workload},
    id::{AttachmentId, Epoch, VolumeId},
    name::VolumeName,
    render::{RenderOptions, WorkloadPath},
};
use std::path::PathBuf;

pub(super) fn source(path: impl Into<PathBuf>, access: Access, mounted: Mounted) -> Source {
    let node = Node::new(NodeId::new("node").unwrap(), BootId::new("boot").unwrap());
    let holder = Holder::new(node, Workload::new("w").unwrap(), Liveness::External);
    let volume = (VolumeId::mint(&SystemEnvironment, &SystemEnvironment), VolumeName::new("shop").unwrap());
    let id = AttachmentId::mint(&SystemEnvironment, &SystemEnvironment);
    let record =
        AttachmentRecord::new(id, volume, holder, access, Epoch::new(1), Timestamp::from_millisecond(0));
    Source::of_record(&record, path).with_mounted(mounted)
}

/// A writer's, without a mount of ours.
pub(super) fn written() -> Source {
    source("/srv/volumes/shop", Access::ReadWrite, Mounted::No)
}

/// A reader's, at a mount of ours that is read-only with everything below it.
pub(super) fn read() -> Source {
    source("/run/shop", Access::ReadOnly, Mounted::ReadOnly)
}

pub(super) fn target() -> WorkloadPath {
    WorkloadPath::new("/data").unwrap()
}

pub(super) fn read_only() -> RenderOptions {
    RenderOptions::default().with_mode(super::Mode::ReadOnly)
}

/// The option that was refused.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(answer: Result<T>) -> &'static str {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    error.field().unwrap()
}
