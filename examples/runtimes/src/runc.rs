//! runc, and the bundle of the OCI runtime specification that it runs.

use crate::{RootFilesystem, SHELL, Said, run};
use serde_json::{Value, json};
use std::{fs, io, process::Command};
use tempfile::TempDir;

/// A bundle: the configuration that `runc spec` writes, and a root filesystem.
#[derive(Debug)]
pub struct Bundle {
    home: TempDir,
    /// The configuration, to be changed before [`run`](Self::run).
    pub configuration: Value,
}

impl Bundle {
    /// Makes one on `root`, without a terminal.
    ///
    /// # Errors
    /// Without runc, or a place.
    pub fn new(root: &RootFilesystem) -> io::Result<Self> {
        let home = tempfile::Builder::new().prefix("persist-runc-").tempdir()?;
        run(Command::new("runc").arg("spec").current_dir(home.path()))?.well()?;
        let mut configuration: Value = serde_json::from_slice(&fs::read(home.path().join("config.json"))?)?;
        configuration["process"]["terminal"] = json!(false);
        configuration["root"] = json!({"path": root.path(), "readonly": false});
        Ok(Self { home, configuration })
    }

    /// Adds an entry to its mounts, after those that are there.
    pub fn mount(&mut self, entry: Value) {
        if let Some(mounts) = self.configuration["mounts"].as_array_mut() {
            mounts.push(entry);
        }
    }

    /// Gives the container users of its own, which are the host's from `first` on, and all the rights over what is
    /// in its own namespaces.
    pub fn with_own_users(&mut self, first: u32) {
        let linux = &mut self.configuration["linux"];
        let map = json!([{"containerID": 0, "hostID": first, "size": 65_536}]);
        (linux["uidMappings"], linux["gidMappings"]) = (map.clone(), map);
        if let Some(namespaces) = linux["namespaces"].as_array_mut() {
            namespaces.push(json!({"type": "user"}));
        }
        for set in ["bounding", "effective", "permitted"] {
            let capabilities = &mut self.configuration["process"]["capabilities"][set];
            *capabilities = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN"]);
        }
        self.configuration["process"]["capabilities"]["ambient"] = json!([]);
    }

    /// Runs `script` with a shell in a container, which is gone afterwards.
    ///
    /// # Errors
    /// If runc cannot be started.
    pub fn run(&mut self, script: &str) -> io::Result<Said> {
        self.configuration["process"]["args"] = json!([SHELL, "-c", script]);
        fs::write(self.home.path().join("config.json"), self.configuration.to_string())?;
        let state = self.home.path().join("state");
        let name = self.home.path().file_name().unwrap_or_default();
        run(Command::new("runc")
            .arg("--root")
            .arg(state)
            .args(["run", "--bundle"])
            .arg(self.home.path())
            .arg(name))
    }
}

/// What runc says that it can do.
///
/// # Errors
/// Without runc.
pub fn runc_features() -> io::Result<String> {
    run(Command::new("runc").arg("features"))?.well()
}
