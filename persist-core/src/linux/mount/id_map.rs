//! Mapped owners: a user namespace that is used for its mapping alone (mount_setattr(2), idmapped mounts).

use crate::{
    attachment::IdMapping,
    error::{Error, Result},
    linux::{cause::cause, raw::mount::NamespaceKeeper},
};
use std::{fs::File, os::fd::OwnedFd};

/// The most lines that the kernel takes (user_namespaces(7)).
const LINES_MAX: usize = 340;

/// Refuses a mapping that the kernel would refuse, with the reason that it does not give.
pub(super) fn check(map: &[IdMapping]) -> Result<()> {
    let refusal = |rule| Err(Error::invalid("id_map", rule));
    if map.len() > LINES_MAX {
        return refusal("at most 340 ranges can be mapped");
    }
    let end = |first: u32, count: u32| first.checked_add(count);
    if map
        .iter()
        .any(|m| m.count == 0 || end(m.on_volume, m.count).is_none() || end(m.on_mount, m.count).is_none())
    {
        return refusal("a range holds at least one id and ends below 2^32 - 1");
    }
    let overlaps = |first: fn(&IdMapping) -> u32| {
        let mut ranges: Vec<_> = map.iter().map(|m| (u64::from(first(m)), u64::from(m.count))).collect();
        ranges.sort_unstable();
        ranges.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
    };
    if overlaps(|m| m.on_volume) || overlaps(|m| m.on_mount) {
        return refusal("ranges must not overlap, neither on the volume nor on the mount");
    }
    Ok(())
}

/// A user namespace with this mapping for users and groups; none for no mapping.
pub(super) fn namespace(map: &[IdMapping]) -> Result<Option<OwnedFd>> {
    if map.is_empty() {
        return Ok(None);
    }
    check(map)?;
    let named = |error: std::io::Error| cause(error, "map owners", "in a user namespace");
    let keeper = NamespaceKeeper::start().map_err(named)?;
    let process = format!("/proc/{}", keeper.pid());
    for file in ["uid_map", "gid_map"] {
        std::fs::write(format!("{process}/{file}"), lines(map)).map_err(named)?;
    }
    let namespace = File::open(format!("{process}/ns/user")).map_err(named)?;
    Ok(Some(namespace.into()))
}

/// The lines of user_namespaces(7). An idmapped mount reads them so: an owner on the volume is an id inside
/// the namespace, and is shown as the id outside that it stands for.
fn lines(map: &[IdMapping]) -> String {
    map.iter().map(|m| format!("{} {} {}\n", m.on_volume, m.on_mount, m.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(ranges: &[(u32, u32, u32)]) -> Vec<IdMapping> {
        ranges.iter().map(|&(on_volume, on_mount, count)| IdMapping { on_volume, on_mount, count }).collect()
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_a_reason() {
        for bad in [
            &[(0, 0, 0)][..],
            &[(u32::MAX, 0, 1)],
            &[(0, u32::MAX - 1, 2)],
            &[(0, 0, 10), (9, 100, 1)],
            &[(0, 0, 10), (100, 9, 1)],
        ] {
            let error = check(&map(bad)).unwrap_err();
            assert_eq!(error.field(), Some("id_map"), "{bad:?}");
        }
        check(&map(&[(0, 1000, 10), (10, 0, 1000)])).unwrap();
        check(&map(&[(0, 0, u32::MAX)])).unwrap();
        assert!(check(&map(&(0..341).map(|i| (i, i, 1)).collect::<Vec<_>>())).is_err());
    }

    #[test]
    fn a_line_maps_the_volume_to_the_mount() {
        assert_eq!(lines(&map(&[(0, 1000, 1), (5, 6, 7)])), "0 1000 1\n5 6 7\n");
    }
}
