//! What could not be kept, counted by kind in bounded memory.

use super::entry::TreePath;
use crate::error::{Error, ErrorKind, Result};
use std::{collections::BTreeMap, fmt};

/// Something of a tree that did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Loss {
    /// The owner or the group.
    Owner,
    /// The permission bits.
    Mode,
    /// Set-user-id or set-group-id: dropped by policy, or with a lost owner.
    SetId,
    /// The modification time, or a part of it that the filesystem cannot hold.
    Time,
    /// An extended attribute.
    Attribute,
    /// A POSIX ACL.
    Acl,
    /// A `security.*` attribute: a capability or a label.
    Security,
    /// A `trusted.*` attribute.
    Trusted,
    /// An inode flag (immutable, append, nodump).
    Flags,
    /// A name that became a file of its own instead of a hard link.
    HardLink,
    /// A device node.
    Device,
    /// An entry that this filesystem cannot hold, such as a socket or a fifo.
    Special,
    /// A file that changed each time it was read: its copy is of no single moment.
    Changed,
    /// An entry that went away or became something else during the call.
    Vanished,
    /// An entry that could not be read.
    Unreadable,
    /// A mount point: what is behind it is another filesystem's.
    MountPoint,
}

/// How many paths are kept as examples of a kind.
pub const EXAMPLES_MAX: usize = 3;

/// A path longer than this is counted but not kept as an example: `PATH_MAX` (limits.h).
const EXAMPLE_MAX_BYTES: usize = 4096;

/// What was lost of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// How often.
    pub count: u64,
    /// At most [`EXAMPLES_MAX`] of the paths.
    pub examples: Vec<TreePath>,
    /// Why, as said for the first of them.
    pub reason: String,
}

/// Everything that a call could not keep. Its size is bounded: kinds, counts and a few examples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    kinds: BTreeMap<Loss, Lost>,
}

/// What happens when something cannot be kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnLoss {
    /// It is reported, and the call goes on.
    #[default]
    Report,
    /// The call ends with [`Unsupported`](ErrorKind::Unsupported).
    Refuse,
}

impl Losses {
    /// Counts one loss at `path`.
    pub fn add(&mut self, loss: Loss, path: impl FnOnce() -> TreePath, reason: impl fmt::Display) {
        let lost = self.kinds.entry(loss).or_default();
        if lost.count == 0 {
            lost.reason = reason.to_string();
        }
        lost.count += 1;
        if lost.examples.len() < EXAMPLES_MAX {
            let path = path();
            if path.as_bytes().len() <= EXAMPLE_MAX_BYTES {
                lost.examples.push(path);
            }
        }
    }

    /// Adds what another worker lost.
    pub fn merge(&mut self, other: Self) {
        for (loss, theirs) in other.kinds {
            let mine = self.kinds.entry(loss).or_default();
            if mine.count == 0 {
                mine.reason = theirs.reason;
            }
            mine.count += theirs.count;
            let room = EXAMPLES_MAX.saturating_sub(mine.examples.len());
            mine.examples.extend(theirs.examples.into_iter().take(room));
        }
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What was lost of this kind.
    pub fn get(&self, loss: Loss) -> Option<&Lost> {
        self.kinds.get(&loss)
    }

    /// How often something of this kind was lost.
    pub fn count(&self, loss: Loss) -> u64 {
        self.get(loss).map_or(0, |lost| lost.count)
    }

    /// Every kind that was lost.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, &Lost)> {
        self.kinds.iter().map(|(loss, lost)| (*loss, lost))
    }

    /// One sentence a kind, for the `remarks` of a report.
    pub fn remarks(&self) -> Vec<String> {
        self.iter().map(|(loss, lost)| sentence(loss, lost)).collect()
    }

    /// Refuses if anything was lost and `policy` says so.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported), naming the first loss.
    pub fn check(&self, policy: OnLoss) -> Result<()> {
        match (policy, self.iter().next()) {
            (OnLoss::Refuse, Some((loss, lost))) => {
                Err(Error::new(ErrorKind::Unsupported, sentence(loss, lost))
                    .advise("allow losses to be reported, or choose a place that keeps them"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner not kept",
            Self::Mode => "permission bits not kept",
            Self::SetId => "set-id bits not kept",
            Self::Time => "modification time not kept exactly",
            Self::Attribute => "extended attribute not kept",
            Self::Acl => "access control list not kept",
            Self::Security => "security attribute not kept",
            Self::Trusted => "trusted attribute not kept",
            Self::Flags => "inode flags not kept",
            Self::HardLink => "hard link became a file of its own",
            Self::Device => "device node not made",
            Self::Special => "special file not made",
            Self::Changed => "file changed while it was read",
            Self::Vanished => "entry vanished while it was read",
            Self::Unreadable => "entry could not be read",
            Self::MountPoint => "mount point not entered",
        })
    }
}

fn sentence(loss: Loss, lost: &Lost) -> String {
    // A remark is one line for people: what a hostile name holds must not steer their terminal.
    let shown = |path: &TreePath| super::beneath::cut(&path.to_string()).escape_debug().to_string();
    let examples: Vec<String> = lost.examples.iter().map(shown).collect();
    let places =
        if examples.is_empty() { String::new() } else { format!(", such as {}", examples.join(", ")) };
    format!("{loss} for {} entries ({}){places}", lost.count, lost.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_losses_take_no_more_memory_than_a_few() {
        let mut losses = Losses::default();
        for n in 0..1_000_000_u32 {
            losses.add(Loss::Owner, || TreePath::new(format!("f{n}").into_bytes()).unwrap(), "not permitted");
        }
        let lost = losses.get(Loss::Owner).unwrap();
        assert_eq!((lost.count, lost.examples.len()), (1_000_000, EXAMPLES_MAX));
        assert_eq!(
            losses.remarks(),
            ["owner not kept for 1000000 entries (not permitted), such as f0, f1, f2"]
        );
    }

    #[test]
    fn a_hostile_name_cannot_break_a_remark() {
        let mut losses = Losses::default();
        losses.add(Loss::Owner, || TreePath::new(&b"a\nb\x1b[2J"[..]).unwrap(), "not permitted");
        let [remark] = &losses.remarks()[..] else { panic!("one remark") };
        assert!(remark.ends_with(r"such as a\nb\u{1b}[2J"), "{remark}");
        assert!(!remark.contains(char::is_control), "{remark}");
    }

    #[test]
    fn merging_adds_counts_and_keeps_the_bound() {
        let (mut one, mut two) = (Losses::default(), Losses::default());
        for losses in [&mut one, &mut two] {
            (0..2).for_each(|_| losses.add(Loss::Time, TreePath::root, "why"));
        }
        one.merge(two);
        assert_eq!(one.count(Loss::Time), 4);
        assert_eq!(one.get(Loss::Time).unwrap().examples.len(), EXAMPLES_MAX);
        assert!(one.check(OnLoss::Report).is_ok());
        assert_eq!(one.check(OnLoss::Refuse).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
