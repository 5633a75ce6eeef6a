//! Opening a store: its marker, the probe, the copies on this node, and what all that promises.

use super::{
    S3Store,
    calls::Calls,
    commits::Commits,
    engine::{Engine, PinsSeen, Retained},
    serving::Serving,
    turns::Turns,
};
use crate::{
    client::{Clients, Quirks, S3Options},
    config::{BASE_BYTES, S3Config},
    probe,
    remote::{
        Remote, SystemBootClock,
        store::{Marker, Opened, Probed},
    },
    workspace::Workspaces,
};
use persist_core::{
    Capabilities, Characteristics, Consistency, Error, ErrorKind, Fencing, OpenMode, OpenOptions, Result,
    StoreInfo, Survives, VolumeStore, capability::Evidence, needs,
};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Below the workspace directory: what is written, and what is read.
const WRITERS: &str = "volumes";
const READERS: &str = "readers";

impl S3Store {
    /// Opens the store that `config` describes.
    ///
    /// # Promise
    /// A prefix without a store is [`NotFound`](ErrorKind::NotFound) unless the mode says
    /// [`CreateIfMissing`](OpenMode::CreateIfMissing). Nothing is written to a bucket whose conditional writes
    /// were not proven: in full once for each endpoint, in short at each open for writing.
    ///
    /// # Errors
    /// `Unsupported` for a bucket that ignores or races conditional writes, for a workspace directory in
    /// memory or on a file server, and for a store that does not meet the needs; `Denied`, `Unavailable`.
    pub async fn open(config: S3Config, options: OpenOptions) -> Result<Self> {
        let location = config.location();
        opened(config, options).await.map_err(|error| error.during("open", location))
    }
}

async fn opened(config: S3Config, options: OpenOptions) -> Result<S3Store> {
    config.check()?;
    let extension = options.extension_of::<S3Options>()?;
    let s3 = extension.as_deref().cloned().unwrap_or_default();
    let clients = Clients::connect(&config, &s3)?;
    let boot = Arc::new(SystemBootClock);
    let remote = Remote::new(&clients, options.environment.clone(), boot);
    let there = match remote.open_marker(found_only(options.mode)).await {
        // It is made once the bucket is proven.
        Err(e) if e.kind() == ErrorKind::NotFound && options.mode == OpenMode::CreateIfMissing => None,
        found => Some(marker_of(found?)),
    };
    let (clients, probed) = proven(clients, &config, &options, there.as_ref()).await?;
    let remote = Remote { head: clients.head.clone(), data: clients.data.clone(), ..remote };
    let mut marker = match there {
        Some(marker) => marker,
        None => marker_of(remote.open_marker(options.mode).await?),
    };
    if let Some(probed) = probed {
        marker = remote.note_probe(&endpoint(&config), &probed).await?;
    }
    let (spaces, readers) = spaces(&config, &options).await?;
    let key = s3.key();
    let info = facts(&config, &options, &marker, spaces.as_ref(), key.is_some());
    needs::require(&info, &options.needs)?;
    let remote_nonce = remote.nonce();
    let engine = Engine {
        info: Arc::new(info),
        mode: options.mode,
        node: options.node.clone(),
        commits: Arc::new(Commits::new(remote.clone(), key)),
        remote,
        spaces,
        readers,
        workspace_limit: config.workspace_limit_bytes,
        lease_ttl: Duration::from_secs(config.lease_ttl_seconds),
        retained: Retained {
            commits: config.retained_commits,
            age: Duration::from_secs(config.retained_seconds),
        },
        upload_bytes: config.memory_bytes.saturating_sub(BASE_BYTES),
        fetch_bytes: config.memory_bytes / 2,
        calls: Calls::default(),
        turns: Turns::default(),
        serving: Serving::default(),
        pins: PinsSeen::default(),
        nonce: remote_nonce,
    };
    Ok(S3Store { engine: Arc::new(engine) })
}

/// The clients, as the probe found that they have to talk to this bucket, and what a full probe found.
async fn proven(
    clients: Clients,
    config: &S3Config,
    options: &OpenOptions,
    marker: Option<&Marker>,
) -> Result<(Clients, Option<Probed>)> {
    if options.mode == OpenMode::ReadOnly {
        return Ok((clients, None));
    }
    if let Some(probed) = marker.and_then(|marker| marker.probes.get(&endpoint(config))) {
        let clients = clients.with_quirks(quirks_of(probed)?);
        probe::short(&clients, &options.environment).await?;
        return Ok((clients, None));
    }
    let found = probe::full(&clients, &options.environment).await?;
    let clients = clients.with_quirks(found.quirks);
    let words = serde_json::to_string(&found.quirks)
        .map_err(|e| Error::internal("a quirk cannot be written as JSON").with_source(e))?;
    let probed = Probed { at: options.environment.clock.now(), quirks: [words].into() };
    Ok((clients, Some(probed)))
}

