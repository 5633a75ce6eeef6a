//! The `with_*` methods of the options structs.
//!
//! Options structs are `#[non_exhaustive]`, so a caller begins with `default()` and sets what differs.

use crate::{
    attachment::*, capability::*, care::*, clock::*, holder::*, lease::*, name::*, needs::*, open::*,
    progress::*, quiesce::*, render::*, snapshot::*, tree::Trust, volume::*,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Writes one setter a field; `[some]` wraps the value, `[call]` adds deadline and progress.
macro_rules! setters {
    ($type:ident: $([$mode:ident] $with:ident $field:ident: $ty:ty),* $(,)?) => {
        impl $type {
            $(setters!(@$mode $with $field $ty);)*
        }
    };
    (@set $with:ident $field:ident $ty:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = $field.into();
            self
        }
    };
    (@some $with:ident $field:ident $ty:ty) => {
        #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub fn $with(mut self, $field: impl Into<$ty>) -> Self {
            self.$field = Some($field.into());
            self
        }
    };
    (@call $with:ident $field:ident $ty:ty) => {
        /// Sets who listens to the progress, and the deadline.
        #[must_use]
        pub fn $with(mut self, $field: $ty) -> Self {
            self.$field = $field;
            self
        }

        /// Sets how long the call may take.
        #[must_use]
        pub fn with_deadline(mut self, deadline: Duration) -> Self {
            self.$field.deadline = Some(deadline);
            self
        }

        /// Sets who listens to the progress.
        #[must_use]
        pub fn with_progress(mut self, listener: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
            self.$field.progress = ProgressListener::new(listener);
            self
        }
    };
}

setters!(CallOptions: [some] with_deadline deadline: Duration, [set] with_progress progress: ProgressListener);
setters!(OpenOptions: [set] with_mode mode: OpenMode, [some] with_node node: Node,
    [some] with_state_directory state_directory: PathBuf, [set] with_environment environment: Environment,
    [set] require needs: Needs, [some] with_extension extension: Extension);
setters!(Needs: [set] with_survives survives: Survives, [some] with_recovery_point recovery_point: Duration,
    [some] with_access access: Access, [set] with_consistency consistency: Consistency,
    [set] with_fencing fencing: Fencing, [set] with_capabilities capabilities: Capabilities);
setters!(VolumeSpec: [set] with_root root: RootSpec, [some] with_size_bytes size_bytes: u64,
    [set] with_labels labels: Labels, [set] with_protection protection: Protection,
    [set] with_lifetime lifetime: Lifetime);
setters!(RootSpec: [some] with_uid uid: u32, [some] with_gid gid: u32, [some] with_mode mode: u32,
    [some] with_selinux_label selinux_label: String);
setters!(CreateOptions: [call] with_call call: CallOptions, [set] with_spec spec: VolumeSpec,
    [set] with_source source: Source, [some] with_trust trust: Trust);
setters!(ListOptions: [some] with_after after: String, [some] with_limit limit: usize,
    [set] with_labels labels: Labels, [set] with_states states: ListStates);
setters!(UpdateOptions: [some] with_size_bytes size_bytes: Option<u64>, [some] with_protection protection: Protection);
setters!(DeleteOptions: [call] with_call call: CallOptions, [set] with_snapshots snapshots: SnapshotsAlong,
    [set] with_trash trash: Trash);
setters!(AttachOptions: [call] with_call call: CallOptions, [set] with_access access: Access,
    [some] with_workload workload: Workload, [some] with_liveness liveness: Liveness,
    [some] with_target target: PathBuf, [set] with_target_kind target_kind: TargetKind,
    [some] with_policy policy: MountPolicy, [some] with_snapshot snapshot: SnapshotName,
    [some] with_wait wait: Duration, [set] with_takeover takeover: Takeover, [set] with_sync sync: SyncPolicy,
    [some] with_quiesce quiesce: Arc<dyn Quiesce>, [set] with_consistency consistency: Consistency);
setters!(MountPolicy: [set] with_set_id set_id: Permission, [set] with_devices devices: Permission,
    [some] with_execute execute: Permission, [set] with_id_map id_map: Vec<IdMapping>,
    [set] with_propagation propagation: Propagation);
setters!(AdoptOptions: [call] with_call call: CallOptions, [some] with_liveness liveness: Liveness,
    [some] with_sync sync: SyncPolicy, [some] with_quiesce quiesce: Arc<dyn Quiesce>,
    [set] with_consistency consistency: Consistency);
setters!(RefreshOptions: [call] with_call call: CallOptions, [some] with_snapshot snapshot: SnapshotName);
setters!(DetachOptions: [call] with_call call: CallOptions, [set] with_busy busy: BusyFiles,
    [set] with_local_copy local_copy: LocalCopy, [some] with_vouch vouch: Vouch);
setters!(AttachmentFilter: [some] with_volume volume: VolumeName, [some] with_node node: NodeId,
    [some] with_workload workload: Workload);
setters!(SyncOptions: [call] with_call call: CallOptions, [set] with_consistency consistency: Consistency,
    [some] with_quiesce quiesce: Arc<dyn Quiesce>);
setters!(SnapshotOptions: [call] with_call call: CallOptions, [set] with_consistency consistency: Consistency,
    [some] with_quiesce quiesce: Arc<dyn Quiesce>, [set] with_labels labels: Labels);
setters!(RestoreOptions: [call] with_call call: CallOptions, [set] with_replaced replaced: Replaced);
setters!(DeleteSnapshotOptions: [call] with_call call: CallOptions);
setters!(UsageOptions: [call] with_call call: CallOptions, [some] with_volume volume: VolumeName);
setters!(VerifyOptions: [call] with_call call: CallOptions, [some] with_volume volume: VolumeName);
setters!(RenderOptions: [set] with_mode mode: Mode, [set] with_ids ids: Ids, [set] with_label label: Label,
    [some] with_propagation propagation: Propagation);
setters!(PruneOptions: [call] with_call call: CallOptions, [set] with_mode mode: PruneMode);

impl UpdateOptions {
    /// Sets the label `key` to `value`.
    #[must_use]
    pub fn with_label(mut self, key: LabelKey, value: impl Into<String>) -> Self {
        self.labels.insert(key, Some(value.into()));
        self
    }

    /// Removes the label `key`.
    #[must_use]
    pub fn without_label(mut self, key: LabelKey) -> Self {
        self.labels.insert(key, None);
        self
    }
}
