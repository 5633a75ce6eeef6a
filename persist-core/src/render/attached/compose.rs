//! An entry of a service's `volumes` in the Compose specification, in its long form.

use super::{
    ReadOnly, Source, Writes, check_ids_as_stored,
    docker::{ApiVersion, private_only, propagation, read_only_of},
};
use crate::{
    error::Result,
    render::{No, RenderOptions, WorkloadPath, Yes, text::Syntax},
};
use serde::{Deserialize, Serialize};

const SYNTAX: Syntax = Syntax { target: "compose volume", without: &[] };

/// An entry of `services.NAME.volumes`. Serialised as JSON it is also the YAML that Compose reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Volume {
    /// `bind`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is on this host; a dollar sign is doubled, as Compose wants it.
    pub source: String,
    /// Where the workload sees it; a dollar sign is doubled.
    pub target: String,
    /// Present for a reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<Yes>,
    /// How it is bound.
    pub bind: Bind,
}

/// The part of an entry that is about the bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bind {
    /// A source that is not there is an error.
    pub create_host_path: No,
    /// How mounts below spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// What read-only means for mounts inside the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recursive: Option<String>,
    /// `z` or `Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<String>,
}

/// The entry that shows `source` at `target`.
///
/// # Errors
/// `Unsupported` for ids, for read-only on a daemon before API 1.44 unless our own mount is, for a label that
/// would be taken from other users of the volume, and for a path that is not printable UTF-8.
pub fn volume(
    source: &Source,
    target: &WorkloadPath,
    options: &RenderOptions,
    api: ApiVersion,
) -> Result<Volume> {
    check_ids_as_stored(SYNTAX.target, options)?;
    source.check_forbidden_survives(SYNTAX.target, options)?;
    let can = read_only_of(api);
    let writes = source.checked_writes(SYNTAX.target, options, can)?;
    let forced = writes == Writes::Refused && can == ReadOnly::Recursive;
    let spread =
        if forced { Some(private_only(SYNTAX.target, options.propagation)?) } else { options.propagation };
    Ok(Volume {
        kind: "bind".into(),
        source: escaped(SYNTAX.path("source", source.path())?),
        target: escaped(target.as_str()),
        read_only: (writes == Writes::Refused).then_some(Yes),
        bind: Bind {
            create_host_path: No,
            propagation: spread.map(|spread| propagation(spread).into()),
            recursive: forced.then(|| "readonly".into()),
            selinux: source.relabel(SYNTAX.target, options)?.map(Into::into),
        },
    })
}

/// Compose puts variables in place of a dollar sign and what follows, unless it is doubled (Compose
/// specification, Interpolation).
fn escaped(path: &str) -> String {
    path.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, source, target, written};
    use super::*;
    use crate::{
        attachment::{Access, Mounted, Propagation},
        render::{Ids, Label},
    };
    use serde_json::json;

    const OLD: ApiVersion = ApiVersion::new(1, 43);
    const NEW: ApiVersion = ApiVersion::new(1, 44);

    fn rendered(source: &Source, options: &RenderOptions, api: ApiVersion) -> serde_json::Value {
        serde_json::to_value(volume(source, &target(), options, api).unwrap()).unwrap()
    }

    #[test]
    fn a_writer_gets_a_bind_that_creates_nothing() {
        let expected = json!({
            "type": "bind", "source": "/srv/volumes/shop", "target": "/data", "bind": {"create_host_path": false},
        });
        assert_eq!(rendered(&written(), &RenderOptions::default(), OLD), expected);
    }

    #[test]
    fn read_only_is_recursive_or_stands_on_our_own_mount() {
        let bind = json!({"create_host_path": false, "propagation": "rprivate", "recursive": "readonly"});
        let value = rendered(&written(), &read_only(), NEW);
        assert_eq!((&value["read_only"], &value["bind"]), (&json!(true), &bind));
        let value = rendered(&read(), &RenderOptions::default(), OLD);
        assert_eq!(
            (&value["read_only"], &value["bind"]),
            (&json!(true), &json!({"create_host_path": false}))
        );
        assert_eq!(refused(volume(&written(), &target(), &read_only(), OLD)), "mode");
        let shared = read_only().with_propagation(Propagation::Shared);
        assert_eq!(refused(volume(&written(), &target(), &shared, NEW)), "propagation");
    }

    #[test]
    fn labels_and_ids_follow_the_rules_of_docker() {
        let shared = RenderOptions::default().with_label(Label::Shared);
        assert_eq!(rendered(&written(), &shared, OLD)["bind"]["selinux"], json!("z"));
        let others = source("/x", Access::SharedOnNode, Mounted::No);
        let private = RenderOptions::default().with_label(Label::Private);
        assert_eq!(refused(volume(&others, &target(), &private, NEW)), "label");
        let ids = RenderOptions::default().with_ids(Ids::OwnerIsRoot);
        assert_eq!(refused(volume(&written(), &target(), &ids, NEW)), "ids");
    }

    #[test]
    fn no_variable_is_put_in_place_of_a_part_of_a_path() {
        let odd = source("/a$HOME/$$", Access::ReadWrite, Mounted::No);
        let value = rendered(&odd, &RenderOptions::default(), NEW);
        assert_eq!(value["source"], json!("/a$$HOME/$$$$"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let entry = volume(&read(), &target(), &read_only(), NEW).unwrap();
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<Volume>(&text).unwrap(), entry);
        assert!(serde_json::from_str::<Volume>(&text.replace("false", "true")).is_err());
    }
}