/// Under what the probes of a bucket are remembered: each way to it may treat conditions in its own way.
fn endpoint(config: &S3Config) -> String {
    config.endpoint.clone().unwrap_or_else(|| "aws".into())
}

fn found_only(mode: OpenMode) -> OpenMode {
    if mode == OpenMode::CreateIfMissing { OpenMode::Existing } else { mode }
}

fn marker_of(opened: Opened) -> Marker {
    match opened {
        Opened::Found(marker) | Opened::Made(marker) => marker,
    }
}

fn quirks_of(probed: &Probed) -> Result<Quirks> {
    let words = probed.quirks.iter().next();
    words.map_or_else(
        || Ok(Quirks::default()),
        |words| {
            serde_json::from_str(words).map_err(|e| {
                Error::new(ErrorKind::Unsupported, "the marker names a quirk that this version does not know")
                    .with_source(e)
                    .advise("use a newer version")
            })
        },
    )
}

/// The copies on this node; none for a store that is only looked after.
async fn spaces(
    config: &S3Config,
    options: &OpenOptions,
) -> Result<(Option<Workspaces>, Option<Workspaces>)> {
    let at: Option<PathBuf> = match (&config.workspace, &options.state_directory) {
        (Some(at), _) => Some(at.clone()),
        // Several stores may share a state directory: each has its own part of it.
        (None, Some(state)) => Some(state.join(part_of(config))),
        (None, None) => None,
    };
    let Some(at) = at else { return Ok((None, None)) };
    let (node, environment) = (&options.node, &options.environment);
    let writers = Workspaces::open(&at.join(WRITERS), node.clone(), environment.clone()).await?;
    let readers = Workspaces::open(&at.join(READERS), node.clone(), environment.clone()).await?;
    Ok((Some(writers), Some(readers)))
}

/// A name for this store's part of a directory that stores share.
fn part_of(config: &S3Config) -> String {
    let place = format!("{:?} {} {}", config.endpoint, config.bucket, config.prefix);
    format!("s3-{}", crate::head::names::Digest::of(place.as_bytes()))
}

fn facts(
    config: &S3Config,
    options: &OpenOptions,
    marker: &Marker,
    spaces: Option<&Workspaces>,
    encrypted: bool,
) -> StoreInfo {
    let mut can = Capabilities::RELIABLE
        | Capabilities::PORTABLE
        | Capabilities::SNAPSHOTS
        | Capabilities::INSTANT_SNAPSHOTS
        | Capabilities::CLONES;
    can.set(Capabilities::ENCRYPTION, encrypted);
    let mut found = Characteristics::default();
    (found.survives, found.survives_evidence) = (Survives::HostLoss, Evidence::Assumed);
    found.fencing = Fencing::CommitGate;
    found.remarks = remarks(options);
    match spaces {
        Some(spaces) => {
            let near = spaces.near().info();
            let of_the_node = Capabilities::MOUNTS | Capabilities::ID_MAP | Capabilities::LABEL;
            can |= near.capabilities & of_the_node;
            can |= Capabilities::LOCAL_IO | Capabilities::SHARED_ON_NODE | Capabilities::MANY_READERS;
            found.cut_consistency = near.characteristics.cut_consistency;
            found.filesystem.clone_from(&near.characteristics.filesystem);
            found.file_name_max_bytes = near.characteristics.file_name_max_bytes;
            found.fsync_latency = near.characteristics.fsync_latency;
            found.remarks.extend(near.characteristics.remarks.iter().cloned());
        }
        None => {
            found.cut_consistency = Consistency::PerFile;
            found.remarks.push(
                "no LOCAL_IO, SHARED_ON_NODE and MANY_READERS: no workspace directory was given".into(),
            );
        }
    }
    StoreInfo::new(crate::SCHEME, config.location(), marker.id.clone(), can, found)
}

fn remarks(options: &OpenOptions) -> Vec<String> {
    let mut remarks = vec![
        "not FAST: an application's fsync is durable on this host only, until a sync has brought it into the bucket".to_owned(),
        "that the bucket keeps what it acknowledges, beyond the loss of a host, is assumed".to_owned(),
    ];
    if options.mode == OpenMode::ReadOnly {
        remarks.push("unproven: opened read-only, so its conditional writes were not probed".into());
    }
    remarks
}
