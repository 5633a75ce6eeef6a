//! Whether a mount is what was asked for, decided from its line in the mount table. Pure.
//!
//! A kernel, or a mount program, may drop an option without a word; then the mount is not used.

use super::{Profile, Version};
use crate::address::Export;
use persist_core::{Capabilities, Error, ErrorKind, Result, error::Difference, linux::mountinfo::Mount};

/// What a mount is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing is written by the store.
    Reading,
    Writing,
}

/// Where a mount of ours is not as asked; empty if it is.
pub(crate) fn differences(export: &Export, profile: &Profile, mount: &Mount) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |field: &'static str, wanted: &str, actual: &str| {
        if wanted != actual {
            found.push(Difference::new(field, wanted, actual));
        }
    };
    differ("filesystem", "nfs4", &mount.filesystem);
    differ("source", &export.source(), &mount.source.to_string_lossy());
    differ("vers", profile.version.text(), value(mount, "vers"));
    differ("local_lock", "none", value(mount, "local_lock"));
    differ("hard", "hard", if has(mount, "hard") { "hard" } else { "soft" });
    for (key, wanted) in &profile.values {
        let actual = value(mount, key);
        match *key {
            // Never more than the server takes: less is no loss of a promise (nfs(5)).
            "rsize" | "wsize" if actual.parse::<u32>().is_ok_and(|n| n <= wanted.parse().unwrap_or(0)) => {}
            // One connection is not shown.
            "nconnect" if wanted == "1" => {}
            // Not shown by kernels that cannot encrypt, and then it is none.
            "xprtsec" if wanted == "none" && actual.is_empty() => {}
            _ => differ(key, wanted, actual.trim_matches('"')),
        }
    }
    for flag in &profile.flags {
        differ(flag, flag, if has(mount, flag) { flag } else { "" });
    }
    found
}

/// Refuses a mount that somebody else made, if it cannot hold a store.
///
/// # Errors
/// `Unsupported`, or `Invalid` for options that break what a store promises to writers.
pub(crate) fn check_mounted(mount: &Mount, used: Use) -> Result<Version> {
    let refusal = |error: Error| error.context("mount", mount.at.display());
    if mount.filesystem != "nfs4" {
        let error = Error::unsupported(Capabilities::PORTABLE, "the path is not on NFSv4");
        return Err(refusal(error.context("found", &mount.filesystem)).advise(
            "mount the export there first, or use the URL that fits: local:///path, nfs://server/export",
        ));
    }
    let version = Version::parse(value(mount, "vers")).ok_or_else(|| {
        let error = Error::unsupported(Capabilities::PORTABLE, "not a version of NFS that is supported");
        refusal(error.context("vers", value(mount, "vers"))).advise("mount it with vers=4.2 or vers=4.1")
    })?;
    if has(mount, "nocto") {
        let why = "the mount believes what it remembers of files that others change";
        let error = Error::new(ErrorKind::Invalid, why).context("option", "nocto");
        return Err(refusal(error).advise("mount it without nocto"));
    }
    let breaks = [
        (!has(mount, "hard"), "hard", "the mount is soft: it gives up writes that were believed to be kept"),
        (
            !matches!(value(mount, "local_lock"), "none" | ""),
            "local_lock",
            "locks hold on this host alone: two hosts do not see each other",
        ),
        (has(mount, "nolock"), "nolock", "locks hold on this host alone: two hosts do not see each other"),
    ];
    let broken = breaks.iter().find(|(broken, ..)| *broken && used == Use::Writing);
    if let Some((_, option, why)) = broken {
        let error = Error::new(ErrorKind::Invalid, *why).context("option", option);
        return Err(
            refusal(error).advise("mount it hard and with the server's locks, or open the store read-only")
        );
    }
    Ok(version)
}

fn value<'a>(mount: &'a Mount, key: &str) -> &'a str {
    let of = |option: &'a String| option.strip_prefix(key)?.strip_prefix('=');
    mount.filesystem_options.iter().find_map(of).unwrap_or("")
}

