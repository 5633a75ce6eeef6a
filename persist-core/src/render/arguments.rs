//! Words of a command line.

use std::fmt;

/// Words for a command line, each one argument: for `Command::args` as they are, printed as a shell reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// The words, in order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The words, in order.
    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

impl<S: Into<String>> FromIterator<S> for Arguments {
    fn from_iter<I: IntoIterator<Item = S>>(words: I) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }
}

impl IntoIterator for Arguments {
    type Item = String;
    type IntoIter = std::vec::IntoIter<String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Arguments {
    type Item = &'a String;
    type IntoIter = std::slice::Iter<'a, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// One line that a shell reads back as the same words (POSIX.1, Shell Command Language, Quoting).
impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            if is_plain(word) {
                f.write_str(word)?;
            } else {
                write!(f, "'{}'", word.replace('\'', "'\\''"))?;
            }
        }
        Ok(())
    }
}

/// Whether no shell sees anything in `word` but itself.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn plain_words_stay_readable_and_others_are_quoted() {
        let words: Arguments = ["--bind=/a:/b", "/it's here", "", "$HOME"].into_iter().collect();
        assert_eq!(words.to_string(), r"--bind=/a:/b '/it'\''s here' '' '$HOME'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_shell_reads_the_same_words_back(words in proptest::collection::vec("[^\0]{0,12}", 1..4)) {
            let line: Arguments = words.iter().cloned().collect();
            let said = Command::new("sh").arg("-c").arg(format!("printf '%s\\0' {line}")).output().unwrap();
            let read: Vec<_> = said.stdout.split(|b| *b == 0).map(<[u8]>::to_vec).collect();
            let expected: Vec<_> = words.iter().map(|w| w.clone().into_bytes()).chain([Vec::new()]).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
