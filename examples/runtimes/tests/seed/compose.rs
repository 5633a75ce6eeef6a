//! Docker Compose, with an entry of `volumes` that we render.

use super::volume::{Volume, source};
use persist::render::{
    RenderOptions, WorkloadPath,
    attached::{compose, docker::ApiVersion},
};
use runtimes::{Dockerd, IMAGE, Planned, SHELL, Said, run};
use serde_json::{Value, json};
use std::{fs, io, process::Command};

pub fn trials() -> Vec<Planned> {
    let programs = ["dockerd", "docker", "docker-compose", "busybox"];
    let name = "a_service_has_the_volume_and_one_whose_source_is_missing_does_not_start";
    vec![Planned::new("compose", name, &programs, || {
        service();
        Ok(())
    })]
}

fn service() {
    let (volume, dockerd) = (Volume::new(), Dockerd::start(&[]).unwrap());
    let (claim, target) = (volume.claim("shop"), WorkloadPath::new("/data").unwrap());
    let api = ApiVersion::new(1, 41);
    let entry = compose::volume(&source(&claim), &target, &RenderOptions::default(), api).unwrap();
    let mut entry = serde_json::to_value(entry).unwrap();
    if version().starts_with("1.") {
        // It is older than the specification, never makes a source that is missing, and says what it does not know.
        let refused = service_with(&dockerd, &entry).unwrap_err().to_string();
        assert!(refused.contains("create_host_path"), "{refused}");
        entry["bind"].as_object_mut().unwrap().remove("create_host_path");
    }
    assert_eq!(service_with(&dockerd, &entry).unwrap(), "from the service");
    assert_eq!(fs::read_to_string(claim.path().join("file")).unwrap(), "from the service\n");
    let gone = volume.target("gone");
    fs::remove_dir(&gone).unwrap();
    entry["source"] = json!(gone);
    assert!(service_with(&dockerd, &entry).is_err());
    assert!(!gone.exists(), "an empty directory stands for the volume");
}

fn version() -> String {
    run(Command::new("docker-compose").args(["version", "--short"])).and_then(Said::well).unwrap()
}

/// What a service says that has this entry among its volumes.
fn service_with(dockerd: &Dockerd, entry: &Value) -> io::Result<String> {
    let script = "echo from the service > /data/file; cat /data/file";
    let project = json!({ "version": "3.8", "services": { "shop": {
        "image": IMAGE, "network_mode": "none", "volumes": [entry], "command": [SHELL, "-c", script],
    } } });
    let home = tempfile::tempdir()?;
    let file = home.path().join("docker-compose.json");
    fs::write(&file, project.to_string())?;
    let mut command = Command::new("docker-compose");
    command.args(["--project-name", "persist", "--file"]).arg(&file).args(["run", "--rm", "-T", "shop"]);
    run(command.env("DOCKER_HOST", format!("unix://{}", dockerd.socket()))).and_then(Said::well)
}
