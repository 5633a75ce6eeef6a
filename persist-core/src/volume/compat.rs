//! Whether a volume that is there is what a repeated `create` asks for. Pure. For authors of stores.

use crate::{
    error::{Difference, Error, Result},
    volume::{Lifetime, Origin, Protection, RootSpec, Source, VolumeRecord, VolumeSpec},
};
use std::fmt::{Debug, Display};

/// Where the spec that was asked for and the volume that is there differ, field by field.
///
/// What was asked for must be there: owner, group, mode, label and size where given; every label that was
/// given, with its value (others may be there as well); protection where asked for; the same lifetime. A
/// default asks for nothing, except that a kept volume and a short-lived one are never the same.
pub fn differences(wanted: &VolumeSpec, actual: &VolumeSpec) -> Vec<Difference> {
    let mut found = root_differences(&wanted.root, &actual.root);
    found.extend(given("size_bytes", wanted.size_bytes.as_ref(), actual.size_bytes.as_ref()));
    for (key, value) in &wanted.labels {
        let differs = given("labels", Some(value), actual.labels.get(key));
        found
            .extend(differs.map(|d| Difference::new("labels", format_args!("{key}={}", d.wanted), d.actual)));
    }
    if wanted.protection == Protection::Protected && actual.protection != wanted.protection {
        found.push(debug("protection", &wanted.protection, &actual.protection));
    }
    if wanted.lifetime != actual.lifetime {
        found.push(debug("lifetime", &wanted.lifetime, &actual.lifetime));
    }
    found
}

/// As [`differences`], for a volume that is taken back: a default lifetime asks for nothing either.
pub fn differences_taken_back(wanted: &VolumeSpec, actual: &VolumeSpec) -> Vec<Difference> {
    let mut found = differences(wanted, actual);
    found.retain(|d| d.field != "lifetime" || wanted.lifetime != Lifetime::default());
    found
}

/// Where the source that was asked for and what the volume came from differ. `source_volume` is what the
/// name in the source stands for now, if anything: a source that is gone cannot be told from the right one.
pub fn source_difference(
    wanted: &Source,
    actual: &VolumeRecord,
    source_volume: Option<&crate::id::VolumeId>,
) -> Option<Difference> {
    let same_volume = |id| source_volume.is_none_or(|now| now == id);
    let same = match (wanted, &actual.origin) {
        (Source::Empty, Origin::Empty) | (Source::Tree(_), Origin::Tree) => true,
        (Source::Snapshot { snapshot, .. }, Origin::Snapshot { volume, snapshot: had }) => {
            snapshot == had && same_volume(volume)
        }
        (Source::Volume(_), Origin::Volume(volume)) => same_volume(volume),
        (Source::Directory { path, .. }, Origin::Directory(had)) => path == had,
        (Source::Trashed(id), _) => *id == actual.id,
        _ => false,
    };
    (!same).then(|| Difference::new("source", describe(wanted), describe_origin(&actual.origin)))
}

/// Refuses a volume that differs from what was asked for.
///
/// # Errors
/// `Conflict` with the differences.
pub fn refuse_differences(found: Vec<Difference>, volume: &VolumeRecord) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("the volume that is there is another than the one asked for", found)
        .context("id", &volume.id)
        .advise("use it as it is, update it, or choose another name"))
}

