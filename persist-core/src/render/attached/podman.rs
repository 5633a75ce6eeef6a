//! Options of `podman run`.

use super::{ReadOnly, Source, Writes, docker::propagation};
use crate::{
    error::Result,
    render::{Arguments, Ids, Label, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};

/// Before version 4 the value was split at commas, without quotes: neither goes into a path.
const MOUNT: Syntax = Syntax { target: "podman --mount", without: &[',', '"'] };
const VOLUME: Syntax = Syntax { target: "podman -v", without: &[':'] };

/// `--mount type=bind,...`.
///
/// [`Ids::OfWorkload`] is `idmap`, which needs a user namespace of the container. Podman's `U`, which gives
/// every file to the container's user by a walk, is never written.
///
/// # Errors
/// `Unsupported` for labels (`-v` has them), for other ids, for read-only unless our own mount is (Podman has
/// no word that holds for what is mounted inside), and for a path that its words cannot carry.
pub fn mount(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Arguments> {
    if options.label != Label::AsIs {
        return Err(refused(MOUNT.target, "label", "-v changes labels"));
    }
    source.check_forbidden_survives(MOUNT.target, options)?;
    let from = MOUNT.path("source", source.path())?;
    let to = MOUNT.text("target", target.as_str())?;
    let writes = source.checked_writes(MOUNT.target, options, ReadOnly::TopOnly)?;
    let mut words = format!("type=bind,source={from},target={to}");
    if writes == Writes::Refused {
        words.push_str(",ro=true");
    }
    if let Some(spread) = options.propagation {
        words.push_str(",bind-propagation=");
        words.push_str(propagation(spread));
    }
    if let Some(word) = id_map(MOUNT.target, options)? {
        words.push(',');
        words.push_str(word);
    }
    Ok(["--mount".to_owned(), words].into_iter().collect())
}

/// `-v source:target[:options]`; a label is given by a walk through the volume.
///
/// # Errors
/// As [`mount`], with a colon in a path, and a label that would be taken from other users of the volume.
pub fn volume(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Arguments> {
    source.check_forbidden_survives(VOLUME.target, options)?;
    let from = VOLUME.path("source", source.path())?;
    let to = VOLUME.text("target", target.as_str())?;
    let writes = source.checked_writes(VOLUME.target, options, ReadOnly::TopOnly)?;
    let mut words = Vec::new();
    words.extend((writes == Writes::Refused).then_some("ro"));
    words.extend(source.relabel(VOLUME.target, options)?);
    words.extend(options.propagation.map(propagation));
    words.extend(id_map(VOLUME.target, options)?);
    let colon = if words.is_empty() { "" } else { ":" };
    Ok(["-v".to_owned(), format!("{from}:{to}{colon}{}", words.join(","))].into_iter().collect())
}

fn id_map(target: &'static str, options: &RenderOptions) -> Result<Option<&'static str>> {
    match options.ids {
        Ids::AsStored => Ok(None),
        Ids::OfWorkload => Ok(Some("idmap")),
        Ids::OwnerIsRoot | Ids::Mapped(_) => {
            Err(refused(target, "ids", "it maps by the container's user namespace, and in no other way")
                .advise("attach the volume with a MountPolicy that has an id map"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, source, target, written};
    use super::*;
    use crate::attachment::{Access, IdMapping, Mounted, Propagation};

    #[test]
    fn a_bind_in_both_forms() {
        let long =
            |source: &Source, options: &RenderOptions| mount(source, &target(), options).unwrap().to_string();
        let short = |source: &Source, options: &RenderOptions| {
            volume(source, &target(), options).unwrap().to_string()
        };
        let plain = RenderOptions::default();
        assert_eq!(long(&written(), &plain), "--mount type=bind,source=/srv/volumes/shop,target=/data");
        assert_eq!(short(&written(), &plain), "-v /srv/volumes/shop:/data");
        assert_eq!(long(&read(), &plain), "--mount type=bind,source=/run/shop,target=/data,ro=true");
        assert_eq!(short(&read(), &plain), "-v /run/shop:/data:ro");
        let mapped = plain.clone().with_ids(Ids::OfWorkload).with_propagation(Propagation::Slave);
        let expected =
            "--mount type=bind,source=/srv/volumes/shop,target=/data,bind-propagation=rslave,idmap";
        assert_eq!(long(&written(), &mapped), expected);
        let labelled = mapped.with_label(Label::Shared);
        assert_eq!(short(&written(), &labelled), "-v /srv/volumes/shop:/data:z,rslave,idmap");
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let both = |source: &Source, options: &RenderOptions| {
            let (long, short) = (mount(source, &target(), options), volume(source, &target(), options));
            (refused(long), refused(short))
        };
        assert_eq!(both(&written(), &read_only()), ("mode", "mode"));
        let map = IdMapping { on_volume: 0, on_mount: 1, count: 1 };
        for ids in [Ids::OwnerIsRoot, Ids::Mapped(vec![map])] {
            assert_eq!(both(&written(), &RenderOptions::default().with_ids(ids)), ("ids", "ids"));
        }
        let taken = source("/x", Access::SharedOnNode, Mounted::No);
        assert_eq!(both(&taken, &RenderOptions::default().with_label(Label::Private)), ("label", "label"));
        let plain = RenderOptions::default();
        for bad in ["/a,b", "/a\"b"] {
            assert_eq!(
                refused(mount(&source(bad, Access::ReadWrite, Mounted::No), &target(), &plain)),
                "source"
            );
        }
        let colon = WorkloadPath::new("/a:b").unwrap();
        assert_eq!(refused(volume(&written(), &colon, &plain)), "target");
    }
}
