//! A volume of Kubernetes that is a directory of this node (`local`).

use super::Source;
use crate::{
    attachment::Access,
    error::{Error, Result},
    render::{
        Mode, RenderOptions, WorkloadPath,
        kubernetes::{AccessMode, ClaimOptions, LocalSource, NodeAffinity, Place, Provisioned, provisioned},
        text::Syntax,
    },
};

const SYNTAX: Syntax = Syntax { target: "Kubernetes local volume", without: &[] };

/// The objects that show `source` at `target` in a pod, which runs on the node that is called `host` there
/// (its label `kubernetes.io/hostname`).
///
/// Read-only holds for what is mounted inside as well (`recursiveReadOnly`, Kubernetes 1.33 or a feature gate):
/// a cluster that cannot keep that does not start the pod.
///
/// # Errors
/// `Unsupported` for ids and labels, which are the pod's; for propagation of a reader; for a target with a
/// colon and a path that is not printable UTF-8. `Invalid` for a host without a name.
pub fn local(
    source: &Source,
    target: &WorkloadPath,
    options: &RenderOptions,
    claim: &ClaimOptions,
    host: &str,
) -> Result<Provisioned> {
    if host.is_empty() {
        return Err(Error::invalid("host", "the node must have a name"));
    }
    source.check_forbidden_survives(SYNTAX.target, options)?;
    let path = SYNTAX.path("source", source.path())?.to_owned();
    let place = Place::Local { source: LocalSource { path }, affinity: NodeAffinity::to_host(host) };
    provisioned(place, access_mode(source.access, options), target, options, claim, None)
}

/// More than one node is never said of a directory of one.
fn access_mode(access: Access, options: &RenderOptions) -> AccessMode {
    match (access, options.mode) {
        (Access::ReadOnly, _) | (_, Mode::ReadOnly) => AccessMode::ReadOnlyMany,
        _ => AccessMode::ReadWriteOnce,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, target, written};
    use super::*;
    use crate::{
        attachment::Propagation,
        render::{Ids, Label},
    };
    use serde_json::{Value, json};

    fn claim() -> ClaimOptions {
        ClaimOptions::new("shop", "prod", 1 << 30).unwrap()
    }

    fn rendered(source: &Source, options: &RenderOptions) -> Value {
        serde_json::to_value(local(source, &target(), options, &claim(), "node-7").unwrap()).unwrap()
    }

    #[test]
    fn a_volume_is_for_its_claim_and_on_its_node() {
        let value = rendered(&written(), &RenderOptions::default());
        let expected = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "shop"},
            "spec": {
                "capacity": {"storage": "1073741824"},
                "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Filesystem",
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": "shop", "namespace": "prod"},
                "local": {"path": "/srv/volumes/shop"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-7"]},
                ]}]}},
            },
        });
        assert_eq!(value["persistentVolume"], expected);
        let expected = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "shop", "namespace": "prod"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": "shop",
                "resources": {"requests": {"storage": "1073741824"}},
            },
        });
        assert_eq!(value["persistentVolumeClaim"], expected);
        assert_eq!(value["volume"], json!({"name": "shop", "persistentVolumeClaim": {"claimName": "shop"}}));
        assert_eq!(value["volumeMount"], json!({"name": "shop", "mountPath": "/data"}));
    }

    #[test]
    fn a_reader_reads_only_whatever_is_mounted_inside() {
        for value in [rendered(&read(), &RenderOptions::default()), rendered(&written(), &read_only())] {
            assert_eq!(value["persistentVolume"]["spec"]["accessModes"], json!(["ReadOnlyMany"]));
            assert_eq!(value["volume"]["persistentVolumeClaim"]["readOnly"], json!(true));
            let expected = json!({
                "name": "shop", "mountPath": "/data", "readOnly": true, "recursiveReadOnly": "Enabled",
            });
            assert_eq!(value["volumeMount"], expected);
        }
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let at = |target: &str, options: &RenderOptions| {
            local(&written(), &WorkloadPath::new(target).unwrap(), options, &claim(), "n")
        };
        let plain = RenderOptions::default();
        assert_eq!(refused(at("/a:b", &plain)), "target");
        assert_eq!(refused(at("/a", &plain.clone().with_ids(Ids::OfWorkload))), "ids");
        assert_eq!(refused(at("/a", &plain.clone().with_label(Label::Shared))), "label");
        assert_eq!(refused(at("/a", &read_only().with_propagation(Propagation::Slave))), "propagation");
        let slave = at("/a", &plain.with_propagation(Propagation::Slave)).unwrap();
        assert_eq!(slave.volume_mount.mount_propagation, Some("HostToContainer"));
    }

    #[test]
    fn a_name_is_a_dns_label() {
        for bad in ["", "Shop", "a.b", "-a", "a-", "a_b", &"x".repeat(64)] {
            assert_eq!(ClaimOptions::new(bad, "prod", 1).unwrap_err().field(), Some("name"), "{bad}");
            assert_eq!(ClaimOptions::new("shop", bad, 1).unwrap_err().field(), Some("namespace"), "{bad}");
        }
        assert_eq!(ClaimOptions::new("shop", "prod", 0).unwrap_err().field(), Some("size_bytes"));
    }
}
