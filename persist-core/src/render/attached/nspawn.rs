//! Options of systemd-nspawn(1).

use super::{ReadOnly, Source, Writes, check_label_as_is, check_propagation_unset};
use crate::{
    error::Result,
    render::{Arguments, Ids, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};

const SYNTAX: Syntax = Syntax { target: "systemd-nspawn bind", without: &[] };

/// Whose users a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Users {
    /// Those of this host: nspawn's own default.
    #[default]
    OfHost,
    /// Its own: it is started with `--private-users=`.
    Private,
}

/// `--bind=` or `--bind-ro=`, which holds for everything below it.
///
/// The root of a container with the host's users could lift the flag again: for a reader there,
/// `--drop-capability=CAP_SYS_ADMIN` comes along (systemd-nspawn(1) lists what is kept without it; an init
/// system does not start so, and wants users of its own).
///
/// [`Ids::OfWorkload`] is `idmap` and [`Ids::OwnerIsRoot`] is `rootidmap`. A container with users of its own and
/// [`Ids::AsStored`] sees files of nobody.
///
/// # Errors
/// `Unsupported` for a label, for propagation, for ids in ranges or with the host's users, and for a path that
/// is not printable UTF-8.
pub fn bind(
    source: &Source,
    target: &WorkloadPath,
    options: &RenderOptions,
    users: Users,
) -> Result<Arguments> {
    check_label_as_is(SYNTAX.target, options)?;
    check_propagation_unset(SYNTAX.target, options)?;
    let writes = source.checked_writes(SYNTAX.target, options, ReadOnly::Recursive)?;
    let word = if writes == Writes::Refused { "--bind-ro" } else { "--bind" };
    let from = escaped(SYNTAX.path("source", source.path())?);
    let to = escaped(SYNTAX.text("target", target.as_str())?);
    let mut words = vec![format!("{word}={from}:{to}{}", map(options, users)?)];
    if writes == Writes::Refused && users == Users::OfHost {
        words.push("--drop-capability=CAP_SYS_ADMIN".into());
    }
    Ok(words.into_iter().collect())
}

fn map(options: &RenderOptions, users: Users) -> Result<&'static str> {
    let refuse = |why| Err(refused(SYNTAX.target, "ids", why));
    match (&options.ids, users) {
        (Ids::AsStored, _) => Ok(""),
        (Ids::Mapped(_), _) => refuse("it maps all users of a container, or its root"),
        (_, Users::OfHost) => refuse("the container has the host's users, which are not mapped"),
        (Ids::OfWorkload, Users::Private) => Ok(":idmap"),
        (Ids::OwnerIsRoot, Users::Private) => Ok(":rootidmap"),
    }
}

/// A backslash before a colon and before itself (systemd-nspawn(1), `--bind=`).
fn escaped(path: &str) -> String {
    path.replace('\\', r"\\").replace(':', r"\:")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{read, read_only, refused, source, target, written};
    use super::*;
    use crate::{
        attachment::{Access, IdMapping, Mounted, Propagation},
        render::Label,
    };
    use proptest::prelude::*;

    fn line(source: &Source, options: &RenderOptions, users: Users) -> String {
        bind(source, &target(), options, users).unwrap().to_string()
    }

    #[test]
    fn a_writer_gets_one_argument() {
        let plain = RenderOptions::default();
        assert_eq!(line(&written(), &plain, Users::OfHost), "--bind=/srv/volumes/shop:/data");
        let mapped = |ids| line(&written(), &RenderOptions::default().with_ids(ids), Users::Private);
        assert_eq!(mapped(Ids::AsStored), "--bind=/srv/volumes/shop:/data");
        assert_eq!(mapped(Ids::OfWorkload), "--bind=/srv/volumes/shop:/data:idmap");
        assert_eq!(mapped(Ids::OwnerIsRoot), "--bind=/srv/volumes/shop:/data:rootidmap");
    }

    #[test]
    fn a_reader_cannot_lift_the_flag() {
        let plain = RenderOptions::default();
        assert_eq!(line(&read(), &plain, Users::Private), "--bind-ro=/run/shop:/data");
        let dropped = "--drop-capability=CAP_SYS_ADMIN";
        assert_eq!(line(&read(), &plain, Users::OfHost), format!("--bind-ro=/run/shop:/data {dropped}"));
        let expected = format!("--bind-ro=/srv/volumes/shop:/data {dropped}");
        assert_eq!(line(&written(), &read_only(), Users::OfHost), expected);
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let with = |options: RenderOptions| refused(bind(&written(), &target(), &options, Users::OfHost));
        let map = IdMapping { on_volume: 0, on_mount: 1, count: 1 };
        for ids in [Ids::Mapped(vec![map]), Ids::OfWorkload, Ids::OwnerIsRoot] {
            assert_eq!(with(RenderOptions::default().with_ids(ids)), "ids");
        }
        assert_eq!(with(RenderOptions::default().with_label(Label::Shared)), "label");
        assert_eq!(with(RenderOptions::default().with_propagation(Propagation::Slave)), "propagation");
        let odd = source("/a\nb", Access::ReadWrite, Mounted::No);
        assert_eq!(refused(bind(&odd, &target(), &RenderOptions::default(), Users::OfHost)), "source");
    }

    /// How systemd splits at colons (`extract_first_word` of `src/basic/extract-word.c`, without flags).
    fn split(text: &str) -> Vec<String> {
        let (mut words, mut chars) = (vec![String::new()], text.chars());
        while let Some(c) = chars.next() {
            match c {
                ':' => words.push(String::new()),
                '\\' => words.last_mut().unwrap().extend(chars.next()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words
    }

    proptest! {
        #[test]
        fn any_accepted_path_is_read_back(path in "/[a:\\\\ ,\"%é]{1,20}", inside in "/[a:\\\\ ,\"%é]{1,20}") {
            let target = WorkloadPath::new(&inside).unwrap();
            let source = source(&path, Access::ReadWrite, Mounted::No);
            let options = RenderOptions::default().with_ids(Ids::OfWorkload);
            let words = bind(&source, &target, &options, Users::Private).unwrap();
            let given = words.as_slice()[0].strip_prefix("--bind=").unwrap();
            prop_assert_eq!(split(given), [path, inside, "idmap".to_owned()]);
        }
    }
}
