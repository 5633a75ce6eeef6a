//! What a filesystem is good for: pure decisions on its type, its magic number and its options.

use std::{fmt, path::Path};

/// What the kernel says about the filesystem under a path.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// `f_type` of statfs(2).
    pub magic: u64,
    /// The type in the mount table, with its subtype; empty if the mount was not found.
    pub name: &'a str,
    /// Options of the mount and of the filesystem.
    pub options: &'a [&'a str],
}

/// What a filesystem is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// Keeps what was flushed across a power cut of this host.
    Durable,
    /// Keeps it while nothing goes wrong with the host; why not beyond is said.
    Fragile(&'static str),
    /// In memory: gone with the host's next boot.
    Memory,
    /// The writable layer of an overlay: in a container, gone with the container.
    Overlay,
    /// On another machine, in another program, or shared with other machines; where the data belongs is said.
    Foreign(Foreign),
    /// Not for files of ours, or not known to us.
    Unknown,
}

/// A filesystem that is not this host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// NFS: there is a store for it.
    Nfs,
    /// An object store shown as files: there is a store for it.
    ObjectStore,
    /// Another network filesystem.
    Network,
    /// A cluster filesystem: other hosts write to the same device.
    Cluster,
    /// A program serves it (FUSE, virtiofs).
    Program,
}

/// Decides what a filesystem is good for. The name rules where it is known, since several filesystems
/// share a magic number (ext2, ext3 and ext4; FUSE and virtiofs; tmpfs and devtmpfs).
pub fn classify(kind: Kind<'_>) -> Class {
    let class = by_name(kind.name).unwrap_or_else(|| by_magic(kind.magic));
    match class {
        Class::Durable if kind.options.iter().any(|option| NO_BARRIERS.contains(option)) => {
            Class::Fragile("it is mounted without write barriers, so a power cut may lose what was flushed")
        }
        class => class,
    }
}

impl Foreign {
    /// The URL or the place that fits instead, for the store at `path`.
    pub fn instead(self, path: &Path) -> String {
        match self {
            Self::Nfs => format!("use nfs+mounted://{}", path.display()),
            Self::ObjectStore => "use s3://BUCKET/PREFIX, without the mounted view of it".into(),
            Self::Network | Self::Cluster | Self::Program => {
                "put the store on a filesystem of this host (ext4, xfs, btrfs)".into()
            }
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nfs => "an NFS mount",
            Self::ObjectStore => "an object store shown as files",
            Self::Network => "a network filesystem",
            Self::Cluster => "a cluster filesystem, which other hosts write to",
            Self::Program => "served by a program (FUSE or virtiofs)",
        })
    }
}

/// ext4(5), xfs(5), btrfs(5) and the kernel's documentation of f2fs.
const NO_BARRIERS: [&str; 3] = ["nobarrier", "barrier=0", "fsync_mode=nobarrier"];

const NO_JOURNAL: &str = "it has no journal, so a power cut may damage it";

fn by_name(name: &str) -> Option<Class> {
    use Class::{Durable, Foreign as F, Fragile, Memory, Overlay, Unknown};
    if let Some(program) = name.strip_prefix("fuse.") {
        return Some(F(by_program(program)));
    }
    Some(match name {
        "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "bcachefs" | "zfs" | "jfs" | "nilfs2" => Durable,
        "ext2" | "vfat" | "msdos" | "exfat" | "hfs" | "hfsplus" | "udf" | "minix" | "ufs" => {
            Fragile(NO_JOURNAL)
        }
        "tmpfs" | "ramfs" | "rootfs" | "hugetlbfs" => Memory,
        "overlay" | "aufs" => Overlay,
        "nfs" | "nfs4" => F(Foreign::Nfs),
        "cifs" | "smb3" | "smbfs" | "9p" | "ceph" | "afs" | "coda" | "lustre" | "gpfs" | "orangefs"
        | "pvfs2" | "beegfs" | "ncpfs" | "vboxsf" | "vmhgfs" | "prl_fs" => F(Foreign::Network),
        "gfs2" | "ocfs2" => F(Foreign::Cluster),
        "fuse" | "fuseblk" | "virtiofs" => F(Foreign::Program),
        "devtmpfs" | "proc" | "sysfs" | "cgroup" | "cgroup2" | "devpts" | "securityfs" | "debugfs"
        | "tracefs" | "bpf" | "configfs" | "efivarfs" | "fusectl" | "mqueue" | "pstore" => Unknown,
        _ => return None,
    })
}

fn by_program(program: &str) -> Foreign {
    const OBJECT_STORES: [&str; 8] =
        ["s3fs", "mountpoint-s3", "goofys", "geesefs", "rclone", "gcsfuse", "juicefs", "blobfuse2"];
    const NETWORKS: [&str; 5] = ["sshfs", "glusterfs", "ceph", "ceph-fuse", "curlftpfs"];
    match program {
        program if OBJECT_STORES.contains(&program) => Foreign::ObjectStore,
        program if NETWORKS.contains(&program) => Foreign::Network,
        _ => Foreign::Program,
    }
}

