//! Options of `docker run`, and of what takes the same words (`docker create`, `nerdctl run`).

use super::{ReadOnly, Source, Writes, check_ids_as_stored};
use crate::{
    attachment::Propagation,
    error::{Error, Result},
    render::{Arguments, Label, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};
use std::{fmt, str::FromStr};

const MOUNT: Syntax = Syntax { target: "docker --mount", without: &[] };
const VOLUME: Syntax = Syntax { target: "docker -v", without: &[':'] };

/// The version of a Docker daemon's API: `docker version --format '{{.Server.APIVersion}}'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// The first with `bind-recursive=readonly` (Docker 25, version history of the Engine API).
    pub(super) const RECURSIVE_READ_ONLY: Self = Self::new(1, 44);

    /// `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl FromStr for ApiVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self::new(major.parse().ok()?, minor.parse().ok()?)));
        parsed.ok_or_else(|| {
            let shown = crate::name::shortened(text);
            Error::invalid("api", "an API version is two numbers, as 1.44")
                .context("value", format!("{shown:?}"))
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// `--mount type=bind,...`: the source must be there, nothing is created in its place.
///
/// For a reader the daemon sets the flags of its mount anew: that our own mount forbids set-id programs and
/// devices ends there, and is left to the container (`--security-opt no-new-privileges`, its device rules).
///
/// # Errors
/// `Unsupported` for a label (`-v` has it), for ids (a daemon maps all or none), for read-only on a daemon
/// before API 1.44 unless our own mount is, for a reader of a mount that forbids execution, and for a path that
/// its words cannot carry.
pub fn mount(
    source: &Source,
    target: &WorkloadPath,
    options: &RenderOptions,
    api: ApiVersion,
) -> Result<Arguments> {
    check_ids_as_stored(MOUNT.target, options)?;
    source.check_forbidden_survives(MOUNT.target, options)?;
    if options.label != Label::AsIs {
        return Err(refused(MOUNT.target, "label", "only -v changes labels"));
    }
    let from = trimmed("source", MOUNT.path("source", source.path())?)?;
    let to = trimmed("target", MOUNT.text("target", target.as_str())?)?;
    let mut fields = vec!["type=bind".to_owned(), format!("source={from}"), format!("target={to}")];
    fields.extend(read_only_fields(source, options, api)?);
    let quoted: Vec<_> = fields.iter().map(|field| quoted(field)).collect();
    Ok(["--mount".to_owned(), quoted.join(",")].into_iter().collect())
}

/// `-v source:target[:options]`. A source that is not there is *created* by the daemon: where that matters, and
/// no label is wanted, [`mount`] is the better one.
///
/// # Errors
/// `Unsupported` for a colon in a path, for ids, for read-only unless our own mount is (no word of `-v` forces
/// it on what is mounted inside), and for a label that would be taken from other users of the volume.
pub fn volume(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Arguments> {
    check_ids_as_stored(VOLUME.target, options)?;
    source.check_forbidden_survives(VOLUME.target, options)?;
    let from = VOLUME.path("source", source.path())?;
    let to = VOLUME.text("target", target.as_str())?;
    let writes = source.checked_writes(VOLUME.target, options, ReadOnly::TopOnly)?;
    let mut words = Vec::new();
    words.extend((writes == Writes::Refused).then_some("ro"));
    words.extend(source.relabel(VOLUME.target, options)?);
    words.extend(options.propagation.map(propagation));
    let colon = if words.is_empty() { "" } else { ":" };
    Ok(["-v".to_owned(), format!("{from}:{to}{colon}{}", words.join(","))].into_iter().collect())
}

/// Docker's word for how mounts below spread.
pub(super) fn propagation(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "rprivate",
        Propagation::Slave => "rslave",
        Propagation::Shared => "rshared",
    }
}

/// What a daemon of this version can do about mounts inside a volume.
pub(super) fn read_only_of(api: ApiVersion) -> ReadOnly {
    if api >= ApiVersion::RECURSIVE_READ_ONLY { ReadOnly::Recursive } else { ReadOnly::TopOnly }
}

fn read_only_fields(source: &Source, options: &RenderOptions, api: ApiVersion) -> Result<Vec<String>> {
    let can = read_only_of(api);
    let recursive = source.checked_writes(MOUNT.target, options, can)? == Writes::Refused;
    let mut spread = options.propagation;
    let mut fields = Vec::new();
    if recursive {
        fields.push("readonly".to_owned());
    }
    if recursive && can == ReadOnly::Recursive {
        spread = Some(private_only(MOUNT.target, spread)?);
        fields.push("bind-recursive=readonly".to_owned());
    }
    fields.extend(spread.map(|spread| format!("bind-propagation={}", propagation(spread))));
    Ok(fields)
}

/// The daemon refuses `bind-recursive=readonly` with any other, and without any.
pub(super) fn private_only(target: &'static str, asked: Option<Propagation>) -> Result<Propagation> {
    match asked {
        None | Some(Propagation::Private) => Ok(Propagation::Private),
        Some(_) => Err(refused(target, "propagation", "a recursively read-only mount is private")),
    }
}

/// Newer clients refuse white space around a value, older ones keep it.
fn trimmed<'a>(option: &'static str, path: &'a str) -> Result<&'a str> {
    if path.trim() == path {
        Ok(path)
    } else {
        Err(refused(MOUNT.target, option, "white space at the end of a path cannot be written there"))
    }
}

/// The value of `--mount` is one record of RFC 4180, section 2: a field with a comma or a quote is quoted, and
/// its quotes are doubled.
fn quoted(field: &str) -> String {
    if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

#[cfg(test)]
mod tests;
