//! The access policies of `docs/operations.md` where a service enforces them: each is enough for what it is said to be
//! enough for, and for no more.

use super::{
    ceph::Cluster,
    place::Place,
    service::{BUCKET, Service},
    suite::Suite,
};
use libtest_mimic::Trial;
use object_store::{GetOptions, ObjectStoreExt, path::Path as Key};
use persist_core::{
    Access, AttachOptions, CreateOptions, DetachOptions, ErrorKind, Node, NodeId, OpenMode, Result,
    SnapshotName, VolumeName, VolumeStore,
    care::{PruneMode, PruneOptions},
    holder::BootId,
    volume::{DeleteOptions, SnapshotsAlong, Trash},
};
use persist_s3::{Clients, Credentials, S3Options, S3Store, client::Cause};
use serde_json::{Value, json};
use std::fs;

const PAGE: &str = include_str!("../../docs/operations.md");
const PREFIX: &str = "policies";

/// In the order of their policies on the page.
const USERS: [&str; 3] = ["writer", "reader", "pruner"];
const STRANGER: &str = "stranger";

pub fn trials(suite: &Suite) -> Vec<Trial> {
    let name = "policies::each_policy_of_the_operations_page_is_enough_and_no_more_than_it_says";
    vec![suite.trial(name, |service| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(enforced(service)).unwrap();
    })]
}

async fn enforced(service: &Service) -> Result<()> {
    let cluster = service.cluster.as_ref().unwrap();
    USERS.iter().chain([&STRANGER]).for_each(|user| cluster.user(user));
    service.set_policy(&policy()).await;
    let bench = Bench { service, place: Place::new() };
    let volume = VolumeName::new("shop")?;
    let writer = bench.open("writer", OpenMode::CreateIfMissing).await?;
    write(&writer, &volume).await?;
    read(&bench, &volume).await?;
    bench.no_more_than_that().await;
    prune(&bench, &writer, &volume).await
}

/// What a writer may: a volume is made, written, named a snapshot of, left, and found again.
async fn write(store: &S3Store, volume: &VolumeName) -> Result<()> {
    store.create(volume, CreateOptions::default()).await?;
    let attachment = store.attach(volume, AttachOptions::default()).await?;
    fs::write(attachment.path().join("hello"), "world").unwrap();
    store.sync(&attachment.id, Default::default()).await?;
    store.snapshot(volume, &SnapshotName::new("good")?, Default::default()).await?;
    store.detach(&attachment.id, DetachOptions::default()).await?;
    let again = store.attach(volume, AttachOptions::default()).await?;
    assert_eq!(fs::read_to_string(again.path().join("hello")).unwrap(), "world");
    store.detach(&again.id, DetachOptions::default()).await.map(drop)
}

/// What a reader may.
async fn read(bench: &Bench<'_>, volume: &VolumeName) -> Result<()> {
    let store = bench.open("reader", OpenMode::ReadOnly).await?;
    let attachment = store.attach(volume, AttachOptions::default().with_access(Access::ReadOnly)).await?;
    assert_eq!(fs::read_to_string(attachment.path().join("hello")).unwrap(), "world");
    let remarks = &attachment.report().remarks;
    assert!(remarks.iter().any(|remark| remark.contains("without a pin")), "{remarks:?}");
    store.detach(&attachment.id, DetachOptions::default()).await?;
    let refused = bench.open("reader", OpenMode::CreateIfMissing).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    let refused = bench.open(STRANGER, OpenMode::ReadOnly).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    Ok(())
}

/// What a pruner may, and a writer may not.
async fn prune(bench: &Bench<'_>, writer: &S3Store, volume: &VolumeName) -> Result<()> {
    let delete = DeleteOptions::default().with_trash(Trash::Bypass).with_snapshots(SnapshotsAlong::Delete);
    writer.delete(volume, delete).await?;
    let apply = || PruneOptions::default().with_mode(PruneMode::Apply);
    let denied = writer.prune(apply()).await?;
    assert_eq!(denied.failures.len(), 1, "{denied:?}");
    let pruner = bench.open("pruner", OpenMode::Existing).await?;
    let done = pruner.prune(apply()).await?;
    assert!(done.failures.is_empty() && done.bytes > 0, "{done:?}");
    assert_eq!(pruner.prune(PruneOptions::default()).await?.bytes, 0);
    Ok(())
}

/// A store whose users are told apart by the service.
struct Bench<'a> {
    service: &'a Service,
    place: Place,
}

impl Bench<'_> {
    /// The store as `user` opens it, on a node of the same name.
    async fn open(&self, user: &str, mode: OpenMode) -> Result<S3Store> {
        let config = self.place.config(self.service.config(PREFIX), user);
        let node = Node::new(NodeId::new(user)?, BootId::new("boot")?);
        S3Store::open(config, self.place.options(node, keys(user)).with_mode(mode)).await
    }

    /// A writer deletes no head, a reader writes nothing, and nobody sees another prefix.
    async fn no_more_than_that(&self) {
        let clients =
            |user: &str, prefix: &str| Clients::connect(&self.service.config(prefix), &keys(user)).unwrap();
        let own = |user| clients(user, PREFIX);
        let marker = Key::from("store");
        // Somebody else's: what is not there would be `NotFound` to whoever may list.
        self.service.clients("elsewhere").head.put(&marker, "x".into()).await.unwrap();
        for denied in [
            own("writer").head.delete(&marker).await,
            own("reader").head.put(&Key::from("v/x"), "x".into()).await.map(drop),
            own("reader").head.delete(&marker).await,
            clients("writer", "elsewhere").head.put(&marker, "x".into()).await.map(drop),
            clients("pruner", "elsewhere").head.get(&marker).await.map(drop),
            clients("reader", "elsewhere").head.get_opts(&marker, GetOptions::default()).await.map(drop),
        ] {
            assert_eq!(Cause::of(&denied.unwrap_err()), Cause::Denied);
        }
        own("reader").head.get(&marker).await.unwrap();
    }
}

fn keys(user: &str) -> S3Options {
    S3Options::default().with_credentials(Credentials::keys(user, Cluster::secret(user)))
}

/// The policies of the page, each for the user of this service that it is said to be for.
fn policy() -> String {
    let blocks = PAGE.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut statements = Vec::new();
    for (user, block) in USERS.iter().zip(blocks) {
        let block = block.replace("BUCKET", BUCKET).replace("PREFIX", PREFIX);
        let mut policy: Value = serde_json::from_str(&block).unwrap();
        for statement in policy["Statement"].as_array_mut().unwrap() {
            statement["Principal"] = json!({ "AWS": [format!("arn:aws:iam:::user/{user}")] });
            statements.push(statement.take());
        }
    }
    assert_eq!(statements.len(), 7, "the page has other policies than this test");
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}
