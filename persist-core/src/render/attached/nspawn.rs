//! Options of systemd-nspawn(1).

use super::{ReadOnly, Source, Writes, check_label_as_is, check_propagation_unset};
use crate::{
    error::Result,
    render::{Arguments, Ids, RenderOptions, WorkloadPath, refusal::refused, text::Syntax},
};

const SYNTAX: Syntax = Syntax { target: "systemd-nspawn bind", without: &[] };

/// `--bind=` or `--bind-ro=`, which holds for everything below it.
///
/// [`Ids::OfWorkload`] is `idmap` and [`Ids::OwnerIsRoot`] is `rootidmap`: both need `--private-users=`, without
/// which nspawn refuses to start. With it and [`Ids::AsStored`], the files belong to nobody there.
///
/// # Errors
/// `Unsupported` for a label, for propagation, for ids in ranges, and for a path that is not printable UTF-8.
pub fn bind(source: &Source, target: &WorkloadPath, options: &RenderOptions) -> Result<Arguments> {
    check_label_as_is(SYNTAX.target, options)?;
    check_propagation_unset(SYNTAX.target, options)?;
    let word = match source.checked_writes(SYNTAX.target, options, ReadOnly::Recursive)? {
        Writes::Allowed => "--bind",
        Writes::Refused => "--bind-ro",
    };
    let from = escaped(SYNTAX.path("source", source.path())?);
    let to = escaped(SYNTAX.text("target", target.as_str())?);
    let map = match options.ids {
        Ids::AsStored => "",
        Ids::OfWorkload => ":idmap",
        Ids::OwnerIsRoot => ":rootidmap",
        Ids::Mapped(_) => {
            return Err(refused(SYNTAX.target, "ids", "it maps the whole container or its root"));
        }
    };
    Ok([format!("{word}={from}:{to}{map}")].into_iter().collect())
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

    fn line(source: &Source, options: &RenderOptions) -> String {
        bind(source, &target(), options).unwrap().to_string()
    }

    #[test]
    fn a_bind_is_one_argument() {
        let plain = RenderOptions::default();
        assert_eq!(line(&written(), &plain), "--bind=/srv/volumes/shop:/data");
        assert_eq!(line(&read(), &plain), "--bind-ro=/run/shop:/data");
        assert_eq!(line(&written(), &read_only()), "--bind-ro=/srv/volumes/shop:/data");
        let mapped = |ids| line(&written(), &RenderOptions::default().with_ids(ids));
        assert_eq!(mapped(Ids::OfWorkload), "--bind=/srv/volumes/shop:/data:idmap");
        assert_eq!(mapped(Ids::OwnerIsRoot), "--bind=/srv/volumes/shop:/data:rootidmap");
    }

    #[test]
    fn what_it_cannot_express_is_refused_by_name() {
        let with = |options: RenderOptions| refused(bind(&written(), &target(), &options));
        let map = IdMapping { on_volume: 0, on_mount: 1, count: 1 };
        assert_eq!(with(RenderOptions::default().with_ids(Ids::Mapped(vec![map]))), "ids");
        assert_eq!(with(RenderOptions::default().with_label(Label::Shared)), "label");
        assert_eq!(with(RenderOptions::default().with_propagation(Propagation::Slave)), "propagation");
        let odd = source("/a\nb", Access::ReadWrite, Mounted::No);
        assert_eq!(refused(bind(&odd, &target(), &RenderOptions::default())), "source");
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
            let words = bind(&source, &target, &options).unwrap();
            let given = words.as_slice()[0].strip_prefix("--bind=").unwrap();
            prop_assert_eq!(split(given), [path, inside, "idmap".to_owned()]);
        }
    }
}
