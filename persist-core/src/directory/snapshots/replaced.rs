//! What becomes of the tree that a restore replaces: pure decisions.

use super::record::StoredSnapshot;
use crate::{
    error::{Difference, Error, Result},
    id::Generation,
    name::NAME_MAX_BYTES,
    snapshot::{Replaced, SnapshotName},
};

/// What a restore does about the tree that it replaces, before it publishes the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Records that an interrupted restore prepared: removed first, lest they come to count.
    pub(super) void: Vec<SnapshotName>,
    /// The snapshot that is to keep it.
    pub(super) keep: Option<SnapshotName>,
}

/// Plans what becomes of the tree `live`, which is replaced by the snapshot `restored`. `number` is that
/// of the volume's newest record, `there` are all the volume's snapshots that can be read.
///
/// # Errors
/// `Conflict` if a name was asked for that another snapshot has.
pub(super) fn plan(
    replaced: &Replaced,
    restored: &SnapshotName,
    live: &Generation,
    number: u64,
    there: &[StoredSnapshot],
) -> Result<Plan> {
    let (prepared, taken): (Vec<_>, Vec<_>) = there.iter().partition(|s| !s.counts(live));
    let prepared: Vec<&SnapshotName> = prepared.into_iter().map(|s| &s.snapshot.name).collect();
    let is_taken = |name: &SnapshotName| taken.iter().any(|s| s.snapshot.name == *name);
    let keep = match replaced {
        Replaced::Discard => None,
        Replaced::KeepAs(name) if is_taken(name) => return Err(conflict(name)),
        Replaced::KeepAs(name) => Some(name.clone()),
        Replaced::Keep => match prepared.first() {
            Some(name) => Some((*name).clone()),
            None => Some(generated(restored, number, is_taken)?),
        },
    };
    Ok(Plan { void: prepared.into_iter().cloned().collect(), keep })
}

/// `before-<snapshot>-<number>`; a snapshot that somebody named so himself gets out of the way.
fn generated(
    restored: &SnapshotName,
    number: u64,
    is_taken: impl Fn(&SnapshotName) -> bool,
) -> Result<SnapshotName> {
    for attempt in 0..u64::MAX {
        let end = if attempt == 0 { format!("-{number}") } else { format!("-{number}.{attempt}") };
        let room = NAME_MAX_BYTES - PREFIX.len() - end.len();
        // Names are ASCII, so every place is between two characters.
        let middle = &restored.as_str()[..restored.as_str().len().min(room)];
        let name = SnapshotName::new(format!("{PREFIX}{middle}{end}"))?;
        if !is_taken(&name) {
            return Ok(name);
        }
    }
    Err(Error::internal("no name is left for what a restore replaces"))
}

const PREFIX: &str = "before-";

/// The name that was asked for is taken.
pub(super) fn conflict(name: &SnapshotName) -> Error {
    let difference =
        Difference::new("replaced", format_args!("a new snapshot {name}"), "a snapshot of that name");
    Error::conflict("the name for what the restore replaces is taken", vec![difference])
        .advise("choose another name, or let the store choose one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{SystemEnvironment, Timestamp},
        id::VolumeId,
        name::VolumeName,
        snapshot::{SnapshotKind, SnapshotRecord},
    };

    fn name(text: &str) -> SnapshotName {
        SnapshotName::new(text).unwrap()
    }

    fn mint() -> Generation {
        Generation::mint(&SystemEnvironment, &SystemEnvironment)
    }

    fn stored(text: &str, kind: SnapshotKind, generation: &Generation) -> StoredSnapshot {
        let volume = (VolumeId::mint(&SystemEnvironment, &SystemEnvironment), VolumeName::new("v").unwrap());
        let mut snapshot =
            SnapshotRecord::new(name(text), volume.0, volume.1, Timestamp::from_millisecond(0));
        snapshot.kind = kind;
        StoredSnapshot { snapshot, generation: generation.clone() }
    }

    #[test]
    fn what_is_replaced_is_kept_once_and_what_was_prepared_is_used_again() {
        use SnapshotKind::{Named, Replaced as Kept};
        let (live, old) = (mint(), mint());
        let table = [
            (Replaced::Keep, vec![], Some("before-s-3"), vec![]),
            (Replaced::Keep, vec![("before-s-2", Kept, &live)], Some("before-s-2"), vec!["before-s-2"]),
            (Replaced::Keep, vec![("before-s-3", Kept, &old)], Some("before-s-3.1"), vec![]),
            (Replaced::Keep, vec![("before-s-3", Named, &old)], Some("before-s-3.1"), vec![]),
            (Replaced::KeepAs(name("k")), vec![], Some("k"), vec![]),
            (Replaced::KeepAs(name("k")), vec![("k", Kept, &live)], Some("k"), vec!["k"]),
            (Replaced::KeepAs(name("k")), vec![("x", Kept, &live)], Some("k"), vec!["x"]),
            (Replaced::Discard, vec![("s", Named, &old)], None, vec![]),
            (Replaced::Discard, vec![("x", Kept, &live)], None, vec!["x"]),
        ];
        for (i, (replaced, there, keep, void)) in table.into_iter().enumerate() {
            let there: Vec<_> = there.into_iter().map(|(n, kind, g)| stored(n, kind, g)).collect();
            let plan = plan(&replaced, &name("s"), &live, 3, &there).unwrap();
            let expected = Plan { keep: keep.map(name), void: void.into_iter().map(name).collect() };
            assert_eq!(plan, expected, "row {i}");
        }
    }

    #[test]
    fn a_name_that_another_snapshot_has_is_a_conflict() {
        let (live, old) = (mint(), mint());
        for kind in [SnapshotKind::Named, SnapshotKind::Replaced] {
            let there = [stored("k", kind, &old)];
            let error = plan(&Replaced::KeepAs(name("k")), &name("s"), &live, 1, &there).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Conflict);
        }
    }

    #[test]
    fn the_longest_name_leaves_room_for_what_is_added() {
        let long = name(&"x".repeat(NAME_MAX_BYTES));
        let made = generated(&long, u64::MAX, |_| false).unwrap();
        assert_eq!(made.as_str().len(), NAME_MAX_BYTES);
        assert!(made.as_str().ends_with(&format!("-{}", u64::MAX)));
    }
}
