//! The commands of the README, as a stranger gives them.

use super::volume::Volume;
use runtimes::{Bundle, Dockerd, IMAGE, Planned, Podman, RootFilesystem, Said, run};
use std::{fs, path::Path, process::Command};

pub fn trials() -> Vec<Planned> {
    let programs = ["bash", "dockerd", "docker", "podman", "runc", "systemd-nspawn", "busybox"];
    let test = |name: &'static str, run: fn()| {
        Planned::new("readme", name, &programs, move || {
            run();
            Ok(())
        })
    };
    vec![test("each_command_of_the_table_does_what_it_says", commands)]
}

const README: &str = include_str!("../../../../README.md");

/// The rows of the table, each with its first command.
fn rows() -> Vec<(&'static str, &'static str)> {
    let section = README.split_once("\n## In a container\n").unwrap().1;
    let section = section.split_once("\n## ").unwrap().0;
    let rows = section.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|row| (row.split('|').nth(1).unwrap().trim(), row.split('`').nth(1).unwrap())).collect()
}

/// What stands for the reader's own machine: a store, an image, a daemon.
struct Machine {
    volume: Volume,
    dockerd: Dockerd,
    podman: Podman,
    root: RootFilesystem,
}

impl Machine {
    /// What `line` says with the names of the README given a meaning here.
    fn run(&self, line: &str) -> String {
        let podman = self.podman.run();
        let words: Vec<_> = podman.get_args().map(|word| word.to_str().unwrap()).collect();
        let functions = format!(
            "render() {{ {} \"$@\"; }}\n\
             podman() {{ shift; command podman {} \"$@\"; }}\n\
             systemd-nspawn() {{ command systemd-nspawn --quiet --register=no --keep-unit --pipe \"$@\"; }}\n",
            env!("CARGO_BIN_EXE_render"),
            words.join(" "),
        );
        let line = line.replace("local:///srv/volumes", &self.volume.url());
        let line = line.replace("IMAGE", IMAGE).replace("ROOT", self.root.path().to_str().unwrap());
        let mut command = Command::new("bash");
        command.args(["-e", "-u", "-c", &format!("{functions}{line}")]);
        command.env("DOCKER_HOST", format!("unix://{}", self.dockerd.socket()));
        run(&mut command).and_then(Said::well).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

fn commands() {
    let machine = Machine {
        volume: Volume::new(),
        dockerd: Dockerd::start(&[]).unwrap(),
        podman: Podman::new().unwrap(),
        root: RootFilesystem::new().unwrap(),
    };
    let mine = machine.volume.claim("mine");
    fs::write(mine.path().join("orders"), "3 apples").unwrap();
    let seen: Vec<_> =
        rows().into_iter().map(|(runtime, line)| check(&machine, runtime, line, mine.path())).collect();
    let containers = ["containers"; 4];
    let others = ["oci", "json", "plugin", "plugin", "systemd", "json", "json"];
    assert_eq!(seen, [&containers[..], &others].concat());
    machine.run("render detach local:///srv/volumes#shop");
    machine.volume.detach(&mine);
    assert_eq!(machine.volume.holders(), 0, "detached");
}

/// Runs a row, and says how it was checked.
fn check(machine: &Machine, runtime: &str, line: &str, volume: &Path) -> &'static str {
    match runtime.split([' ', ',']).next().unwrap() {
        // By the tests of the plugin.
        _ if line.contains("docker volume create") => "plugin",
        "Docker" if !runtime.contains("Compose") => in_a_container(machine, line),
        "Podman" | "systemd-nspawn" => in_a_container(machine, line),
        "runc" => {
            let mut bundle = Bundle::new(&machine.root).unwrap();
            bundle.mount(serde_json::from_str(&machine.run(line)).unwrap());
            assert_eq!(bundle.run("ls /data").and_then(Said::well).unwrap(), "orders");
            "oci"
        }
        "a" => {
            let text = machine.run(line.split(" >").next().unwrap());
            assert!(text.contains(&format!("BindPaths={}:/data", volume.display())), "{text}");
            "systemd"
        }
        "Docker" | "Kubernetes" | "Mesos" => {
            let text = machine.run(line.split(" >").next().unwrap());
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(value.to_string().contains(volume.to_str().unwrap()), "{value}");
            "json"
        }
        other => panic!("the README has a row about {other} that no test knows"),
    }
}

fn in_a_container(machine: &Machine, line: &str) -> &'static str {
    assert_eq!(machine.run(line), "orders", "{line}");
    "containers"
}
