use super::super::fixture::{read, read_only, refused, source, target, written};
use super::*;
use crate::{
    attachment::{Access, MountPolicy, Mounted, Permission},
    render::Label,
};
use proptest::prelude::*;
use serde_json::json;

/// What runc 1.2 lists, as far as it matters here.
fn able() -> Features {
    Features::of_mount_options(["rbind", "ro", "rro", "idmap", "ridmap"])
}

fn rendered(source: &Source, options: &RenderOptions, features: &Features) -> serde_json::Value {
    serde_json::to_value(mount(source, &target(), options, features).unwrap()).unwrap()
}

#[test]
fn a_writer_gets_a_private_recursive_bind() {
    let expected = json!({
        "destination": "/data", "type": "none", "source": "/srv/volumes/shop", "options": ["rbind", "rprivate"],
    });
    assert_eq!(rendered(&written(), &RenderOptions::default(), &Features::default()), expected);
}

#[test]
fn a_reader_gets_both_words_where_the_runtime_lists_the_second() {
    let value = rendered(&written(), &read_only(), &able());
    assert_eq!(value["options"], json!(["rbind", "rprivate", "ro", "rro"]));
    let value = rendered(&read(), &RenderOptions::default(), &able());
    assert_eq!(value["options"], json!(["rbind", "rprivate", "ro", "rro", "nosuid", "nodev"]));
}

#[test]
fn without_the_second_word_only_our_own_read_only_mount_will_do() {
    let unknown = Features::default();
    let expected = json!(["rbind", "rprivate", "ro", "nosuid", "nodev"]);
    assert_eq!(rendered(&read(), &read_only(), &unknown)["options"], expected);
    assert_eq!(refused(mount(&written(), &target(), &read_only(), &unknown)), "mode");
    let not_mounted = source("/srv/x", Access::ReadOnly, Mounted::No);
    assert_eq!(refused(mount(&not_mounted, &target(), &RenderOptions::default(), &unknown)), "mode");
}

#[test]
fn what_our_mount_forbids_a_reader_is_said_once_more() {
    let with =
        |policy: MountPolicy| rendered(&read().with_policy(policy), &read_only(), &able())["options"].clone();
    let lax = MountPolicy::default().with_set_id(Permission::Allowed).with_devices(Permission::Allowed);
    assert_eq!(with(lax), json!(["rbind", "rprivate", "ro", "rro"]));
    let strict = MountPolicy::default().with_execute(Permission::Denied);
    assert_eq!(with(strict), json!(["rbind", "rprivate", "ro", "rro", "nosuid", "nodev", "noexec"]));
}

#[test]
fn ids_are_mapped_from_the_volume_to_the_mount() {
    let map = IdMapping { on_volume: 0, on_mount: 100_000, count: 65_536 };
    let options = RenderOptions::default().with_ids(Ids::Mapped(vec![map]));
    let value = rendered(&written(), &options, &able());
    let expected = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    assert_eq!((&value["uidMappings"], &value["gidMappings"]), (&expected, &expected));
    assert_eq!(value["options"], json!(["rbind", "rprivate", "ridmap"]));

    let options = RenderOptions::default().with_ids(Ids::OfWorkload);
    let value = rendered(&written(), &options, &Features::of_mount_options(["idmap"]));
    assert_eq!((&value["options"], value.get("uidMappings")), (&json!(["rbind", "rprivate", "idmap"]), None));
}

#[test]
fn what_it_cannot_express_is_refused_by_name() {
    let with = |options: RenderOptions| refused(mount(&written(), &target(), &options, &Features::default()));
    assert_eq!(with(RenderOptions::default().with_ids(Ids::OfWorkload)), "ids");
    assert_eq!(with(RenderOptions::default().with_ids(Ids::Mapped(Vec::new()))), "ids");
    assert_eq!(with(RenderOptions::default().with_ids(Ids::OwnerIsRoot)), "ids");
    for label in [Label::Shared, Label::Private, Label::Context("c".into())] {
        assert_eq!(with(RenderOptions::default().with_label(label)), "label");
    }
}

#[test]
fn propagation_is_as_asked() {
    for (asked, word) in [(Propagation::Slave, "rslave"), (Propagation::Shared, "rshared")] {
        let options = RenderOptions::default().with_propagation(asked);
        assert_eq!(rendered(&written(), &options, &able())["options"], json!(["rbind", word]));
    }
}

#[test]
fn the_features_of_a_runtime_are_read_as_it_prints_them() {
    let features: Features =
        serde_json::from_str(r#"{"ociVersionMin": "1.0.0", "mountOptions": ["ro", "rro"], "linux": {}}"#)
            .unwrap();
    assert_eq!(features, Features::of_mount_options(["ro", "rro"]));
    assert_eq!(serde_json::from_str::<Features>("{}").unwrap(), Features::default());
}

#[test]
fn an_outer_mount_comes_before_what_is_inside_it() {
    let at = |path| {
        let target = WorkloadPath::new(path).unwrap();
        mount(&written(), &target, &RenderOptions::default(), &able()).unwrap()
    };
    let ordered = in_mount_order(vec![at("/a/b/c"), at("/a"), at("/a/b")]).unwrap();
    let order: Vec<_> = ordered.iter().map(|mount| mount.destination.as_str()).collect();
    assert_eq!(order, ["/a", "/a/b", "/a/b/c"]);
    assert_eq!(in_mount_order(vec![at("/a"), at("/a")]).unwrap_err().field(), Some("target"));
}

proptest! {
    #[test]
    fn any_accepted_path_is_read_back(path in "/\\PC{1,40}", inside in "/\\PC{1,40}") {
        let Ok(target) = WorkloadPath::new(&inside) else { return Ok(()) };
        let source = source(&path, Access::ReadWrite, Mounted::No);
        let text = serde_json::to_string(&mount(&source, &target, &RenderOptions::default(), &able()).unwrap());
        let value: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        prop_assert_eq!(&value["source"], &json!(path));
        prop_assert_eq!(&value["destination"], &json!(inside));
    }
}
