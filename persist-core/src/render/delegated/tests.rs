use super::*;
use crate::{
    ErrorKind,
    attachment::{Access, IdMapping},
    name::VolumeName,
    render::{
        WorkloadPath,
        kubernetes::{ClaimOptions, check_together},
    },
};
use serde_json::json;

fn export() -> Nfs {
    Nfs::new("files.example.org", "/srv/a b").unwrap()
}

fn target() -> WorkloadPath {
    WorkloadPath::new("/data").unwrap()
}

fn plain() -> RenderOptions {
    RenderOptions::default()
}

fn read_only() -> RenderOptions {
    plain().with_mode(Mode::ReadOnly)
}

fn context() -> RenderOptions {
    plain().with_label(Label::Context("system_u:object_r:container_file_t:s0".into()))
}

fn claim() -> ClaimOptions {
    ClaimOptions::new("shop", "prod", 1 << 30).unwrap()
}

#[track_caller]
fn refused_by<T: fmt::Debug>(answer: Result<T>) -> &'static str {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    error.field().unwrap()
}

#[test]
fn docker_gets_a_volume_of_its_own_driver() {
    let name = VolumeName::new("shop").unwrap();
    let lines = |options| {
        let answer = docker::nfs(&export(), &name, &target(), &options).unwrap();
        assert_eq!(answer.fencing, Fencing::None);
        (answer.rendered.create.to_string(), answer.rendered.mount.to_string())
    };
    let (create, mount) = lines(plain());
    assert_eq!(
        create,
        "volume create --driver local --label persist.fencing=none --opt type=nfs \
         --opt o=addr=files.example.org,nfsvers=4.2,nosuid,nodev --opt 'device=:/srv/a b' shop"
    );
    assert_eq!(mount, "--mount type=volume,source=shop,target=/data,volume-nocopy");
    let (create, mount) = lines(read_only());
    assert!(create.contains(",nodev,ro --opt"), "{create}");
    assert!(mount.ends_with(",readonly"), "{mount}");
    let (create, _) = lines(context());
    assert!(create.contains(",nosharecache,context=system_u:object_r:container_file_t:s0 "), "{create}");
}

#[test]
fn a_mount_command_names_server_and_export() {
    let line = |source: &Nfs, options| mount::nfs(source, &target(), &options).unwrap().rendered.to_string();
    assert_eq!(
        line(&export(), read_only()),
        "mount --types nfs --options nfsvers=4.2,nosuid,nodev,ro -- 'files.example.org:/srv/a b' /data"
    );
    let v6 = Nfs::new("fe80::1", "/").unwrap().with_version(NfsVersion::V4_1);
    assert_eq!(
        line(&v6, plain()),
        "mount --types nfs --options nfsvers=4.1,nosuid,nodev -- '[fe80::1]:/' /data"
    );
}

#[test]
fn a_mount_unit_says_in_its_first_line_that_nothing_fences() {
    let unit = systemd::nfs(&export(), &target(), &plain()).unwrap().rendered;
    assert_eq!(unit.name, "data.mount");
    let expected = "# fencing: none\n[Unit]\nDescription=An export at /data\n\n[Mount]\nWhat=files.example.org:/srv/a b\n\
                    Where=/data\nType=nfs\nOptions=nfsvers=4.2,nosuid,nodev\n\n[Install]\nWantedBy=remote-fs.target\n";
    assert_eq!(unit.text, expected);
    let odd = Nfs::new("s", "/a\"b").unwrap();
    assert_eq!(refused_by(systemd::nfs(&odd, &target(), &plain())), "export");
}

