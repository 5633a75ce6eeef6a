//! Trees that carry a number: a tree of one number can be told from any other, and from half of one.

use persist_core::{
    Result, SnapshotName, VolumeName, VolumeStore,
    tree::{EntryKind, TreePath},
};
use std::{fs, io, io::Write as _, os::unix::fs::symlink, path::Path};

/// Bytes of the files: one is stored inside a frame of several, the other in chunks of its own
/// (`persist-s3/docs/format.md`, chunks).
const SMALL: usize = 100;
const LARGE: usize = 40_000;

/// Writes the tree of `value` beside the one that is there, switches to it, and removes the other.
pub fn plant(root: &Path, value: u64) -> io::Result<()> {
    let (dir, link) = (root.join(format!("d{value}")), root.join("next"));
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir(&dir)?;
    fs::write(dir.join("small"), content(value, SMALL))?;
    fs::write(dir.join("large"), content(value, LARGE))?;
    fs::hard_link(dir.join("small"), dir.join("linked"))?;
    let _ = fs::remove_file(&link);
    symlink(format!("d{value}"), &link)?;
    fs::rename(&link, root.join("current"))?;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.path() != dir {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The number of the tree at `root`, all of which must be there; 0 for the tree of a new volume.
pub fn value_at(root: &Path) -> u64 {
    let Ok(target) = fs::read_link(root.join("current")) else { return 0 };
    let value = number(target.as_os_str().as_encoded_bytes());
    let dir = root.join(target);
    for (file, size) in [("small", SMALL), ("large", LARGE), ("linked", SMALL)] {
        assert_eq!(fs::read(dir.join(file)).unwrap(), content(value, size), "{file} of {value}");
    }
    value
}

/// The number of a snapshot's tree, read from the store.
///
/// # Errors
/// As the store gives them.
pub async fn value_of(store: &dyn VolumeStore, volume: &VolumeName, name: &SnapshotName) -> Result<u64> {
    let tree = store.open_snapshot(volume, name).await?;
    let Some(entry) = tree.entry(&TreePath::new("current")?).await? else { return Ok(0) };
    let EntryKind::Symlink { target } = entry.kind else { panic!("current is {:?}", entry.kind) };
    let value = number(&target);
    for (file, size) in [("small", SMALL), ("large", LARGE), ("linked", SMALL)] {
        let path = TreePath::new(format!("d{value}/{file}"))?;
        let bytes = tree.read(&path, 0..u64::MAX).await?;
        assert_eq!(bytes, content(value, size), "{file} of {value} in {name}");
    }
    Ok(value)
}

fn number(directory: &[u8]) -> u64 {
    std::str::from_utf8(directory).unwrap().strip_prefix('d').unwrap().parse().unwrap()
}

fn content(value: u64, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    while bytes.len() < size {
        writeln!(bytes, "{value} at {}", bytes.len()).unwrap();
    }
    bytes.truncate(size);
    bytes
}
