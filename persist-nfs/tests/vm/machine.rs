//! Building the machine and booting it.

use libtest_mimic::Failed;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/image.sh");
const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/init.sh");
const TOOLS: [&str; 9] =
    ["qemu-system-x86_64", "busybox", "cpio", "modprobe", "mkfs.xfs", "apt-get", "dpkg-deb", "ip", "strip"];

/// After how many seconds a machine that hangs is ended: many times what its suites take.
const DEADLINE: &str = "2400";

/// What cannot be done here, and why.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |tool: &str| std::env::split_paths(&paths).any(|dir| dir.join(tool).exists());
    TOOLS.iter().find(|tool| !found(tool)).map(|tool| format!("needs {tool}"))
}

/// The file of the machine with its kernel, and its first filesystem; made once for all boots.
pub fn image() -> Result<Image, Failed> {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nfs-vm");
    let me = std::env::current_exe()?;
    let made = Command::new("sh").arg(IMAGE).args([work.as_path(), Path::new(INIT), &me]).status()?;
    if !made.success() {
        return Err("the machine's image could not be made".into());
    }
    let first = with_program(&work, &me)?;
    Ok(Image { kernel: work.join("vmlinuz"), first })
}

/// What a machine boots.
#[derive(Clone)]
pub struct Image {
    kernel: PathBuf,
    first: PathBuf,
}

impl Image {
    /// Boots the machine, runs the suites in it, and passes if they do. Its lines begin with `name` and the seconds since.
    ///
    /// One processor each: two in one emulated machine spend most of their time waiting for each other.
    pub fn run(&self, name: &str, suites: &[String]) -> Result<(), Failed> {
        let begun = Instant::now();
        let words = suites.iter().map(|suite| format!("persist.run={suite}")).collect::<Vec<_>>().join(" ");
        let mut machine = Command::new("timeout")
            .args([DEADLINE, "qemu-system-x86_64"])
            .args("-accel tcg -M q35 -cpu max -m 2048 -smp 1 -display none -nodefaults".split(' '))
            .args("-serial stdio -nic none -no-reboot -kernel".split(' '))
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.first)
            .arg("-append")
            .arg(format!("console=ttyS0 quiet panic=-1 mitigations=off no5lvl {words}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = machine.stdout.take().ok_or("no output")?;
        let mut status = None;
        for line in BufReader::new(output).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
            println!("{name} {:3}: {line}", begun.elapsed().as_secs());
            if let Some(number) = line.strip_prefix("GUEST-STATUS ") {
                status = Some(number.to_owned());
            }
        }
        machine.wait()?;
        match status.as_deref() {
            Some("0") => Ok(()),
            status => Err(format!("the tests in the machine ended with {status:?}").into()),
        }
    }
}

/// The machine's first filesystem with this program as `/guest`.
fn with_program(work: &Path, me: &Path) -> Result<PathBuf, Failed> {
    let layer = work.join("layer");
    fs::create_dir_all(&layer)?;
    let image = work.join("image");
    let script = format!(
        "set -e; cd '{}'; strip -o guest '{}'; cp ../base.gz ../image; echo guest | cpio -o -H newc --quiet | gzip -1 >> ../image",
        layer.display(),
        me.display()
    );
    let packed = Command::new("sh").args(["-c", &script]).status()?;
    if packed.success() { Ok(image) } else { Err("the test program could not be packed".into()) }
}
