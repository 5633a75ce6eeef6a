//! A node that was killed and comes back, while another has its volume: what it had not synced is kept before it
//! ever gets the volume again.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test crate")]

mod subject;

use futures::TryStreamExt;
use persist_core::{
    Access, AttachOptions, AttachmentRecord, DetachOptions, ErrorKind, Liveness, Node, NodeId, SnapshotName,
    Takeover, VolumeName, VolumeStore, Vouch, Workload,
    care::{PruneMode, PruneOptions},
    conformance::Subject,
    error::Detail,
    holder::BootId,
    snapshot::SnapshotKind,
    tree::TreePath,
    volume::{CreateOptions, DeleteOptions, ListOptions, SnapshotsAlong},
};
use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc};
use subject::OnServer;

type Store = Arc<dyn VolumeStore>;

/// A volume that node `b` took over from node `a`, which was killed with work that it had not synced.
struct Lost {
    bucket: OnServer,
    record: AttachmentRecord,
    tree: PathBuf,
    next: Store,
}

impl Lost {
    async fn new() -> Self {
        let bucket = OnServer::new();
        let first = open(&bucket, "a").await;
        first.create(&name(), CreateOptions::default()).await.unwrap();
        let attached = first.attach(&name(), holder("w")).await.unwrap();
        let (record, tree) = (attached.record().clone(), attached.path().to_owned());
        fs::write(tree.join("file"), "synced").unwrap();
        first.sync(&record.id, Default::default()).await.unwrap();
        fs::write(tree.join("file"), "written").unwrap();
        first.close().await.unwrap();
        let next = open(&bucket, "b").await;
        let vouch = Vouch::new(record.id.clone(), record.epoch, "its node is gone");
        let taken =
            next.attach(&name(), holder("next").with_takeover(Takeover::Vouched(vouch))).await.unwrap();
        assert_eq!(fs::read_to_string(taken.path().join("file")).unwrap(), "synced");
        fs::write(taken.path().join("file"), "elsewhere").unwrap();
        next.sync(&taken.id, Default::default()).await.unwrap();
        Self { bucket, record, tree, next }
    }

    /// What the salvages hold, as the other node sees them.
    async fn salvages(&self) -> BTreeSet<String> {
        let all: Vec<_> = self.next.snapshots(&name(), ListOptions::default()).try_collect().await.unwrap();
        let mut found = BTreeSet::new();
        for record in all.iter().filter(|record| record.kind == SnapshotKind::Salvage) {
            found.insert(content(&self.next, &record.name).await);
        }
        found
    }
}

/// Hosts as `this_host` names them: after their boots.
#[tokio::test]
async fn a_volume_that_another_host_holds_is_not_taken_for_one_of_an_earlier_boot() {
    let bucket = OnServer::new();
    let host = |digit: &str| {
        let boot = "00000000-0000-0000-0000-000000000000".replace('0', digit);
        Node::new(NodeId::new(format!("host-{boot}")).unwrap(), BootId::new(boot).unwrap())
    };
    let first = bucket.open(host("1")).await.unwrap();
    first.create(&name(), CreateOptions::default()).await.unwrap();
    let snapshot = SnapshotName::new("before").unwrap();
    first.snapshot(&name(), &snapshot, Default::default()).await.unwrap();
    let other = bucket.open(host("2")).await.unwrap();
    for liveness in [Liveness::Process(None), Liveness::Boot] {
        let attached = first.attach(&name(), holder("w").with_liveness(liveness)).await.unwrap();
        let along = DeleteOptions::default().with_snapshots(SnapshotsAlong::Delete);
        let refused = other.delete(&name(), along).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
        let refused = other.restore(&name(), &snapshot, Default::default()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InUse, "{refused}");
        other.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await.unwrap();
        fs::write(attached.path().join("file"), "mine").unwrap();
        first.sync(&attached.id, Default::default()).await.unwrap();
        first.detach(&attached.id, DetachOptions::default()).await.unwrap();
    }
}

async fn content(store: &Store, snapshot: &SnapshotName) -> String {
    let tree = store.open_snapshot(&name(), snapshot).await.unwrap();
    let bytes = tree.read(&TreePath::new(&b"file"[..]).unwrap(), 0..1024).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn open(bucket: &OnServer, node: &str) -> Store {
    bucket.open(Node::new(NodeId::new(node).unwrap(), BootId::new("boot").unwrap())).await.unwrap()
}

fn name() -> VolumeName {
    VolumeName::new("volume").unwrap()
}

/// As an orchestrator attaches: its workloads outlive it.
fn holder(workload: &str) -> AttachOptions {
    let options = AttachOptions::default().with_access(Access::SharedOnNode);
    options.with_workload(Workload::new(workload).unwrap()).with_liveness(Liveness::External)
}

#[tokio::test]
async fn who_adopts_what_another_has_taken_over_is_told_where_its_work_is_kept() {
    let lost = Lost::new().await;
    let back = open(&lost.bucket, "a").await;
    let error = back.adopt(&lost.record, Default::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let Detail::Fenced { salvage: Some(salvage), .. } = error.detail() else { panic!("no salvage: {error}") };
    assert_eq!(content(&lost.next, salvage).await, "written");
    // A repeat keeps nothing twice; what is written after it is kept too.
    back.adopt(&lost.record, Default::default()).await.unwrap_err();
    assert_eq!(lost.salvages().await, BTreeSet::from(["written".into()]));
    fs::write(lost.tree.join("file"), "written on").unwrap();
    back.adopt(&lost.record, Default::default()).await.unwrap_err();
    assert_eq!(lost.salvages().await, BTreeSet::from(["written".into(), "written on".into()]));
}

#[tokio::test]
async fn an_attachment_that_another_has_taken_over_ends_with_its_work_kept_and_lets_its_successor_in() {
    let lost = Lost::new().await;
    let back = open(&lost.bucket, "a").await;
    fs::write(lost.tree.join("file"), "written on").unwrap();
    let report = back.detach(&lost.record.id, DetachOptions::default()).await.unwrap();
    assert_eq!(lost.salvages().await, BTreeSet::from(["written on".into()]));
    assert!(report.left.iter().any(|line| line.contains("salvage-")), "{report:?}");
    // The other node leaves; this one goes on from what it left.
    let theirs: Vec<_> = lost.next.attachments(Default::default()).try_collect().await.unwrap();
    for record in &theirs {
        lost.next.detach(&record.id, DetachOptions::default()).await.unwrap();
    }
    let again = back.attach(&name(), holder("again")).await.unwrap();
    assert_eq!(fs::read_to_string(again.path().join("file")).unwrap(), "elsewhere");
}
