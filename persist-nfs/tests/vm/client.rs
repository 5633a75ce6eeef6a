//! A host: this program in a network and under a name of its own, which is told what to do line by line.
//!
//! Each command is answered by one line: `ok ...`, or `err KIND text`.

use super::files;
use futures::TryStreamExt;
use persist_core::{
    Access, AttachOptions, Attachment, AttachmentId, CreateOptions, DetachOptions, Error, Node, OpenMode,
    OpenOptions, Result, Takeover, VolumeStore, Vouch, Workload,
    attachment::{AttachmentFilter, BusyFiles},
    care::{PruneMode, PruneOptions},
    volume::{ListOptions, Source},
};
use std::{
    collections::HashMap,
    io::{BufRead, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// The first argument of a host.
pub const MARK: &str = "client";

/// Serves commands on a store: `client URL NAME`.
pub fn main(words: &[String]) -> ExitCode {
    let [url, name] = words else { panic!("{words:?}") };
    super::block(async {
        let node = Node::new(name.parse().unwrap(), "boot-1".to_owned().try_into().unwrap());
        let options = OpenOptions::default()
            .with_mode(OpenMode::CreateIfMissing)
            .with_node(node)
            .with_state_directory(format!("/tmp/{name}"));
        let store = persist_nfs::open(&url.parse().unwrap(), options).await;
        let mut handles = Handles::new();
        let store = match store {
            Ok(store) => store,
            Err(error) => {
                say(Err(error));
                return ExitCode::FAILURE;
            }
        };
        say(Ok(store.info().id.to_string()));
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            say(command(&store, &mut handles, &words).await);
        }
        ExitCode::SUCCESS
    })
}

fn say(answer: Result<String>) {
    let line = match answer {
        Ok(text) => format!("ok {text}"),
        Err(error) => format!("err {:?} {error}", error.kind()),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// The handles of what was attached, by their ids: what an application would keep.
type Handles = HashMap<String, Attachment>;

async fn command(store: &Arc<dyn VolumeStore>, handles: &mut Handles, words: &[&str]) -> Result<String> {
    Ok(match words {
        ["create", name] => store.create(&name.parse()?, Default::default()).await?.volume.id.to_string(),
        ["get", name] => store.get(&name.parse()?).await?.id.to_string(),
        ["delete", name] => format!("{:?}", store.delete(&name.parse()?, Default::default()).await?.outcome),
        ["list"] => {
            let found: Vec<_> = store.list(ListOptions::default()).try_collect().await?;
            found.iter().map(|volume| volume.name.to_string()).collect::<Vec<_>>().join(" ")
        }
        ["attach", name, workload, access] => {
            keep(handles, attach(store, name, workload, access, Takeover::Never, None).await?)
        }
        ["take", name, workload, seconds] => {
            let wait = Some(Duration::from_secs(seconds.parse().unwrap()));
            keep(handles, attach(store, name, workload, "write", Takeover::WhenExpired, wait).await?)
        }
        ["lease", id] => format!("{:?} {:?}", handles[*id].fencing(), handles[*id].lease()),
        ["fenced", id] => handles[*id].watch().fenced().await.to_string(),
        ["attach-at", name, workload, target] => {
            let options =
                AttachOptions::default().with_workload(Workload::new(*workload)?).with_target(target);
            keep(handles, store.attach(&name.parse()?, options).await?)
        }
        ["leave", id] => {
            let lazy = DetachOptions::default().with_busy(BusyFiles::Lazy);
            store.detach(&id_of(id)?, lazy).await?.left.join("; ")
        }
        ["vouch", name, workload, id, epoch] => {
            let held: Vec<_> = store.attachments(AttachmentFilter::default()).try_collect().await?;
            let held = held.into_iter().find(|record| record.id.to_string() == *id);
            let held = held.ok_or_else(|| Error::not_found("no such attachment"))?;
            assert_eq!(held.epoch.to_string(), *epoch);
            let vouch = Vouch::new(held.id, held.epoch, "the test cut it off");
            keep(handles, attach(store, name, workload, "write", Takeover::Vouched(vouch), None).await?)
        }
        ["sync", id] => format!("{:?}", store.sync(&id_of(id)?, Default::default()).await?),
        ["detach", id] => {
            format!("{:?}", store.detach(&id_of(id)?, Default::default()).await?)
        }
        ["snapshot", name, snapshot] => {
            let taken = store.snapshot(&name.parse()?, &snapshot.parse()?, Default::default()).await?;
            format!("{:?}", taken.outcome)
        }
        ["snapshots", name] => {
            let found: Vec<_> = store.snapshots(&name.parse()?, ListOptions::default()).try_collect().await?;
            found.len().to_string()
        }
        ["health"] => {
            let found = store.health().await?;
            found.iter().map(|health| health.reason.clone()).collect::<Vec<_>>().join(" ")
        }
        ["prune"] => format!("{:?}", store.prune(PruneOptions::default().with_mode(PruneMode::Apply)).await?),
        ["churn", name] => churn(store, name).await?,
        ["create-from", name, snapshot, into] => {
            let source = Source::Snapshot { volume: name.parse()?, snapshot: snapshot.parse()? };
            let options = CreateOptions::default().with_source(source);
            store.create(&into.parse()?, options).await?.volume.id.to_string()
        }
        ["close"] => store.close().await.map(|()| String::new())?,
        words => files::command(words),
    })
}

fn id_of(text: &str) -> Result<AttachmentId> {
    AttachmentId::parse(text).ok_or_else(|| Error::invalid("id", "not the id of an attachment"))
}

async fn attach(
    store: &Arc<dyn VolumeStore>,
    name: &str,
    workload: &str,
    access: &str,
    takeover: Takeover,
    wait: Option<Duration>,
) -> Result<Attachment> {
    let access = match access {
        "write" => Access::ReadWrite,
        "shared" => Access::SharedAcrossNodes,
        "read" => Access::ReadOnly,
        other => panic!("no such access: {other}"),
    };
    let mut options = AttachOptions::default().with_workload(Workload::new(workload)?).with_access(access);
    options.takeover = takeover;
    options.wait = wait;
    if access == Access::ReadOnly {
        let target = format!("/tmp/{workload}");
        std::fs::create_dir_all(&target).unwrap();
        options = options.with_target(target);
    }
    store.attach(&name.parse()?, options).await
}

fn keep(handles: &mut Handles, attachment: Attachment) -> String {
    let said = format!("{} {} {}", attachment.id, attachment.epoch, attachment.path().display());
    handles.insert(attachment.id.to_string(), attachment);
    said
}

/// Attaches and detaches until that fails.
async fn churn(store: &Arc<dyn VolumeStore>, name: &str) -> Result<String> {
    loop {
        let attached = attach(store, name, "churning", "write", Takeover::Never, None).await?;
        store.detach(&attached.id, Default::default()).await?;
        std::fs::write("/tmp/churning", "").unwrap();
    }
}
