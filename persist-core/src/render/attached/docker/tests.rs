use super::super::fixture::{read, read_only, refused, source, target, written};
use super::*;
use crate::{
    attachment::{Access, MountPolicy, Mounted, Permission},
    render::Ids,
};
use proptest::prelude::*;

/// Of Docker 20.10, which Debian 12 has.
const OLD: ApiVersion = ApiVersion::new(1, 41);
const NEW: ApiVersion = ApiVersion::new(1, 44);

fn mounted(source: &Source, options: &RenderOptions, api: ApiVersion) -> String {
    mount(source, &target(), options, api).unwrap().to_string()
}

fn short(source: &Source, options: &RenderOptions) -> String {
    volume(source, &target(), options).unwrap().to_string()
}

#[test]
fn a_writer_gets_a_bind_that_creates_nothing() {
    let plain = RenderOptions::default();
    let expected = "--mount type=bind,source=/srv/volumes/shop,target=/data";
    assert_eq!(
        (mounted(&written(), &plain, OLD).as_str(), mounted(&written(), &plain, NEW).as_str()),
        (expected, expected)
    );
    assert_eq!(short(&written(), &plain), "-v /srv/volumes/shop:/data");
}

#[test]
fn read_only_is_recursive_or_stands_on_our_own_mount() {
    let recursive = "readonly,bind-recursive=readonly,bind-propagation=rprivate";
    let expected = format!("--mount type=bind,source=/srv/volumes/shop,target=/data,{recursive}");
    assert_eq!(mounted(&written(), &read_only(), NEW), expected);
    let plain = RenderOptions::default();
    assert_eq!(mounted(&read(), &plain, OLD), "--mount type=bind,source=/run/shop,target=/data,readonly");
    assert_eq!(short(&read(), &plain), "-v /run/shop:/data:ro");
    assert_eq!(refused(mount(&written(), &target(), &read_only(), OLD)), "mode");
    assert_eq!(refused(volume(&written(), &target(), &read_only())), "mode");
}

#[test]
fn propagation_is_as_asked_or_refused() {
    let slave = RenderOptions::default().with_propagation(Propagation::Slave);
    assert_eq!(
        mounted(&written(), &slave, OLD),
        "--mount type=bind,source=/srv/volumes/shop,target=/data,bind-propagation=rslave"
    );
    assert_eq!(short(&written(), &slave), "-v /srv/volumes/shop:/data:rslave");
    assert_eq!(refused(mount(&read(), &target(), &slave, NEW)), "propagation");
}

#[test]
fn labels_are_changed_by_the_short_form_alone_and_never_taken_from_others() {
    let label = |label| RenderOptions::default().with_label(label);
    assert_eq!(short(&written(), &label(Label::Shared)), "-v /srv/volumes/shop:/data:z");
    assert_eq!(short(&written(), &label(Label::Private)), "-v /srv/volumes/shop:/data:Z");
    let shared = source("/srv/x", Access::SharedOnNode, Mounted::No);
    assert_eq!(short(&shared, &label(Label::Shared)), "-v /srv/x:/data:z");
    let labelled = written().with_label(Some("system_u:object_r:container_file_t:s0".into()));
    for (source, asked) in [
        (&shared, Label::Private),
        (&labelled, Label::Private),
        (&read(), Label::Shared),
        (&written(), Label::Context("c".into())),
    ] {
        assert_eq!(refused(volume(source, &target(), &label(asked))), "label");
    }
    assert_eq!(refused(mount(&written(), &target(), &label(Label::Shared), NEW)), "label");
}

#[test]
fn what_it_cannot_express_is_refused_by_name() {
    let options = RenderOptions::default().with_ids(Ids::OfWorkload);
    assert_eq!(refused(mount(&written(), &target(), &options, NEW)), "ids");
    assert_eq!(refused(volume(&written(), &target(), &options)), "ids");
    let plain = RenderOptions::default();
    let odd = |path: &str| source(path, Access::ReadWrite, Mounted::No);
    assert_eq!(refused(volume(&odd("/a:b"), &target(), &plain)), "source");
    assert_eq!(refused(volume(&written(), &WorkloadPath::new("/a:b").unwrap(), &plain)), "target");
    for path in ["/a\nb", "/a ", "relative"] {
        assert_eq!(refused(mount(&odd(path), &target(), &plain, NEW)), "source", "{path:?}");
    }
}

#[test]
fn a_reader_of_a_mount_that_forbids_execution_is_refused() {
    let source = read().with_policy(MountPolicy::default().with_execute(Permission::Denied));
    assert_eq!(refused(mount(&source, &target(), &read_only(), NEW)), "policy");
    assert_eq!(refused(volume(&source, &target(), &read_only())), "policy");
    let writer = written().with_policy(MountPolicy::default().with_execute(Permission::Denied));
    assert!(mount(&writer, &target(), &RenderOptions::default(), NEW).is_ok(), "its flags are kept");
}

#[test]
fn a_version_is_two_numbers_in_their_order() {
    let version = |text: &str| text.parse::<ApiVersion>();
    assert!(version("1.9").unwrap() < version("1.44").unwrap());
    assert_eq!(version("1.44").unwrap().to_string(), "1.44");
    for bad in ["", "1", "1.x", "1.2.3", "v1.2"] {
        assert_eq!(version(bad).unwrap_err().field(), Some("api"), "{bad}");
    }
}

/// The client splits the value with the CSV reader of its language, then each field at its first `=`.
fn read_back(value: &str) -> Vec<(String, String)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(value.as_bytes());
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 1, "{value:?}");
    let pair = |field: &str| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_owned(), value.to_owned())
    };
    records[0].iter().map(pair).collect()
}

proptest! {
    #[test]
    fn any_accepted_path_is_read_back(path in "/[a,\"=:' é]{0,20}b", inside in "/[a,\"=:' é]{0,20}b") {
        let target = WorkloadPath::new(&inside).unwrap();
        let source = source(&path, Access::ReadWrite, Mounted::No);
        let words = mount(&source, &target, &RenderOptions::default(), NEW).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let expected = [pair("type", "bind"), pair("source", &path), pair("target", &inside)];
        prop_assert_eq!(read_back(&words.as_slice()[1]), expected);
    }

    #[test]
    fn the_short_form_has_the_same_paths_between_its_colons(path in "/[a,\"= é]{0,20}b") {
        let source = source(&path, Access::ReadWrite, Mounted::No);
        let words = volume(&source, &target(), &RenderOptions::default()).unwrap();
        let parts: Vec<_> = words.as_slice()[1].split(':').collect();
        prop_assert_eq!(parts, [path.as_str(), "/data"]);
    }
}
