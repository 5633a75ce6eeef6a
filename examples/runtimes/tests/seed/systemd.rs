//! systemd's own reading of unit files, and mount(8).

use super::volume::{Volume, source};
use persist::{
    Access, VolumeSpec,
    attachment::Mounted,
    render::{
        Mode, RenderOptions, WorkloadPath,
        attached::{mount, systemd},
    },
};
use runtimes::{Planned, Said, run};
use std::{fs, path::Path, process::Command};

pub fn trials() -> Vec<Planned> {
    let test = |programs: &[&'static str], name: &'static str, run: fn()| {
        Planned::new("systemd", name, programs, move || {
            run();
            Ok(())
        })
    };
    vec![
        test(&["systemd-analyze"], "systemd_has_nothing_to_say_about_a_drop_in_or_a_mount_unit", units),
        test(&["systemd-analyze"], "systemd_has_nothing_to_say_about_the_unit_of_the_docker_plugin", plugin),
        test(&["systemd-escape"], "a_mount_unit_has_the_name_that_systemd_gives_it", names),
        test(&["mount", "unshare"], "a_mount_command_shows_the_volume_as_it_is_attached", command),
    ]
}

fn units() {
    let volume = Volume::with("persist 100% ä,", VolumeSpec::default());
    let claim = volume.claim("shop");
    let dir = tempfile::tempdir().unwrap();
    let service = |name: &str, text: &str| {
        fs::write(dir.path().join(name), format!("{text}\n[Service]\nExecStart=/bin/true\n")).unwrap();
        complaints(&dir.path().join(name))
    };
    let target = WorkloadPath::new("/da ta%n").unwrap();
    for mode in [Mode::AsAttached, Mode::ReadOnly] {
        let options = RenderOptions::default().with_mode(mode);
        let text = systemd::bind_paths(&source(&claim), &target, &options).unwrap();
        assert_eq!(service("good.service", &text), "");
        let broken = text.replace("Paths=", "Paths=x");
        assert!(service("broken.service", &broken).contains("ignoring"), "systemd would have said so");
    }
    let unit = systemd::mount_unit(&source(&claim), &target, &RenderOptions::default()).unwrap();
    fs::write(dir.path().join(&unit.name), &unit.text).unwrap();
    assert_eq!(complaints(&dir.path().join(&unit.name)), "");
    fs::write(dir.path().join("other.mount"), &unit.text).unwrap();
    assert!(
        complaints(&dir.path().join("other.mount")).contains("doesn't match"),
        "systemd would have said so"
    );
}

/// The unit as it is shipped, with a program that is here.
fn plugin() {
    let unit = include_str!("../../../docker-volume-plugin/systemd/docker-volume-plugin.service");
    let unit = unit.replace("/usr/local/bin/docker-volume-plugin", "/bin/true");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("docker-volume-plugin.service");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        complaints(&file)
    };
    assert_eq!(check(&unit), "");
    assert!(check(&unit.replace("UMask=", "UMusk=")).contains("UMusk"), "systemd would have said so");
}

fn names() {
    let volume = Volume::new();
    let claim = volume.claim("shop");
    for path in ["/data", "/a-b/c_d", "/.hidden/.x", "/a b", "/100%", "/a:b,c=d", "/ä/日本", "/a.b/-c", "/~"]
    {
        let target = WorkloadPath::new(path).unwrap();
        let unit = systemd::mount_unit(&source(&claim), &target, &RenderOptions::default()).unwrap();
        let given = run(Command::new("systemd-escape").args(["--path", "--suffix=mount", path]));
        assert_eq!(given.and_then(Said::well).unwrap(), unit.name);
    }
}

fn complaints(unit: &Path) -> String {
    run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit)).unwrap().err
}

fn command() {
    let volume = Volume::new();
    let (writer, reader) = (volume.claim("writer"), volume.reader("reader"));
    let at = volume.target("at");
    let target = WorkloadPath::new(&at).unwrap();
    for (attachment, written) in [(&writer, "written"), (&reader, "refused")] {
        assert_eq!(attachment.access == Access::ReadOnly, attachment.report().mounted == Mounted::ReadOnly);
        let line = mount::command(&source(attachment), &target, &RenderOptions::default()).unwrap();
        // In a mount namespace of its own, which takes the mount with it.
        let script =
            format!("{line} && cd {target} && {{ touch file 2>/dev/null && echo written || echo refused; }}");
        let said = run(Command::new("unshare").args(["--mount", "sh", "-c", &script])).and_then(Said::well);
        assert_eq!(said.unwrap(), written);
    }
}
