//! How much memory a commit and a hydrate take, and how many requests: of many small files, and of a large one.

use super::{node, server};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

/// Small files, a hundred in a directory, unless `PERSIST_FILES` says otherwise.
const FILES: usize = 100_000;
/// Of each of them, about.
const SMALL: usize = 4 << 10;
/// Of the large one.
const LARGE: usize = 1 << 30;

pub fn measure(work: &Path) {
    let one = |what: &str, plant: fn(&Path)| {
        let scratch = work.join(what);
        fs::create_dir(&scratch).unwrap();
        let mut server = server::Running::start(&scratch.join("objects"));
        let mut writer = node::Running::start(&server.url, &scratch.join("writer"));
        plant(&writer.does(node::ATTACH).1);
        for phase in [("commit", node::SYNC), ("commit of no change", node::SYNC)] {
            measured(what, phase, &mut writer, &mut server);
        }
        writer.does(node::DETACH);
        let mut reader = node::Running::start(&server.url, &scratch.join("reader"));
        measured(what, ("open and hydrate", node::ATTACH), &mut reader, &mut server);
    };
    one(&format!("{} files of 4 KiB", files()), small);
    one("one file of 1 GiB", large);
}

fn measured(what: &str, (phase, told): (&str, &str), node: &mut node::Running, server: &mut server::Running) {
    server.asked();
    let spent = node.does(told).0;
    println!(
        "{what}: {phase}: peak {} MiB, {:.2}s, processor {:.2}s, {}",
        spent.peak_kib >> 10,
        spent.passed.as_secs_f64(),
        spent.processor.as_secs_f64(),
        server.asked()
    );
}

fn files() -> usize {
    std::env::var("PERSIST_FILES").map_or(FILES, |text| text.parse().unwrap())
}

/// Text that is unlike that of any other file, and compresses about as source code does.
fn small(root: &Path) {
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..files() {
        let directory = root.join(format!("{}", n / 100));
        fs::create_dir_all(&directory).unwrap();
        let mut content = Vec::with_capacity(SMALL + 64);
        while content.len() < SMALL {
            writeln!(content, "let value_{n} = {:x} + {:x};", random.u32(..), random.u16(..)).unwrap();
        }
        fs::write(directory.join(format!("{n}")), content).unwrap();
    }
}

/// Bytes that do not compress.
fn large(root: &Path) {
    let mut random = fastrand::Rng::with_seed(2);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(root.join("large")).unwrap());
    let mut left = LARGE;
    while left > 0 {
        let bytes: [u8; 8] = random.u64(..).to_le_bytes();
        file.write_all(&bytes).unwrap();
        left -= bytes.len();
    }
    file.flush().unwrap();
}
