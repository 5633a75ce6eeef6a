//! Listing in the order of names, in bounded memory.

use crate::{
    directory::{
        calls::{Output, ReaderGone},
        engine::Engine,
        fresh,
        names::Named,
    },
    error::{Error, ErrorKind, Result},
    id::VolumeId,
    linux::cause::cause,
    name::VolumeName,
    volume::{ListOptions, ListStates, VolumeRecord, VolumeState},
};
use std::{collections::BinaryHeap, ffi::OsString, ops::ControlFlow, os::unix::ffi::OsStrExt, path::Path};

/// How many names one pass over a directory keeps: 2 MiB of the longest names, and few passes over the
/// largest stores.
pub(in crate::directory) const NAMES_A_PASS: usize = 16_384;

/// Gives the volumes that `options` ask for.
pub(super) fn list(engine: &Engine, options: &ListOptions, output: &mut Output<VolumeRecord>) {
    let directory = match options.states {
        ListStates::Ready => engine.layout.names(),
        ListStates::Trashed => engine.layout.volumes(),
    };
    let mut left = options.limit.unwrap_or(usize::MAX);
    let walked = each_name(&directory, options.after.as_deref(), |name| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        let item = match options.states {
            ListStates::Ready => ready(engine, name),
            ListStates::Trashed => trashed(engine, name),
        };
        let item = item.map(|found| found.filter(|volume| options.accepts(&volume.spec.labels)));
        let Some(item) = item.transpose() else { return ControlFlow::Continue(()) };
        left -= usize::from(item.is_ok());
        match output.give(item.map_err(|e| e.during("list", name.to_string_lossy()))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(ReaderGone) => ControlFlow::Break(()),
        }
    });
    if let Err(error) = walked {
        // Nobody reads any more, or this is the last item: either way it ends here.
        let _gone = output.give(Err(error));
    }
}

/// Calls `visit` with each name in `directory` after `after`, in byte order, hidden ones left out, until it
/// breaks. Each pass over the directory keeps the next [`NAMES_A_PASS`] names.
///
/// # Errors
/// As the filesystem reports them.
pub(in crate::directory) fn each_name(
    directory: &Path,
    after: Option<&str>,
    mut visit: impl FnMut(&OsString) -> ControlFlow<()>,
) -> Result<()> {
    let mut after = after.map(OsString::from);
    loop {
        let names = next_names(directory, after.as_ref(), NAMES_A_PASS)?;
        for name in &names {
            if visit(name).is_break() {
                return Ok(());
            }
        }
        if names.len() < NAMES_A_PASS {
            return Ok(());
        }
        after = names.into_iter().next_back();
    }
}

/// The `count` smallest names after `after`, in order.
fn next_names(directory: &Path, after: Option<&OsString>, count: usize) -> Result<Vec<OsString>> {
    let mut smallest = BinaryHeap::new();
    for entry in fresh::read_dir(directory).map_err(|e| cause(e, "list", directory.display()))? {
        let name = entry.map_err(|e| cause(e, "list", directory.display()))?.file_name();
        let hidden = name.as_bytes().starts_with(b".");
        if hidden || after.is_some_and(|after| name <= *after) {
            continue;
        }
        if smallest.len() < count {
            smallest.push(name);
        } else if let Some(mut largest) = smallest.peek_mut()
            && name < *largest
        {
            *largest = name;
        }
    }
    Ok(smallest.into_sorted_vec())
}

fn ready(engine: &Engine, name: &OsString) -> Result<Option<VolumeRecord>> {
    let name = name.to_str().and_then(|text| VolumeName::new(text).ok()).ok_or_else(foreign)?;
    match engine.resolve(&name)? {
        Named::Ready(found) => Ok(Some(found.stored.volume)),
        Named::Free(_) | Named::Stale(_) => Ok(None),
    }
}

fn trashed(engine: &Engine, name: &OsString) -> Result<Option<VolumeRecord>> {
    let id = name.to_str().and_then(VolumeId::parse).ok_or_else(foreign)?;
    match engine.locate_id(&id) {
        Ok(found) => {
            let volume = found.stored.volume;
            Ok(matches!(volume.state, VolumeState::Trashed { .. }).then_some(volume))
        }
        // It is being built, or was removed meanwhile.
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn foreign() -> Error {
    Error::new(ErrorKind::Corrupt, "something that is not ours is in the store").advise("move it away")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    proptest! {
        #[test]
        fn passes_of_any_size_give_every_name_once_in_order(
            names in prop::collection::btree_set("[a-c]{1,3}", 0..20),
            count in 1_usize..8,
            after in prop::option::of("[a-c]{1,3}"),
        ) {
            let dir = tempfile::tempdir().unwrap();
            names.iter().for_each(|name| fs::write(dir.path().join(name), b"").unwrap());
            fs::write(dir.path().join(".exclusion"), b"").unwrap();
            let (mut found, mut last) = (Vec::new(), after.clone().map(OsString::from));
            loop {
                let page = next_names(dir.path(), last.as_ref(), count).unwrap();
                let ended = page.len() < count;
                last = page.last().cloned().or(last);
                found.extend(page.into_iter().map(|name| name.into_string().unwrap()));
                if ended {
                    break;
                }
            }
            let wanted: Vec<_> = names.into_iter().filter(|n| after.as_ref().is_none_or(|a| n > a)).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
