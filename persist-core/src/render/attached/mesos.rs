//! A `Volume` of Apache Mesos (container-volume.md of its documentation), as its HTTP API takes it.

use super::{ReadOnly, Source, Writes, check_ids_as_stored, check_label_as_is};
use crate::{
    attachment::Propagation,
    error::Result,
    render::{
        RenderOptions, WorkloadPath,
        mesos::{HostPath, Mode, MountPropagation, Volume, VolumeSource},
        refusal::refused,
        text::Syntax,
    },
};

const SYNTAX: Syntax = Syntax { target: "Mesos volume", without: &[] };

/// The entry of `ContainerInfo.volumes` that shows `source` at `target`.
///
/// # Errors
/// `Unsupported` for ids and labels, for private propagation, for read-only unless our own mount is (the agent
/// sets the flag on the top alone), and for a path that is not printable UTF-8.
pub fn volume(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Volume> {
    check_ids_as_stored(SYNTAX.target, options)?;
    source.check_forbidden_survives(SYNTAX.target, options)?;
    check_label_as_is(SYNTAX.target, options)?;
    let mode = match source.checked_writes(SYNTAX.target, options, ReadOnly::TopOnly)? {
        Writes::Allowed => Mode::ReadWrite,
        Writes::Refused => Mode::ReadOnly,
    };
    let mount_propagation = match options.propagation {
        None => None,
        Some(Propagation::Slave) => Some(MountPropagation::of("HOST_TO_CONTAINER")),
        Some(Propagation::Shared) => Some(MountPropagation::of("BIDIRECTIONAL")),
        Some(Propagation::Private) => {
            return Err(refused(SYNTAX.target, "propagation", "it has words for the other two alone"));
        }
    };
    let path = SYNTAX.path("source", source.path())?.to_owned();
    let host_path = HostPath { path, mount_propagation };
    Ok(Volume { container_path: target.clone(), mode, source: VolumeSource::HostPath { host_path } })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, target, written};
    use super::*;
    use crate::render::{Ids, Label, mesos::check_together};
    use serde_json::json;

    fn rendered(source: &Source, options: &RenderOptions) -> serde_json::Value {
        serde_json::to_value(volume(source, &target(), options).unwrap()).unwrap()
    }

    #[test]
    fn a_directory_of_the_host_in_its_mode() {
        let expected = json!({
            "container_path": "/data", "mode": "RW",
            "source": {"type": "HOST_PATH", "host_path": {"path": "/srv/volumes/shop"}},
        });
        assert_eq!(rendered(&written(), &RenderOptions::default()), expected);
        let value = rendered(&read(), &RenderOptions::default().with_propagation(Propagation::Slave));
        assert_eq!(value["mode"], json!("RO"));
        assert_eq!(value["source"]["host_path"]["mount_propagation"], json!({"mode": "HOST_TO_CONTAINER"}));
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let with = |options: RenderOptions| refused(volume(&written(), &target(), &options));
        assert_eq!(with(read_only()), "mode");
        assert_eq!(with(RenderOptions::default().with_ids(Ids::OfWorkload)), "ids");
        assert_eq!(with(RenderOptions::default().with_label(Label::Shared)), "label");
        assert_eq!(with(RenderOptions::default().with_propagation(Propagation::Private)), "propagation");
    }

    #[test]
    fn volumes_of_one_container_are_not_inside_each_other() {
        let at =
            |path| volume(&written(), &WorkloadPath::new(path).unwrap(), &RenderOptions::default()).unwrap();
        assert!(check_together(&[at("/a"), at("/ab"), at("/c")]).is_ok());
        assert_eq!(refused(check_together(&[at("/a/b"), at("/a")])), "target");
        assert_eq!(refused(check_together(&[at("/a"), at("/a")])), "target");
    }
}
