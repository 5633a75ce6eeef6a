//! A volume that the runtime attaches itself: no lease of ours exists, nobody else is kept from writing, and
//! every output says so.
//!
//! What the runtime mounts forbids set-id programs and device files, as our own mounts do.

pub mod docker;
pub mod kubernetes;
pub mod mesos;
pub mod mount;
pub mod systemd;

use super::{Ids, Label, Mode, RenderOptions, refusal::refused, text::Syntax};
use crate::{
    attachment::Propagation,
    capability::Fencing,
    error::{Error, Result},
};
use std::{collections::BTreeMap, fmt};

/// What a runtime is told, and what holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegated<T> {
    /// What the runtime is told.
    pub rendered: T,
    /// [`Fencing::None`]: nothing keeps a second writer away.
    pub fencing: Fencing,
}

impl<T> Delegated<T> {
    fn new(rendered: T) -> Self {
        Self { rendered, fencing: Fencing::None }
    }
}

/// How an output says it, where its syntax has a place for remarks.
const NO_FENCING: &str = "none";

/// An export of an NFS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nfs {
    server: String,
    export: String,
    version: NfsVersion,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NfsVersion {
    /// RFC 7530.
    V4_0,
    /// RFC 8881.
    V4_1,
    /// RFC 7862.
    #[default]
    V4_2,
}

impl Nfs {
    /// The directory `export` of `server`: a host name or an address, IPv6 without brackets.
    ///
    /// # Errors
    /// `Invalid` for a server that is neither, and for an export that is not an absolute, normal, printable path.
    pub fn new(server: impl Into<String>, export: impl Into<String>) -> Result<Self> {
        let (server, export) = (server.into(), export.into());
        let shown = |text: &str| format!("{:?}", crate::name::shortened(text));
        if !is_host(&server) {
            let error = Error::invalid("server", "a server is a host name or an address");
            return Err(error.context("value", shown(&server)));
        }
        let parts = export.strip_prefix('/').map(|rest| rest.split('/').collect::<Vec<_>>());
        let is_normal = |parts: Vec<&str>| !parts.iter().any(|part| matches!(*part, "" | "." | ".."));
        let is_path = export == "/" || parts.is_some_and(is_normal);
        if !is_path || export.chars().any(char::is_control) {
            let error = Error::invalid("export", "an export is an absolute, normal, printable path");
            return Err(error.context("value", shown(&export)));
        }
        Ok(Self { server, export, version: NfsVersion::default() })
    }

    /// Says which version is spoken; without it, 4.2.
    #[must_use]
    pub fn with_version(mut self, version: NfsVersion) -> Self {
        self.version = version;
        self
    }

    /// `server:/path`, as mount.nfs(8) takes it.
    fn device(&self) -> String {
        let Self { server, export, .. } = self;
        if server.contains(':') { format!("[{server}]:{export}") } else { format!("{server}:{export}") }
    }

    /// The options of nfs(5) that all targets have in common.
    fn mount_options(&self, target: &'static str, options: &RenderOptions) -> Result<Vec<String>> {
        let mut words = vec![format!("nfsvers={}", self.version), "nosuid".into(), "nodev".into()];
        words.extend((options.mode == Mode::ReadOnly).then(|| "ro".into()));
        if let Label::Context(context) = &options.label {
            const LIST: Syntax = Syntax { target: "NFS options", without: &[',', '"', '\'', ' '] };
            let context = Syntax { target, ..LIST }.text("label", context)?;
            // A second mount of the same export would take its label from the first (nfs(5), `sharecache`).
            words.extend(["nosharecache".into(), format!("context={context}")]);
        }
        Ok(words)
    }
}

impl fmt::Display for NfsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4_0 => "4.0",
            Self::V4_1 => "4.1",
            Self::V4_2 => "4.2",
        })
    }
}

/// A volume of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Csi {
    /// The driver's name.
    pub driver: String,
    /// The driver's name of the volume: no other volume of the cluster may have it.
    pub handle: String,
    /// What the driver is told.
    pub attributes: BTreeMap<String, String>,
}

impl Csi {
    /// The volume `handle` of `driver`.
    ///
    /// # Errors
    /// `Invalid` if either is empty.
    pub fn new(driver: impl Into<String>, handle: impl Into<String>) -> Result<Self> {
        let (driver, handle) = (driver.into(), handle.into());
        check_given("driver", &driver)?;
        check_given("handle", &handle)?;
        Ok(Self { driver, handle, attributes: BTreeMap::new() })
    }

    /// Tells the driver `value` for `key`.
    #[must_use]
    pub fn with_attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// A volume of a Docker volume driver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Driver {
    /// The driver's name.
    pub driver: String,
    /// The volume's name.
    pub name: String,
    /// What the driver is told at create.
    pub options: BTreeMap<String, String>,
}

impl Driver {
    /// The volume `name` of `driver`.
    ///
    /// # Errors
    /// `Invalid` if either is empty.
    pub fn new(driver: impl Into<String>, name: impl Into<String>) -> Result<Self> {
        let (driver, name) = (driver.into(), name.into());
        check_given("driver", &driver)?;
        check_given("name", &name)?;
        Ok(Self { driver, name, options: BTreeMap::new() })
    }

    /// Tells the driver `value` for `key`.
    #[must_use]
    pub fn with_option(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.insert(key.into(), value.into());
        self
    }
}

fn check_given(field: &'static str, text: &str) -> Result<()> {
    match text.is_empty() || text.chars().any(char::is_control) {
        true => Err(Error::invalid(field, "it must be given, in printable characters")),
        false => Ok(()),
    }
}

/// The characters of host names (RFC 1123), and of addresses with a zone (RFC 4007).
fn is_host(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'%');
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(inner)
}

/// For targets that mount a filesystem and nothing more.
fn check_ids_as_stored(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.ids {
        Ids::AsStored => Ok(()),
        _ => Err(refused(target, "ids", "it shows owners as they are")),
    }
}

/// For targets that mount a filesystem, and walk through nothing.
fn check_label_without_walk(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.label {
        Label::AsIs | Label::Context(_) => Ok(()),
        _ => Err(refused(target, "label", "it does not change labels of files; a context it can give")),
    }
}

/// For targets that cannot change labels.
fn check_label_as_is(target: &'static str, options: &RenderOptions) -> Result<()> {
    match options.label {
        Label::AsIs => Ok(()),
        _ => Err(refused(target, "label", "it has no word for it")),
    }
}

/// For targets that do not let the caller choose.
fn check_propagation_unset(target: &'static str, propagation: Option<Propagation>) -> Result<()> {
    match propagation {
        None => Ok(()),
        Some(_) => Err(refused(target, "propagation", "it has no word for it")),
    }
}

#[cfg(test)]
mod tests;
