//! What an unchanged tree costs, counted in system calls by strace(1): never in time.

use super::child::{MARK, volume};
use libtest_mimic::{Failed, Trial};
use persist_s3::workspace::{
    record::{Of, RowWriter, Rows, Stamp},
    scan::{Known, Now, Read, ScanOptions, Tree, What},
};
use std::{fs, path::Path, process::Command};

/// Files of the tree, in as many directories as its square root is.
const FILES: usize = 100_000;
const DIRECTORIES: usize = 316;

/// Calls that are not one look a file: opening and listing the directories, and what a process begins with.
const BESIDE: usize = 8 * DIRECTORIES + 2_000;

pub fn trials() -> Vec<Trial> {
    vec![Trial::test("an_unchanged_tree_of_100_000_files_costs_one_look_a_file", unchanged)]
}

fn unchanged() -> Result<(), Failed> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let root = directory.path();
    let tree = root.join("tree");
    for n in 0..FILES {
        let inside = tree.join((n % DIRECTORIES).to_string());
        if n < DIRECTORIES {
            fs::create_dir_all(&inside)?;
        }
        fs::write(inside.join(n.to_string()), "x")?;
    }
    record(root, &tree)?;
    let trace = root.join("trace");
    let mut command = Command::new("strace");
    // Everything about files and descriptors, whatever it is.
    command.args(["-f", "-qq", "-e", "trace=%file,%desc", "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(std::env::current_exe()?).args([MARK, "scan"]).arg(root);
    let done = command.output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned().into());
    }
    let text = fs::read_to_string(&trace)?;
    let calls = text.lines().filter(|line| line.contains('(') && !line.contains("resumed>"));
    let (looks, others): (Vec<&str>, Vec<&str>) = calls.partition(|line| line.contains("statx("));
    println!("{} looks, {} other calls for {FILES} files", looks.len(), others.len());
    if looks.len() > FILES + 2 * DIRECTORIES + 100 || others.len() > BESIDE {
        return Err(format!("{} looks, {} other calls", looks.len(), others.len()).into());
    }
    Ok(())
}

fn record(root: &Path, path: &Path) -> Result<(), Failed> {
    let of = Of { volume: volume(), base: None };
    let wanted = Stamp::settles(Stamp::now(root)?.time);
    let stamp = loop {
        let now = Stamp::now(root)?;
        if now.time >= wanted.time {
            break now;
        }
        std::thread::yield_now();
    };
    let tree = Tree::open(path, stamp)?;
    let mut rows = RowWriter::new(root, of.clone())?;
    let none = std::iter::empty::<persist_core::Result<Known>>();
    tree.scan(none, (root, of.clone()), &ScanOptions::default(), &mut |change| {
        let What::Added { now } = change.what else { panic!("not new") };
        rows.push(match now {
            Now::Other { .. } => persist_s3::workspace::record::Row::new(
                change.path.clone(),
                now.applied().unwrap(),
                stamp,
                vec![1],
            ),
            Now::File { link, .. } => match tree.read_file(&change.path, link, |_| Ok(()))? {
                Read::Done { file, stability, .. } => file.row(&tree, stability, vec![1]),
                Read::Gone => panic!("gone"),
            },
        })
    })?;
    rows.finish()?.name(&root.join("stat"))?;
    assert!(Rows::open(&root.join("stat"), &of)?.is_some());
    Ok(())
}
