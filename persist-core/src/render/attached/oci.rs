//! An entry of `mounts` in the configuration of the OCI runtime specification (config.md, Mounts), for runc,
//! crun, youki and what stands on them.

use super::{ReadOnly, Source, Writes, check_label_as_is};
use crate::{
    attachment::{IdMapping, Propagation},
    error::Result,
    render::{Ids, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};
use serde::{Deserialize, Serialize};

const SYNTAX: Syntax = Syntax { target: "OCI mount", without: &[] };

/// An entry of `mounts`: serialise it into the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Mount {
    /// Where the workload sees it.
    pub destination: WorkloadPath,
    /// `none`: a bind mount has no filesystem of its own.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is on this host.
    pub source: String,
    /// How it is mounted.
    pub options: Vec<String>,
    /// How users are mapped; empty where they are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uid_mappings: Vec<Mapping>,
    /// How groups are mapped; empty where they are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gid_mappings: Vec<Mapping>,
}

/// A range of ids, in the words of the specification: `container` is the side of the volume, `host` what the
/// mount shows (as in the user namespace of mount_setattr(2), `MOUNT_ATTR_IDMAP`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Mapping {
    /// The first id on the volume.
    #[serde(rename = "containerID")]
    pub container_id: u32,
    /// The first id as the mount shows it.
    #[serde(rename = "hostID")]
    pub host_id: u32,
    /// How many.
    pub size: u32,
}

/// What a runtime can do, as it says itself: the output of `runc features` (features.md of the specification).
///
/// The default is a runtime that says nothing: what it could do is unknown, and not used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    #[serde(default)]
    mount_options: Vec<String>,
}

impl Features {
    /// A runtime that lists these options of mounts.
    pub fn of_mount_options<S: Into<String>>(options: impl IntoIterator<Item = S>) -> Self {
        Self { mount_options: options.into_iter().map(Into::into).collect() }
    }

    fn lists(&self, option: &str) -> bool {
        self.mount_options.iter().any(|listed| listed == option)
    }
}

/// The entry that shows `source` at `target`.
///
/// Root of a container with users of its own *and* `CAP_SYS_ADMIN` among them can lift what the runtime made
/// read-only; what is read-only by our own mount it cannot.
///
/// # Errors
/// `Unsupported` for a label, for a read-only mode that a runtime with these features does not keep below the
/// volume, for ids that it does not map, and for a path that is not printable UTF-8.
pub fn mount(
    source: &Source,
    target: &WorkloadPath,
    options: &RenderOptions,
    features: &Features,
) -> Result<Mount> {
    check_label_as_is(SYNTAX.target, options)?;
    let path = SYNTAX.path("source", source.path())?.to_owned();
    let mut words = vec!["rbind", propagation(options)];
    let can = if features.lists("rro") { ReadOnly::Recursive } else { ReadOnly::TopOnly };
    if source.checked_writes(SYNTAX.target, options, can)? == Writes::Refused {
        words.push("ro");
        words.extend((can == ReadOnly::Recursive).then_some("rro"));
        words.extend(source.forbidden());
    }
    let mappings = mappings(options)?;
    if options.ids != Ids::AsStored {
        words.push(id_map_word(features)?);
    }
    Ok(Mount {
        destination: target.clone(),
        kind: "none".into(),
        source: path,
        options: words.into_iter().map(Into::into).collect(),
        uid_mappings: mappings.clone(),
        gid_mappings: mappings,
    })
}

/// The entries in an order in which each is seen: a runtime mounts them as they are listed, and what is
/// mounted over a directory hides what was mounted inside it.
///
/// # Errors
/// `Invalid` for two entries at one destination.
pub fn in_mount_order(mut mounts: Vec<Mount>) -> Result<Vec<Mount>> {
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    match mounts.windows(2).find(|pair| pair[0].destination == pair[1].destination) {
        None => Ok(mounts),
        Some(pair) => Err(crate::Error::invalid("target", "two volumes have the same path in the workload")
            .context("value", &pair[0].destination)),
    }
}

/// Private unless asked otherwise, so that what the workload mounts stays its own.
fn propagation(options: &RenderOptions) -> &'static str {
    match options.propagation {
        None | Some(Propagation::Private) => "rprivate",
        Some(Propagation::Slave) => "rslave",
        Some(Propagation::Shared) => "rshared",
    }
}

fn mappings(options: &RenderOptions) -> Result<Vec<Mapping>> {
    let mapping =
        |map: &IdMapping| Mapping { container_id: map.on_volume, host_id: map.on_mount, size: map.count };
    match &options.ids {
        // Without mappings, those of the workload's user namespace hold (config.md, `idmap`).
        Ids::AsStored | Ids::OfWorkload => Ok(Vec::new()),
        Ids::Mapped(maps) if maps.is_empty() => Err(refused(SYNTAX.target, "ids", "no range is mapped")),
        Ids::Mapped(maps) => Ok(maps.iter().map(mapping).collect()),
        Ids::OwnerIsRoot => {
            Err(refused(SYNTAX.target, "ids", "it maps ranges that are given, and nothing else"))
        }
    }
}

/// The recursive word where the runtime has it: what is mounted inside a volume is mapped as well.
fn id_map_word(features: &Features) -> Result<&'static str> {
    let words = ["ridmap", "idmap"];
    words.into_iter().find(|word| features.lists(word)).ok_or_else(|| {
        refused(SYNTAX.target, "ids", "the runtime does not list idmap among its mount options")
            .advise("attach the volume with a MountPolicy that has an id map")
    })
}

#[cfg(test)]
mod tests;
