//! Attaches a volume for a container runtime, and prints what to tell it.
//!
//! ```text
//! render store STORE-URL
//! render RUNTIME [--read-only] STORE-URL#VOLUME PATH-IN-THE-CONTAINER
//! render detach STORE-URL#VOLUME
//! ```
//!
//! Only the first makes a store; a volume is created where it is missing. It stays attached, for all containers
//! on this host that use it, until `render detach`: no process of ours is needed meanwhile.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to people")]

use futures::TryStreamExt;
use persist::{
    Access, AttachOptions, Attachment, BindOptions, DetachOptions, OpenMode, OpenOptions, VolumeStore,
    VolumeStoreExt, VolumeUrl, Workload,
    attachment::AttachmentFilter,
    holder::Liveness,
    render::{
        Ids, RenderOptions, WorkloadPath,
        attached::{Source, compose, docker, kubernetes, mesos, mount, nspawn, oci, podman, systemd},
        kubernetes::ClaimOptions,
    },
};
use serde::Serialize;
use std::{process::ExitCode, sync::Arc};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Who holds what this program attaches: containers that write, and containers that read.
const WRITER: &str = "containers";
const READER: &str = "containers-that-read";

const USAGE: &str = "usage: render store STORE-URL\n\
                     \x20      render RUNTIME [--read-only] STORE-URL#VOLUME PATH-IN-THE-CONTAINER\n\
                     \x20      render detach STORE-URL#VOLUME\n\
                     RUNTIME: docker, compose, podman, nspawn, nspawn-private-users, oci, systemd, mount-unit, \
                     kubernetes, pod, mesos, mount";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into()).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["store", url] => make(url).await,
        ["detach", url] => detach(url).await,
        [runtime, "--read-only", url, path] => show(runtime, Access::ReadOnly, url, path).await,
        [runtime, url, path] => show(runtime, Access::SharedOnNode, url, path).await,
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("render: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn make(url: &str) -> Outcome {
    let options = OpenOptions::default().with_mode(OpenMode::CreateIfMissing);
    Ok(persist::open_with(url, options).await?.close().await?)
}

async fn show(runtime: &str, access: Access, url: &str, path: &str) -> Outcome {
    let target = WorkloadPath::new(path)?;
    let (store, volume) = open(url).await?;
    let workload = if access == Access::ReadOnly { READER } else { WRITER };
    let options = AttachOptions::default()
        .with_access(access)
        .with_workload(Workload::new(workload)?)
        // Containers outlive this program: only `render detach` ends the attachment, or a vouch.
        .with_liveness(Liveness::External);
    let bound = store.bind(&volume.volume, BindOptions::default().with_attach(options)).await?;
    println!("{}", rendered(runtime, bound.attachment(), &target)?);
    Ok(store.close().await?)
}

async fn detach(url: &str) -> Outcome {
    let (store, volume) = open(url).await?;
    for workload in [WRITER, READER] {
        let mine = AttachmentFilter::default()
            .with_volume(volume.volume.clone())
            .with_workload(Workload::new(workload)?);
        let attachments: Vec<_> = store.attachments(mine).try_collect().await?;
        for attachment in attachments {
            store.detach(&attachment.id, DetachOptions::default()).await?;
        }
    }
    Ok(store.close().await?)
}

async fn open(url: &str) -> Outcome<(Arc<dyn VolumeStore>, VolumeUrl)> {
    let volume: VolumeUrl = url.parse()?;
    let options = OpenOptions::default().with_node(persist::this_host()?);
    Ok((persist::open_with(&volume.store.to_string(), options).await?, volume))
}

/// What `runtime` is told to show `attachment` at `target`.
fn rendered(runtime: &str, attachment: &Attachment, target: &WorkloadPath) -> Outcome<String> {
    let (source, options) = (Source::from(attachment), RenderOptions::default());
    // A reader has a read-only mount of ours: no daemon is asked what it could do about that.
    let (api, features) = (docker::ApiVersion::new(1, 25), oci::Features::default());
    let in_container = options.clone().with_ids(Ids::OfWorkload);
    Ok(match runtime {
        "docker" => docker::mount(&source, target, &options, api)?.to_string(),
        "compose" => json(&compose::volume(&source, target, &options, api)?)?,
        "podman" => podman::mount(&source, target, &options)?.to_string(),
        "nspawn" => nspawn::bind(&source, target, &options, nspawn::Users::OfHost)?.to_string(),
        "nspawn-private-users" => {
            nspawn::bind(&source, target, &in_container, nspawn::Users::Private)?.to_string()
        }
        "oci" => json(&oci::mount(&source, target, &options, &features)?)?,
        "systemd" => systemd::bind_paths(&source, target, &options)?.trim_end().to_owned(),
        "mount-unit" => {
            let unit = systemd::mount_unit(&source, target, &options)?;
            format!("# {}\n{}", unit.name, unit.text.trim_end())
        }
        "mesos" => json(&mesos::volume(&source, target, &options)?)?,
        "mount" => mount::command(&source, target, &options)?.to_string(),
        "kubernetes" | "pod" => in_kubernetes(runtime, attachment, target)?,
        _ => return Err(USAGE.into()),
    })
}

/// The objects for `kubectl apply`, or the two parts of a pod.
fn in_kubernetes(part: &str, attachment: &Attachment, target: &WorkloadPath) -> Outcome<String> {
    /// A volume of Kubernetes must say a size; nobody enforces it here.
    const SAID_BYTES: u64 = 1 << 30;
    let claim = ClaimOptions::new(attachment.volume_name.as_str(), "default", SAID_BYTES)?;
    let name = rustix::system::uname();
    let host = name.nodename().to_str()?;
    let made = kubernetes::local(&Source::from(attachment), target, &RenderOptions::default(), &claim, host)?;
    json(&match part {
        "pod" => serde_json::json!({"volumes": [made.volume], "volumeMounts": [made.volume_mount]}),
        _ => serde_json::json!({
            "apiVersion": "v1", "kind": "List",
            "items": [made.persistent_volume, made.persistent_volume_claim],
        }),
    })
}

fn json(value: &impl Serialize) -> Outcome<String> {
    Ok(serde_json::to_string_pretty(value)?)
}
