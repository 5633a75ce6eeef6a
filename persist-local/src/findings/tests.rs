use super::*;
use persist_core::linux::filesystem::{Kind, Probed, classify};
use std::time::Duration;

fn look(name: &str, options: &[&str]) -> Look {
    Look::new(classify(Kind { magic: 0, name, options }), name, Writes::Allowed, 255)
}

fn findings(name: &str, abilities: Abilities) -> Findings {
    Findings {
        look: look(name, &[]),
        tried: Tried::Done(Probed::new(abilities, Duration::from_micros(7))),
        mounts: Ability::Lacks("no privilege".into()),
        id_map: Ability::Lacks("no privilege".into()),
        quota: Quota::Disabled,
        selinux: Selinux::Absent,
    }
}

#[test]
fn each_filesystem_gets_the_promises_it_keeps() {
    use Capabilities as C;
    let base = C::FAST | C::LOCAL_IO | C::SNAPSHOTS | C::SHARED_ON_NODE | C::MANY_READERS;
    let clones = Abilities::REFLINK;
    let cuts = clones | Abilities::SUBVOLUMES;
    let table = [
        ("ext4", Abilities::empty(), base | C::RELIABLE, Survives::HostCrash),
        ("xfs", clones, base | C::RELIABLE | C::CLONES, Survives::HostCrash),
        ("btrfs", cuts, base | C::RELIABLE | C::CLONES | C::INSTANT_SNAPSHOTS, Survives::HostCrash),
        ("ext2", Abilities::empty(), base, Survives::Process),
        ("tmpfs", Abilities::empty(), base, Survives::Process),
        ("overlay", Abilities::empty(), base, Survives::Process),
        ("new-one", Abilities::empty(), base.difference(C::FAST | C::LOCAL_IO), Survives::Process),
    ];
    for (name, abilities, flags, survives) in table {
        let found = findings(name, abilities);
        assert_eq!(found.capabilities(), flags, "{name}");
        let characteristics = Promises(&found).characteristics();
        assert_eq!(characteristics.survives, survives, "{name}");
        let atomic = flags.contains(C::INSTANT_SNAPSHOTS);
        assert_eq!(characteristics.cut_consistency == Consistency::Atomic, atomic, "{name}");
        assert_eq!(characteristics.fsync_latency, Some(Duration::from_micros(7)));
    }
}

#[test]
fn privilege_and_quota_add_their_flags() {
    use Capabilities as C;
    let plain = findings("btrfs", Abilities::SUBVOLUMES | Abilities::REFLINK);
    let mut found = plain.clone();
    found.mounts = Ability::Has;
    assert_eq!(found.capabilities(), plain.capabilities() | C::MOUNTS | C::LIVE_READERS);
    found.id_map = Ability::Has;
    assert_eq!(
        found.capabilities().difference(plain.capabilities()),
        C::MOUNTS | C::LIVE_READERS | C::ID_MAP
    );
    found.mounts = Ability::Lacks("x".into());
    assert_eq!(found.capabilities(), plain.capabilities(), "owners are mapped by a mount");
    let limits = Abilities::SUBVOLUMES | Abilities::REFLINK | Abilities::SUBVOLUME_LIMITS | Abilities::LABELS;
    let mut labelled = findings("btrfs", limits);
    let added = |found: &Findings| found.capabilities().difference(plain.capabilities());
    assert_eq!(added(&labelled), C::ENFORCED_SIZE, "nobody inherits a label without SELinux");
    labelled.selinux = Selinux::Active;
    assert_eq!(added(&labelled), C::ENFORCED_SIZE | C::LABEL);
}

#[test]
fn every_missing_flag_is_explained() {
    use Capabilities as C;
    let explained = [
        C::PORTABLE,
        C::SHARED_ACROSS_NODES,
        C::ENCRYPTION,
        C::RELIABLE,
        C::INSTANT_SNAPSHOTS,
        C::CLONES,
        C::ENFORCED_SIZE,
        C::MOUNTS,
        C::LIVE_READERS,
        C::LABEL,
    ];
    for name in ["tmpfs", "overlay", "ext2", "new-one"] {
        let remarks = Promises(&findings(name, Abilities::empty())).characteristics().remarks.join("\n");
        for flag in explained {
            assert!(remarks.contains(&flag.to_string()), "{name}: {flag} is not explained in\n{remarks}");
        }
    }
    let mut found = findings("ext4", Abilities::empty());
    found.mounts = Ability::Has;
    assert!(Promises(&found).characteristics().remarks.join("\n").contains("no ID_MAP: no privilege"));
}

#[test]
fn nothing_is_claimed_that_was_not_tried() {
    let mut found = findings("btrfs", Abilities::all());
    found.tried = Tried::ReadOnly;
    use Capabilities as C;
    assert_eq!(found.capabilities(), C::FAST | C::LOCAL_IO | C::RELIABLE);
    found.tried = Tried::Full("no space".into());
    assert_eq!(found.capabilities(), findings("ext4", Abilities::empty()).capabilities());
    let characteristics = Promises(&found).characteristics();
    assert_eq!(characteristics.fsync_latency, None);
    assert!(characteristics.remarks.join("\n").contains("make room and open again"));
}

#[test]
fn a_foreign_filesystem_is_refused_with_the_url_that_fits() {
    for (name, url) in [("nfs4", "nfs+mounted:///srv/x"), ("fuse.s3fs", "s3://"), ("cifs", "ext4")] {
        let error = check(&look(name, &[]), OpenMode::Existing, Path::new("/srv/x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let line = error.to_string();
        assert!(line.contains(url) && line.contains(name) && line.contains("/srv/x"), "{line}");
    }
    assert!(matches!(look("virtiofs", &[]).class, Class::Foreign(Foreign::Program)));
}

#[test]
fn a_read_only_filesystem_is_read_but_not_written() {
    let mut look = look("ext4", &["ro"]);
    look.writes = Writes::Refused;
    assert_eq!(check(&look, OpenMode::Existing, Path::new("/x")).unwrap_err().kind(), ErrorKind::Denied);
    check(&look, OpenMode::ReadOnly, Path::new("/x")).unwrap();
}
