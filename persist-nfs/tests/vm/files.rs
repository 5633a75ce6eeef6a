//! What an application on a host does with the files of a volume.

use std::io::Write;

/// Does what the words of a command say, and says how that went.
pub fn command(words: &[&str]) -> String {
    match words {
        ["put", path, text] => put(path, text),
        ["fill", path, blocks] => fill(path, blocks.parse().unwrap()),
        ["plant", path, files] => plant(path, files.parse().unwrap()),
        ["dirty", path] => dirty(path),
        ["rm", path] => std::fs::remove_file(path).map_or_else(|e| e.to_string(), |()| "removed".into()),
        ["cat", path] => std::fs::read_to_string(path).unwrap_or_else(|e| e.to_string()),
        ["waiting"] => waiting_threads().to_string(),
        other => panic!("no such command: {other:?}"),
    }
}

fn put(path: &str, text: &str) -> String {
    let written = std::fs::File::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_or_else(|e| e.to_string(), |()| "put".into())
}

/// Writes numbered blocks and makes each durable: a server that restarts in between must lose none.
fn fill(path: &str, blocks: u32) -> String {
    let written = std::fs::File::create(path).and_then(|mut file| {
        for block in 0..blocks {
            file.write_all(&[block as u8; 1 << 16])?;
            file.sync_all()?;
            if block == 4 {
                std::fs::write("/tmp/filling", "")?;
            }
        }
        Ok(())
    });
    written.map_or_else(|e| e.to_string(), |()| "filled".into())
}

/// Writes, makes nothing durable, and keeps the file open.
fn dirty(path: &str) -> String {
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&[7; 1 << 16]).unwrap();
    std::mem::forget(file);
    "dirty".into()
}

/// Makes numbered files, each with its number in 4 KiB, all durable.
fn plant(path: &str, files: u32) -> String {
    let planted = (0..files).try_for_each(|n| {
        let mut file = std::fs::File::create(format!("{path}/f{n}"))?;
        file.write_all(format!("{n:08}").repeat(512).as_bytes())?;
        file.sync_all()
    });
    planted.map_or_else(|e| e.to_string(), |()| "planted".into())
}

/// Threads of this process that wait in the kernel and take no signal (`D` of proc_pid_stat(5)).
fn waiting_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default());
    stats.filter(|stat| stat.contains(") D ")).count()
}
