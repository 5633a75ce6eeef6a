//! Ceph's RADOS gateway, on a cluster of one monitor and one object storage daemon.
//!
//! No manager, no authentication inside the cluster, one copy of each object, all in memory: what S3 clients
//! see is the same (<https://docs.ceph.com/en/pacific/install/manual-deployment/>).

use super::{
    program::{Running, free_port, run, wait_for_port, wait_until},
    service::{self, Service},
};
use persist_s3::client::IfMatch;
use std::{fs, path::PathBuf, process::Command};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// What it needs.
pub const PROGRAMS: &[&str] = &["ceph-mon", "ceph-osd", "radosgw", "ceph", "radosgw-admin", "monmaptool"];

/// Starts a cluster and a gateway.
pub fn started() -> Service {
    let cluster = Cluster::new();
    let monitor = cluster.monitor();
    let storage = cluster.storage();
    let gateway = cluster.gateway(cluster.port);
    let keys = ["--access-key=AK", "--secret=SK"];
    run(cluster.command("radosgw-admin").args(["user", "create", "--uid=t", "--display-name=t"]).args(keys));
    service::ready(Service {
        endpoint: gateway.url,
        access_key: "AK".into(),
        secret_key: "SK".into(),
        if_match: IfMatch::Bare,
        marker: OnceCell::new(),
        alive: vec![gateway.running, storage, monitor],
        cluster: Some(cluster),
    })
}

/// A gateway to the objects of a cluster.
pub struct Gateway {
    pub url: String,
    running: Running,
}

/// What all its processes know.
pub struct Cluster {
    id: String,
    /// Of the monitor, by version 2 and 1 of its protocol.
    addresses: String,
    /// Of the first gateway.
    port: u16,
    dir: TempDir,
}

impl Cluster {
    fn new() -> Self {
        let cluster = Self {
            id: uuid::Uuid::new_v4().to_string(),
            addresses: format!("[v2:127.0.0.1:{},v1:127.0.0.1:{}]", free_port(), free_port()),
            port: free_port(),
            dir: tempfile::Builder::new().prefix("persist-ceph-").tempdir().unwrap(),
        };
        fs::write(cluster.file("ceph.conf"), cluster.configuration()).unwrap();
        cluster
    }

    fn monitor(&self) -> Running {
        let map = self.file("monmap");
        run(Command::new("monmaptool")
            .args(["--create", "--fsid", &self.id, "--addv", "a", &self.addresses])
            .arg(&map));
        run(self.command("ceph-mon").args(["-i", "a", "--mkfs", "--monmap"]).arg(&map));
        let running = Running::start(self.command("ceph-mon").args(["-i", "a", "-f"]), &self.file("mon.out"));
        run(self.command("ceph").args(["--connect-timeout", "120", "status"]));
        running
    }

    fn storage(&self) -> Running {
        let id = uuid::Uuid::new_v4().to_string();
        let number = run(self.command("ceph").args(["osd", "create", &id]));
        let number = number.trim();
        fs::create_dir(self.file("osd")).unwrap();
        run(self.command("ceph-osd").args(["-i", number, "--mkfs", "--osd-uuid", &id]));
        let running =
            Running::start(self.command("ceph-osd").args(["-i", number, "-f"]), &self.file("osd.out"));
        let place = ["osd", "crush", "add", &format!("osd.{number}"), "1", "root=default", "host=local"];
        run(self.command("ceph").args(place));
        let up = || run(self.command("ceph").args(["osd", "stat"])).contains("1 up");
        wait_until("the storage daemon", up);
        running
    }

    /// Starts a gateway, and waits until it listens.
    pub fn gateway(&self, port: u16) -> Gateway {
        let mut command = self.command("radosgw");
        command.args(["-f", "-n", &format!("client.rgw-{port}")]);
        command.args(["--rgw-frontends", &format!("beast endpoint=127.0.0.1:{port}")]);
        let running = Running::start(&mut command, &self.file(&format!("rgw-{port}.out")));
        wait_for_port(port);
        Gateway { url: format!("http://127.0.0.1:{port}"), running }
    }

    /// Makes a user who has no rights yet, and whose access key is its name.
    pub fn user(&self, name: &str) {
        let named = [format!("--uid={name}"), format!("--display-name={name}")];
        let keys = [format!("--access-key={name}"), format!("--secret={}", Self::secret(name))];
        run(self.command("radosgw-admin").args(["user", "create"]).args(named).args(keys));
    }

    /// The secret key of a user.
    pub fn secret(name: &str) -> String {
        format!("secret-of-{name}")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.file("ceph.conf"));
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configuration(&self) -> String {
        let Self { id, addresses, dir, .. } = self;
        let dir = dir.path().display();
        format!(
            "[global]
             fsid = {id}
             mon host = {addresses}
             public network = 127.0.0.0/8
             auth cluster required = none
             auth service required = none
             auth client required = none
             ms mon client mode = crc
             mon allow pool size one = true
             mon data avail crit = 1
             osd pool default size = 1
             osd pool default min size = 1
             osd pool default pg num = 8
             osd pool default pg autoscale mode = off
             osd crush chooseleaf type = 0
             osd objectstore = memstore
             memstore device bytes = 1073741824
             run dir = {dir}
             admin socket = {dir}/$name.asok
             log file = {dir}/$name.log
             mon data = {dir}/mon
             osd data = {dir}/osd
             rgw data = {dir}/rgw
             rgw thread pool size = 64
            "
        )
        .lines()
        .map(|line| format!("{}\n", line.trim()))
        .collect()
    }
}
