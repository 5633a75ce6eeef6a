//! Texts that go into somebody's syntax.

use super::refusal::refused;
use crate::error::Result;
use std::path::Path;

/// Words and signs of one target: what it is called in errors, and what its syntax cannot carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syntax {
    /// What an error calls the target.
    pub(super) target: &'static str,
    /// The characters that have no place in it, besides control characters.
    pub(super) without: &'static [char],
}

impl Syntax {
    /// `path`, which must be absolute and of characters that the syntax can carry.
    pub(super) fn path<'a>(self, option: &'static str, path: &'a Path) -> Result<&'a str> {
        if !path.is_absolute() {
            return Err(refused(self.target, option, "the path must be absolute"));
        }
        match path.to_str() {
            Some(text) => self.text(option, text),
            None => Err(refused(self.target, option, "the path is not UTF-8")),
        }
    }

    /// `text`, which must be of characters that the syntax can carry.
    pub(super) fn text<'a>(self, option: &'static str, text: &'a str) -> Result<&'a str> {
        let bad = text.chars().find(|c| c.is_control() || self.without.contains(c));
        match bad {
            None => Ok(text),
            Some(c) => Err(refused(self.target, option, format!("{c:?} cannot be written there"))),
        }
    }
}
