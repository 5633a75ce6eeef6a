//! Settings of systemd units (systemd.exec(5), systemd.mount(5)).

use super::{ReadOnly, Source, Writes, check_ids_as_stored, check_label_as_is, check_propagation_unset};
use crate::{
    error::Result,
    render::{
        RenderOptions, WorkloadPath,
        unit::{ITEM, UnitFile, VALUE, item, mount_unit_name, value},
    },
};

/// Lines for a unit, with their sections: a drop-in (`systemctl edit`) that shows the volume to a service.
///
/// systemd makes `BindReadOnlyPaths=` read-only with everything mounted below; a reader loses the capability
/// with which root would lift the flag again (systemd.exec(5), `ReadOnlyPaths=`). The service is ordered after
/// remote filesystems, in case the store is on one; a source that is not there fails the service.
///
/// # Errors
/// `Unsupported` for ids, labels and propagation, and for a path with a quote, a backslash, a colon or a
/// control character.
pub fn bind_paths(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<String> {
    check_plain(ITEM.target, options)?;
    let writes = source.checked_writes(ITEM.target, options, ReadOnly::Recursive)?;
    let from = item("source", ITEM.path("source", source.path())?)?;
    let to = item("target", target.as_str())?;
    let settings = match writes {
        Writes::Allowed => format!("BindPaths={from}:{to}\n"),
        Writes::Refused => {
            format!("BindReadOnlyPaths={from}:{to}\nCapabilityBoundingSet=~CAP_SYS_ADMIN\n")
        }
    };
    Ok(format!("[Unit]\nAfter=remote-fs.target\n\n[Service]\n{settings}"))
}

/// A `.mount` unit that shows the volume at `target` on this host.
///
/// For a reader it says nothing of read-only: the mount is one more of our own, which is read-only, and a
/// second flag would cost it what else our mount forbids (mount(2), `MS_REMOUNT`).
///
/// # Errors
/// As [`bind_paths`], though a colon is no matter here; and for read-only unless our own mount is.
pub fn mount_unit(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<UnitFile> {
    check_plain(VALUE.target, options)?;
    source.checked_writes(VALUE.target, options, ReadOnly::TopOnly)?;
    let what = value("source", VALUE.path("source", source.path())?)?;
    let to = value("target", target.as_str())?;
    let text = format!(
        "[Unit]\nDescription=A volume of persist at {to}\nAfter=remote-fs.target\n\n\
         [Mount]\nWhat={what}\nWhere={to}\nType=none\nOptions=rbind\n"
    );
    Ok(UnitFile { name: mount_unit_name(target.as_str()), text })
}

fn check_plain(target: &'static str, options: &RenderOptions) -> Result<()> {
    check_ids_as_stored(target, options)?;
    check_label_as_is(target, options)?;
    check_propagation_unset(target, options)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, source, target, written};
    use super::*;
    use crate::{
        attachment::{Access, Mounted, Propagation},
        render::{Ids, Label},
    };

    #[test]
    fn a_service_gets_a_drop_in() {
        let text = bind_paths(&written(), &target(), &RenderOptions::default()).unwrap();
        assert_eq!(text, "[Unit]\nAfter=remote-fs.target\n\n[Service]\nBindPaths=/srv/volumes/shop:/data\n");
        let line = |source: &Source, options: &RenderOptions| {
            let text = bind_paths(source, &target(), options).unwrap();
            text.split_once("[Service]\n").unwrap().1.trim_end().replace('\n', " ")
        };
        let dropped = "CapabilityBoundingSet=~CAP_SYS_ADMIN";
        assert_eq!(
            line(&read(), &RenderOptions::default()),
            format!("BindReadOnlyPaths=/run/shop:/data {dropped}")
        );
        let expected = format!("BindReadOnlyPaths=/srv/volumes/shop:/data {dropped}");
        assert_eq!(line(&written(), &read_only()), expected);
        let odd = source("/a b/100%", Access::ReadWrite, Mounted::No);
        assert_eq!(line(&odd, &RenderOptions::default()), "BindPaths=\"/a b/100%%\":/data");
    }

    #[test]
    fn a_mount_unit_has_the_name_of_its_path() {
        let target = WorkloadPath::new("/srv/my-shop").unwrap();
        let unit = mount_unit(&written(), &target, &RenderOptions::default()).unwrap();
        assert_eq!(unit.name, "srv-my\\x2dshop.mount");
        let expected = "[Unit]\nDescription=A volume of persist at /srv/my-shop\nAfter=remote-fs.target\n\n[Mount]\n\
                        What=/srv/volumes/shop\nWhere=/srv/my-shop\nType=none\nOptions=rbind\n";
        assert_eq!(unit.text, expected);
        assert!(mount_unit(&read(), &target, &RenderOptions::default()).is_ok());
        assert_eq!(refused(mount_unit(&written(), &target, &read_only())), "mode");
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        for (options, option) in [
            (RenderOptions::default().with_ids(Ids::OfWorkload), "ids"),
            (RenderOptions::default().with_label(Label::Shared), "label"),
            (RenderOptions::default().with_propagation(Propagation::Private), "propagation"),
        ] {
            assert_eq!(refused(bind_paths(&written(), &target(), &options)), option);
            assert_eq!(refused(mount_unit(&written(), &target(), &options)), option);
        }
        let odd = source("/a\\b", Access::ReadWrite, Mounted::No);
        assert_eq!(refused(bind_paths(&odd, &target(), &RenderOptions::default())), "source");
        let colon = WorkloadPath::new("/a:b").unwrap();
        assert_eq!(refused(bind_paths(&written(), &colon, &RenderOptions::default())), "target");
    }
}