fn root_differences(wanted: &RootSpec, actual: &RootSpec) -> Vec<Difference> {
    let octal = |mode: &Option<u32>| mode.map(|mode| format!("{mode:#o}"));
    [
        given("uid", wanted.uid.as_ref(), actual.uid.as_ref()),
        given("gid", wanted.gid.as_ref(), actual.gid.as_ref()),
        given("mode", octal(&wanted.mode).as_ref(), octal(&actual.mode).as_ref()),
        given("selinux_label", wanted.selinux_label.as_ref(), actual.selinux_label.as_ref()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn given<T: PartialEq + Display>(
    field: &'static str,
    wanted: Option<&T>,
    actual: Option<&T>,
) -> Option<Difference> {
    let wanted = wanted?;
    match actual {
        Some(actual) if actual == wanted => None,
        Some(actual) => Some(Difference::new(field, wanted, actual)),
        None => Some(Difference::new(field, wanted, "not set")),
    }
}

fn debug(field: &'static str, wanted: &impl Debug, actual: &impl Debug) -> Difference {
    Difference::new(field, format_args!("{wanted:?}"), format_args!("{actual:?}"))
}

fn describe(source: &Source) -> String {
    match source {
        Source::Empty => "empty".into(),
        Source::Snapshot { volume, snapshot } => format!("snapshot {snapshot} of volume {volume}"),
        Source::Volume(volume) => format!("volume {volume}"),
        Source::Directory { path, .. } => format!("directory {}", path.display()),
        Source::Tree(_) => "a tree".into(),
        Source::Trashed(id) => format!("trashed volume {id}"),
    }
}

fn describe_origin(origin: &Origin) -> String {
    match origin {
        Origin::Empty => "empty".into(),
        Origin::Snapshot { volume, snapshot } => format!("snapshot {snapshot} of volume {volume}"),
        Origin::Volume(volume) => format!("volume {volume}"),
        Origin::Directory(path) => format!("directory {}", path.display()),
        Origin::Tree => "a tree".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{SystemEnvironment, Timestamp},
        id::VolumeId,
        name::{LabelKey, VolumeName},
    };
    use std::time::Duration;

    fn fields(wanted: &VolumeSpec, actual: &VolumeSpec) -> Vec<&'static str> {
        differences(wanted, actual).iter().map(|d| d.field).collect()
    }

    fn full() -> VolumeSpec {
        let mut spec = VolumeSpec::default().with_size_bytes(7_u64).with_protection(Protection::Protected);
        spec.root = RootSpec::default().with_uid(1_u32).with_gid(2_u32).with_mode(0o750_u32);
        spec.labels.insert(LabelKey::new("team").unwrap(), "blue".into());
        spec
    }

    #[test]
    fn what_was_not_asked_for_may_be_anything() {
        assert_eq!(fields(&full(), &full()), [""; 0]);
        assert_eq!(fields(&VolumeSpec::default(), &full()), [""; 0]);
    }

    #[test]
    fn what_was_asked_for_must_be_there_and_each_difference_is_named() {
        let found = fields(&full(), &VolumeSpec::default());
        assert_eq!(found, ["uid", "gid", "mode", "size_bytes", "labels", "protection"]);
        let short = VolumeSpec::default().with_lifetime(Lifetime::For(Duration::from_secs(1)));
        assert_eq!(fields(&VolumeSpec::default(), &short), ["lifetime"]);
        assert_eq!(differences_taken_back(&VolumeSpec::default(), &short), []);
    }

    #[test]
    fn another_source_is_a_difference_and_one_that_is_gone_is_not() {
        let mint = || VolumeId::mint(&SystemEnvironment, &SystemEnvironment);
        let (name, ours) = (VolumeName::new("a").unwrap(), mint());
        let time = Timestamp::from_millisecond(0);
        let mut record = VolumeRecord::new(mint(), name.clone(), VolumeSpec::default(), time);
        assert!(source_difference(&Source::Empty, &record, None).is_none());
        assert!(source_difference(&Source::Volume(name.clone()), &record, None).is_some());
        record.origin = Origin::Volume(ours.clone());
        assert!(source_difference(&Source::Volume(name.clone()), &record, None).is_none());
        assert!(source_difference(&Source::Volume(name.clone()), &record, Some(&ours)).is_none());
        assert!(source_difference(&Source::Volume(name), &record, Some(&mint())).is_some());
        assert!(source_difference(&Source::Trashed(record.id.clone()), &record, None).is_none());
    }
}
