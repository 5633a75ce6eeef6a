//! The syntax of systemd's unit files (systemd.syntax(7), systemd.unit(5)).

use super::text::Syntax;
use crate::error::Result;

/// A unit file: its name says what it is about, so it is written under that name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnitFile {
    /// The file's name.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A value that is a path alone. A quote or a backslash is refused: what they mean differs between settings.
pub(super) const VALUE: Syntax = Syntax { target: "systemd unit", without: &['"', '\'', '\\'] };

/// A path in a list of pairs, which a colon and white space divide.
pub(super) const ITEM: Syntax = Syntax { target: "systemd unit", without: &['"', '\'', '\\', ':'] };

/// `path` as one item of a list: in quotes where it has white space, and without specifiers.
pub(super) fn item(option: &'static str, path: &str) -> Result<String> {
    let text = without_specifiers(ITEM.text(option, path)?);
    Ok(if text.contains(char::is_whitespace) { format!("\"{text}\"") } else { text })
}

/// `path` as a whole value. White space at its end would be lost.
pub(super) fn value(option: &'static str, path: &str) -> Result<String> {
    if path.trim() != path {
        let why = "white space at the end of a path is lost";
        return Err(super::refusal::refused(VALUE.target, option, why));
    }
    VALUE.text(option, path).map(without_specifiers)
}

/// A percent sign begins a specifier, unless it is doubled (systemd.unit(5), Specifiers).
fn without_specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// The name of the `.mount` unit of an absolute, normal path, as `systemd-escape --path --suffix=mount` gives it
/// (systemd.unit(5), String Escaping for Inclusion in Unit Names).
pub(super) fn mount_unit_name(path: &str) -> String {
    let mut name = String::new();
    for (index, byte) in path.trim_start_matches('/').bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if index == 0 => name.push_str("\\x2e"),
            b'_' | b':' | b'.' => name.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => name.push(byte.into()),
            byte => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name + ".mount"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_unit_is_named_by_its_path() {
        for (path, name) in [
            ("/data", "data.mount"),
            ("/srv/a-b_c", "srv-a\\x2db_c.mount"),
            ("/.hidden/.x", "\\x2ehidden-.x.mount"),
            ("/a b%\\ä", "a\\x20b\\x25\\x5c\\xc3\\xa4.mount"),
        ] {
            assert_eq!(mount_unit_name(path), name);
        }
    }

    #[test]
    fn an_item_is_quoted_where_it_must_be_and_never_expanded() {
        assert_eq!(item("source", "/a%n").unwrap(), "/a%%n");
        assert_eq!(item("source", "/a b").unwrap(), "\"/a b\"");
        for bad in ["/a:b", "/a\"b", "/a'b", "/a\\b", "/a\nb"] {
            assert_eq!(item("source", bad).unwrap_err().field(), Some("source"), "{bad:?}");
        }
        assert_eq!(value("source", "/a:b c").unwrap(), "/a:b c");
        assert_eq!(value("source", "/a ").unwrap_err().field(), Some("source"));
    }
}