/// Magic numbers of statfs(2) and of the kernel's `linux/magic.h`, for a mount that the table does not show.
fn by_magic(magic: u64) -> Class {
    use Class::{Durable, Foreign as F, Fragile, Memory, Overlay, Unknown};
    match magic {
        XFS | BTRFS | 0xf2f5_2010 | 0xca45_1a4e | 0x2fc1_2fc1 | 0x3153_464a | 0x3434 => Durable,
        EXT => Fragile("it may be ext2, which has no journal: its type could not be read"),
        0x4d44 | 0x2011_bab0 | 0x482b | 0x1501_3346 => Fragile(NO_JOURNAL),
        TMPFS | 0x8584_58f6 | 0x9584_58f6 => Memory,
        0x794c_7630 | 0x6175_6673 => Overlay,
        0x6969 => F(Foreign::Nfs),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b | 0x0102_1997 | 0x00c3_6400 | 0x5346_414f | 0x6b41_4653
        | 0x7375_7245 | 0x0bd0_0bd0 | 0x4750_4653 | 0x2003_0528 | 0x1983_0326 | 0x786f_4256 | 0xbacb_acbc => {
            F(Foreign::Network)
        }
        0x0116_1970 | 0x7461_636f => F(Foreign::Cluster),
        0x6573_5546 => F(Foreign::Program),
        _ => Unknown,
    }
}

pub(super) const BTRFS: u64 = 0x9123_683e;
const XFS: u64 = 0x5846_5342;
const EXT: u64 = 0xef53;
const TMPFS: u64 = 0x0102_1994;

#[cfg(test)]
mod tests {
    use super::*;

    fn class(magic: u64, name: &str, options: &[&str]) -> Class {
        classify(Kind { magic, name, options })
    }

    #[test]
    fn the_filesystems_of_a_host_are_told_apart_by_name() {
        let table = [
            ("ext4", EXT, Class::Durable),
            ("ext2", EXT, Class::Fragile(NO_JOURNAL)),
            ("xfs", XFS, Class::Durable),
            ("btrfs", BTRFS, Class::Durable),
            ("f2fs", 0xf2f5_2010, Class::Durable),
            ("tmpfs", TMPFS, Class::Memory),
            ("devtmpfs", TMPFS, Class::Unknown),
            ("ramfs", 0x8584_58f6, Class::Memory),
            ("overlay", 0x794c_7630, Class::Overlay),
            ("vfat", 0x4d44, Class::Fragile(NO_JOURNAL)),
            ("nfs4", 0x6969, Class::Foreign(Foreign::Nfs)),
            ("nfs", 0x6969, Class::Foreign(Foreign::Nfs)),
            ("cifs", 0xff53_4d42, Class::Foreign(Foreign::Network)),
            ("9p", 0x0102_1997, Class::Foreign(Foreign::Network)),
            ("ceph", 0x00c3_6400, Class::Foreign(Foreign::Network)),
            ("ocfs2", 0x7461_636f, Class::Foreign(Foreign::Cluster)),
            ("fuse.sshfs", 0x6573_5546, Class::Foreign(Foreign::Network)),
            ("fuse.s3fs", 0x6573_5546, Class::Foreign(Foreign::ObjectStore)),
            ("fuse.mine", 0x6573_5546, Class::Foreign(Foreign::Program)),
            ("fuseblk", 0x6573_5546, Class::Foreign(Foreign::Program)),
            ("virtiofs", 0x6573_5546, Class::Foreign(Foreign::Program)),
            ("proc", 0x9fa0, Class::Unknown),
        ];
        for (name, magic, wanted) in table {
            assert_eq!(class(magic, name, &["rw"]), wanted, "{name}");
        }
    }

    #[test]
    fn without_a_name_the_number_decides_and_never_promises_too_much() {
        assert_eq!(class(XFS, "", &[]), Class::Durable);
        assert!(matches!(class(EXT, "", &[]), Class::Fragile(_)));
        assert_eq!(class(0x6969, "", &[]), Class::Foreign(Foreign::Nfs));
        assert_eq!(class(0x6573_5546, "new-name", &[]), Class::Foreign(Foreign::Program));
        assert_eq!(class(0x1234, "", &[]), Class::Unknown);
    }

    #[test]
    fn without_barriers_nothing_survives_a_power_cut() {
        for option in NO_BARRIERS {
            assert!(matches!(class(EXT, "ext4", &["rw", option]), Class::Fragile(_)), "{option}");
        }
        assert_eq!(class(TMPFS, "tmpfs", &["nobarrier"]), Class::Memory);
    }

    #[test]
    fn the_refusal_of_nfs_names_the_url_that_fits() {
        assert_eq!(Foreign::Nfs.instead(Path::new("/srv/x")), "use nfs+mounted:///srv/x");
    }
}
