//! What is refused before anything is read or moved. Pure. For authors of stores.

use crate::{
    capability::{Capabilities, StoreInfo},
    error::{Error, Result},
    volume::{CreateOptions, Import, RootSpec, Source, UpdateOptions},
};

/// The most labels that a volume carries: they are read with every record of a listing.
pub const LABELS_MAX: usize = 256;

/// The longest value of a label, in bytes: a page of memory, far above what people filter by.
pub const LABEL_VALUE_MAX_BYTES: usize = 4096;

/// Refuses a spec or a source that this store cannot make.
///
/// # Errors
/// `Invalid` for what is wrong in itself; `Unsupported` for what this store cannot do.
pub fn create(info: &StoreInfo, options: &CreateOptions) -> Result<()> {
    let CreateOptions { spec, source, trust, .. } = options;
    root(&spec.root)?;
    size(spec.size_bytes)?;
    labels_count(spec.labels.len())?;
    spec.labels.values().try_for_each(|value| label_value(value))?;
    path(source)?;
    trust.map_or(Ok(()), |_| trustable(source))?;
    if spec.size_bytes.is_some() {
        info.require(Capabilities::ENFORCED_SIZE, "this store cannot enforce a size")?;
    }
    if spec.root.selinux_label.is_some() {
        info.require(Capabilities::LABEL, "this store cannot set an SELinux label")?;
    }
    match source {
        Source::Snapshot { .. } => info.require(Capabilities::SNAPSHOTS, "this store has no snapshots"),
        _ => Ok(()),
    }
}

/// Refuses an update that is wrong in itself, or that this store cannot make.
///
/// # Errors
/// `Invalid` or `Unsupported`.
pub fn update(info: &StoreInfo, options: &UpdateOptions) -> Result<()> {
    options.labels.values().flatten().try_for_each(|value| label_value(value))?;
    size(options.size_bytes.flatten())?;
    match options.size_bytes {
        Some(_) => info.require(Capabilities::ENFORCED_SIZE, "this store cannot enforce a size"),
        None => Ok(()),
    }
}

/// Refuses more labels than a volume carries.
///
/// # Errors
/// `Invalid`.
pub fn labels_count(count: usize) -> Result<()> {
    if count <= LABELS_MAX {
        return Ok(());
    }
    Err(Error::invalid("labels", "a volume has at most 256 labels").context("labels", count))
}

fn root(root: &RootSpec) -> Result<()> {
    /// chown(2) takes the highest number for "leave it as it is".
    const NO_ID: u32 = u32::MAX;
    if root.mode.is_some_and(|mode| mode > 0o7777) {
        return Err(Error::invalid("mode", "a mode has only permission bits, at most 07777"));
    }
    if root.uid == Some(NO_ID) {
        return Err(Error::invalid("uid", "4294967295 is nobody's number"));
    }
    if root.gid == Some(NO_ID) {
        return Err(Error::invalid("gid", "4294967295 is no group's number"));
    }
    match &root.selinux_label {
        Some(label) if label.is_empty() || label.contains('\0') => {
            Err(Error::invalid("selinux_label", "a label is not empty and has no NUL"))
        }
        _ => Ok(()),
    }
}

fn size(size_bytes: Option<u64>) -> Result<()> {
    match size_bytes {
        Some(0) => Err(Error::invalid("size_bytes", "a size is at least one byte")),
        _ => Ok(()),
    }
}

fn label_value(value: &str) -> Result<()> {
    if value.len() <= LABEL_VALUE_MAX_BYTES {
        return Ok(());
    }
    Err(Error::invalid("labels", "the value of a label has at most 4096 bytes").context("bytes", value.len()))
}

fn trustable(source: &Source) -> Result<()> {
    match source {
        Source::Tree(_) | Source::Directory { import: Import::Copy, .. } => Ok(()),
        _ => Err(Error::invalid("trust", "nothing is written by which this source could be believed or not")
            .advise("leave it out: only a tree, and a directory that is copied, is judged")),
    }
}

fn path(source: &Source) -> Result<()> {
    match source {
        Source::Directory { path, .. } if !path.is_absolute() => {
            Err(Error::invalid("source", "the path of a directory is absolute")
                .context("path", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ErrorKind,
        clock::SystemEnvironment,
        id::StoreId,
        name::{LabelKey, Labels},
        volume::VolumeSpec,
    };

    fn refusal(capabilities: Capabilities, spec: VolumeSpec) -> ErrorKind {
        let id = StoreId::mint(&SystemEnvironment, &SystemEnvironment);
        let info = StoreInfo::new("test", "test:", id, capabilities, crate::Characteristics::default());
        create(&info, &CreateOptions::default().with_spec(spec)).unwrap_err().kind()
    }

    #[test]
    fn bad_values_are_invalid_whatever_the_store_can() {
        let root = |root: RootSpec| VolumeSpec::default().with_root(root);
        let labels: Labels =
            (0..=LABELS_MAX).map(|n| (LabelKey::new(format!("l{n}")).unwrap(), String::new())).collect();
        for spec in [
            root(RootSpec::default().with_mode(0o10000_u32)),
            root(RootSpec::default().with_uid(u32::MAX)),
            root(RootSpec::default().with_gid(u32::MAX)),
            root(RootSpec::default().with_selinux_label("")),
            VolumeSpec::default().with_size_bytes(0_u64),
            VolumeSpec::default().with_labels(labels),
        ] {
            assert_eq!(refusal(Capabilities::empty(), spec.clone()), ErrorKind::Invalid, "{spec:?}");
        }
    }

    #[test]
    fn what_the_store_cannot_do_is_unsupported() {
        let sized = VolumeSpec::default().with_size_bytes(1_u64);
        assert_eq!(refusal(Capabilities::empty(), sized), ErrorKind::Unsupported);
        let mut labelled = VolumeSpec::default();
        labelled.root.selinux_label = Some("x".into());
        assert_eq!(refusal(Capabilities::ENFORCED_SIZE, labelled), ErrorKind::Unsupported);
    }
}