fn has(mount: &Mount, flag: &str) -> bool {
    mount.filesystem_has(flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Way;
    use persist_core::linux::mountinfo::MountTable;

    const AS_ASKED: &str = "rw,nosharecache,vers=4.2,rsize=262144,wsize=262144,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=127.0.0.1,local_lock=none,addr=127.0.0.1";

    fn mount(filesystem: &str, source: &str, options: &str) -> Mount {
        let line = format!("36 35 0:50 / /m rw,relatime - {filesystem} {source} {options}\n");
        MountTable::parse(line.as_bytes()).unwrap().mounts()[0].clone()
    }

    fn fields(url: &str, mount: &Mount) -> Vec<String> {
        let Way::Export(address) = Way::parse(&url.parse().unwrap()).unwrap() else { panic!("{url}") };
        differences(&address.export, &address.profile, mount).iter().map(|d| d.field.to_string()).collect()
    }

    #[test]
    fn a_mount_as_asked_has_no_differences() {
        let found = mount("nfs4", "files:/srv", AS_ASKED);
        for query in ["", "?rsize=1048576", "?sec=sys", "?xprtsec=none", "?nconnect=1"] {
            assert_eq!(fields(&format!("nfs://files/srv{query}"), &found), Vec::<String>::new(), "{query}");
        }
    }

    #[test]
    fn every_option_that_was_dropped_is_seen() {
        let found = mount("nfs4", "files:/srv", AS_ASKED);
        for (query, field) in [
            ("version=4.1", "vers"),
            ("sec=krb5p", "sec"),
            ("xprtsec=mtls", "xprtsec"),
            ("rsize=4096", "rsize"),
            ("timeo=100", "timeo"),
            ("nconnect=4", "nconnect"),
        ] {
            assert_eq!(fields(&format!("nfs://files/srv?{query}"), &found), [field], "{query}");
        }
        let labelled = fields("nfs://files/srv?context=a:b:c:s0", &found);
        assert_eq!(labelled, ["context"]);
        assert_eq!(fields("nfs://files/srv?profile=efs", &found), ["vers", "noresvport"]);
        assert_eq!(fields("nfs://other/srv", &found), ["source"]);
        let shared = mount("nfs4", "files:/srv", &AS_ASKED.replace("nosharecache,", ""));
        assert_eq!(fields("nfs://files/srv", &shared), ["nosharecache"]);
        let soft = AS_ASKED.replace("hard", "soft").replace("local_lock=none", "local_lock=all");
        assert_eq!(fields("nfs://files/srv", &mount("nfs4", "files:/srv", &soft)), ["local_lock", "hard"]);
    }

    #[test]
    fn a_quoted_label_is_the_label() {
        let options = format!("{AS_ASKED},context=\"a:b:c:s0\"");
        let found = mount("nfs4", "files:/srv", &options);
        assert_eq!(fields("nfs://files/srv?context=a:b:c:s0", &found), Vec::<String>::new());
    }

    #[test]
    fn of_the_mounts_of_others_only_those_that_keep_promises_serve_writers() {
        let check = |filesystem: &str, options: &str, used| {
            check_mounted(&mount(filesystem, "f:/s", options), used).map_err(|e| e.kind())
        };
        assert_eq!(check("nfs4", AS_ASKED, Use::Writing), Ok(Version::V42));
        assert_eq!(check("ext4", "rw", Use::Reading), Err(ErrorKind::Unsupported));
        assert_eq!(check("nfs", "rw,vers=3,hard", Use::Reading), Err(ErrorKind::Unsupported));
        for (old, new) in [("hard", "soft"), ("hard", "softerr"), ("=none", "=flock"), ("rw", "rw,nolock")] {
            let options = AS_ASKED.replace(old, new);
            assert_eq!(check("nfs4", &options, Use::Writing), Err(ErrorKind::Invalid), "{new}");
            assert_eq!(check("nfs4", &options, Use::Reading), Ok(Version::V42), "{new}");
        }
        for used in [Use::Reading, Use::Writing] {
            let options = AS_ASKED.replace("rw", "rw,nocto");
            assert_eq!(check("nfs4", &options, used), Err(ErrorKind::Invalid));
        }
        let four_zero = AS_ASKED.replace("4.2", "4.0");
        assert_eq!(check("nfs4", &four_zero, Use::Reading), Err(ErrorKind::Unsupported));
    }
}
