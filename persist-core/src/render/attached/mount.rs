//! A command of mount(8).

use super::{ReadOnly, Source, check_ids_as_stored, check_label_as_is};
use crate::{
    attachment::Propagation,
    error::Result,
    render::{Arguments, RenderOptions, WorkloadPath, text::Syntax},
};

const SYNTAX: Syntax = Syntax { target: "mount", without: &[] };

/// `mount --rbind SOURCE TARGET`: the volume once more, at `target` of this host. Our own attachments with a
/// target do this better: in one step, checked, and undone by `detach`.
///
/// For a reader there is no flag: what is shown again is our own read-only mount, and a second flag would cost
/// it what else that mount forbids (mount(2), `MS_REMOUNT`).
///
/// # Errors
/// `Unsupported` for ids and labels, for read-only unless our own mount is, and for a path that is not
/// printable UTF-8.
pub fn command(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Arguments> {
    check_ids_as_stored(SYNTAX.target, options)?;
    check_label_as_is(SYNTAX.target, options)?;
    source.checked_writes(SYNTAX.target, options, ReadOnly::TopOnly)?;
    let spread = match options.propagation {
        None | Some(Propagation::Private) => "--make-rprivate",
        Some(Propagation::Slave) => "--make-rslave",
        Some(Propagation::Shared) => "--make-rshared",
    };
    let from = SYNTAX.path("source", source.path())?;
    Ok(["mount", "--rbind", spread, "--", from, target.as_str()].into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, target, written};
    use super::*;
    use crate::render::{Ids, Label};

    #[test]
    fn a_volume_is_mounted_once_more() {
        let line = |source: &Source, options: &RenderOptions| {
            command(source, &target(), options).unwrap().to_string()
        };
        let plain = RenderOptions::default();
        assert_eq!(line(&written(), &plain), "mount --rbind --make-rprivate -- /srv/volumes/shop /data");
        assert_eq!(line(&read(), &plain), "mount --rbind --make-rprivate -- /run/shop /data");
        let slave = plain.with_propagation(Propagation::Slave);
        assert_eq!(line(&written(), &slave), "mount --rbind --make-rslave -- /srv/volumes/shop /data");
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let with = |options: RenderOptions| refused(command(&written(), &target(), &options));
        assert_eq!(with(read_only()), "mode");
        assert_eq!(with(RenderOptions::default().with_ids(Ids::OfWorkload)), "ids");
        assert_eq!(with(RenderOptions::default().with_label(Label::Shared)), "label");
    }
}