#[test]
fn kubernetes_mounts_an_export_for_as_many_as_may_use_it() {
    let value = |access, options: &RenderOptions| {
        let answer = kubernetes::nfs(&export(), access, &target(), options, &claim()).unwrap();
        assert_eq!(answer.fencing, Fencing::None);
        serde_json::to_value(answer.rendered).unwrap()
    };
    let shared = value(Access::SharedAcrossNodes, &plain());
    let volume = &shared["persistentVolume"];
    assert_eq!(volume["metadata"], json!({"name": "shop", "annotations": {"persist/fencing": "none"}}));
    assert_eq!(volume["spec"]["nfs"], json!({"server": "files.example.org", "path": "/srv/a b"}));
    assert_eq!(volume["spec"]["mountOptions"], json!(["nfsvers=4.2", "nosuid", "nodev"]));
    assert_eq!(volume["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(volume["spec"]["storageClassName"], json!(""));
    for reader in [value(Access::ReadOnly, &plain()), value(Access::ReadWrite, &read_only())] {
        assert_eq!(reader["persistentVolume"]["spec"]["nfs"]["readOnly"], json!(true));
        assert_eq!(reader["persistentVolume"]["spec"]["accessModes"], json!(["ReadOnlyMany"]));
        assert_eq!(reader["volumeMount"]["recursiveReadOnly"], json!("Enabled"));
    }
}

#[test]
fn kubernetes_finds_a_volume_of_a_driver_by_its_handle() {
    let source =
        Csi::new("csi.example.org", "s3://bucket#shop").unwrap().with_attribute("store", "s3://bucket");
    let answer = |options: &RenderOptions| {
        kubernetes::csi(&source, Access::ReadWrite, &target(), options, &claim()).unwrap().rendered
    };
    let value = serde_json::to_value(answer(&read_only())).unwrap();
    let expected = json!({
        "driver": "csi.example.org", "volumeHandle": "s3://bucket#shop", "readOnly": true,
        "volumeAttributes": {"store": "s3://bucket"},
    });
    assert_eq!(value["persistentVolume"]["spec"]["csi"], expected);
    let volume = answer(&plain()).persistent_volume;
    assert!(check_together(std::slice::from_ref(&volume)).is_ok());
    assert_eq!(refused_by(check_together(&[volume.clone(), volume])), "handle");
    let long = Csi::new("d", "x".repeat(129)).unwrap();
    let error = kubernetes::csi(&long, Access::ReadWrite, &target(), &plain(), &claim()).unwrap_err();
    assert_eq!(error.field(), Some("handle"));
}

#[test]
fn mesos_asks_a_driver_of_docker() {
    let source = Driver::new("persist", "shop").unwrap().with_option("store", "local:///srv");
    let value =
        serde_json::to_value(mesos::driver(&source, &target(), &read_only()).unwrap().rendered).unwrap();
    let expected = json!({
        "container_path": "/data",
        "mode": "RO",
        "source": {"type": "DOCKER_VOLUME", "docker_volume": {
            "driver": "persist", "name": "shop",
            "driver_options": {"parameter": [{"key": "store", "value": "local:///srv"}]},
        }},
    });
    assert_eq!(value, expected);
}

/// What each target says to `options`: the option that it refuses.
fn refused_by_all(options: &RenderOptions) -> [Option<&'static str>; 5] {
    let name = VolumeName::new("shop").unwrap();
    let driver = Driver::new("persist", "shop").unwrap();
    let field = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        error.field()
    };
    [
        docker::nfs(&export(), &name, &target(), options).err().and_then(field),
        mount::nfs(&export(), &target(), options).err().and_then(field),
        systemd::nfs(&export(), &target(), options).err().and_then(field),
        kubernetes::nfs(&export(), Access::ReadWrite, &target(), options, &claim()).err().and_then(field),
        mesos::driver(&driver, &target(), options).err().and_then(field),
    ]
}

#[test]
fn what_a_target_cannot_express_is_refused_by_name() {
    let map = IdMapping { on_volume: 0, on_mount: 1, count: 1 };
    for ids in [Ids::OfWorkload, Ids::OwnerIsRoot, Ids::Mapped(vec![map])] {
        assert_eq!(refused_by_all(&plain().with_ids(ids)), [Some("ids"); 5]);
    }
    for label in [Label::Shared, Label::Private] {
        assert_eq!(refused_by_all(&plain().with_label(label)), [Some("label"); 5]);
    }
    let walks = [None, None, None, Some("label"), Some("label")];
    assert_eq!(refused_by_all(&context()), walks, "a context is an option of a mount");
    let list = plain().with_label(Label::Context("a:b:c:s0,c1".into()));
    assert_eq!(refused_by_all(&list), [Some("label"); 5], "a comma divides options");
    let slave = plain().with_propagation(Propagation::Slave);
    let in_pods = [Some("propagation"), Some("propagation"), Some("propagation"), None, Some("propagation")];
    assert_eq!(refused_by_all(&slave), in_pods);
}

#[test]
fn a_server_and_an_export_are_checked_where_they_come_in() {
    for bad in ["", "-o", "a b", "a,b", "a/b", "a\nb", "[::1]"] {
        assert_eq!(Nfs::new(bad, "/").unwrap_err().field(), Some("server"), "{bad:?}");
    }
    for bad in ["", "a", "//a", "/a/", "/a/../b", "/a\nb"] {
        assert_eq!(Nfs::new("s", bad).unwrap_err().field(), Some("export"), "{bad:?}");
    }
    assert_eq!(Csi::new("", "h").unwrap_err().field(), Some("driver"));
    assert_eq!(Driver::new("d", "").unwrap_err().field(), Some("name"));
}
