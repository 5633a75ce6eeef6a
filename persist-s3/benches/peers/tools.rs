//! What people would use instead. Each keeps to the options that its manual gives for this use.

use super::{
    server::{ACCESS_KEY, BUCKET, SECRET_KEY},
    spent::Spent,
};
use std::{path::Path, process::Command};

/// A tool, and what it needs to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    Restic,
    Rclone,
    /// Into a repository on this disk, as it knows no object store: for information.
    Borg,
    /// Into a file: for information, as it is no repository.
    Tar,
    /// As it, and the tree is on disk when it ends, as ours is.
    TarSynced,
    /// One stat(2) a file: what seeing that nothing has changed costs at the least.
    Find,
}

/// What every tool does in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    First,
    Unchanged,
    Changed,
    Hydrate,
}

/// Where a tool works.
pub struct Ground<'a> {
    /// Of the server.
    pub url: &'a str,
    /// For caches and configurations.
    pub scratch: &'a Path,
}

impl Tool {
    pub const ALL: [Self; 6] =
        [Self::Restic, Self::Rclone, Self::Borg, Self::Tar, Self::TarSynced, Self::Find];

    pub fn name(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Rclone => "rclone",
            Self::Borg => "borg, on disk",
            Self::Tar => "tar, zstd -1 -T2",
            Self::TarSynced => "tar, then sync",
            Self::Find => "find -printf",
        }
    }

    /// The first of its programs that is not there.
    pub fn missing(self) -> Option<&'static str> {
        let programs: &[&str] = match self {
            Self::Restic => &["restic"],
            Self::Rclone => &["rclone"],
            Self::Borg => &["borg"],
            Self::Tar | Self::TarSynced => &["tar", "zstd"],
            Self::Find => &["find"],
        };
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let there = |program: &str| std::env::split_paths(&paths).any(|dir| dir.join(program).exists());
        programs.iter().find(|program| !there(program)).copied()
    }

    /// Whether it does a phase, and does not only do another one again.
    pub fn takes_part(self, phase: Phase) -> bool {
        match self {
            Self::Restic | Self::Rclone | Self::Borg => true,
            Self::Tar => matches!(phase, Phase::First | Phase::Hydrate),
            Self::TarSynced => phase == Phase::Hydrate,
            Self::Find => phase == Phase::Unchanged,
        }
    }

    /// Before the clock starts.
    pub fn prepare(self, ground: &Ground<'_>) {
        let made = match self {
            Self::Restic => "restic -o s3.region=us-east-1 init -q",
            Self::Borg => "borg init --encryption=repokey-blake2",
            _ => return,
        };
        Spent::of(&mut self.command(ground, made));
    }

    pub fn save(self, ground: &Ground<'_>, tree: &Path) -> Spent {
        Spent::of(self.command(ground, self.saving()).arg(tree))
    }

    pub fn restore(self, ground: &Ground<'_>, to: &Path) -> Spent {
        Spent::of(self.command(ground, self.restoring()).arg(to))
    }

    fn saving(self) -> &'static str {
        match self {
            Self::Restic => "cd \"$1\" && exec restic -o s3.region=us-east-1 backup -q .",
            Self::Rclone => "exec rclone sync $RCLONE_FLAGS --update --use-server-modtime \"$1\" \"$REMOTE\"",
            Self::Borg => "cd \"$1\" && exec borg create --compression zstd,1 \"::$(date +%s%N)\" .",
            Self::Tar => "tar -C \"$1\" -cf - . | zstd -q -1 -T2 -f -o \"$FILE\"",
            Self::TarSynced => unreachable!("it saves what the other one saves"),
            Self::Find => "exec find \"$1\" -printf '%p %s %T@ %C@ %i\\n' >/dev/null",
        }
    }

    fn restoring(self) -> &'static str {
        match self {
            Self::Restic => "exec restic -o s3.region=us-east-1 restore -q latest --target \"$1\"",
            Self::Rclone => "exec rclone copy $RCLONE_FLAGS \"$REMOTE\" \"$1\"",
            Self::Borg => {
                "mkdir \"$1\" && cd \"$1\" && exec borg extract \"::$(borg list --last 1 --short)\""
            }
            Self::Tar => "mkdir \"$1\" && zstd -dcq \"$FILE\" | tar -C \"$1\" -xf -",
            Self::TarSynced => "mkdir \"$1\" && zstd -dcq \"$FILE\" | tar -C \"$1\" -xf - && sync -f \"$1\"",
            Self::Find => unreachable!("it keeps nothing"),
        }
    }

    fn command(self, ground: &Ground<'_>, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).env("HOME", ground.scratch);
        // It makes rclone refuse every endpoint.
        command.env_remove("AWS_CA_BUNDLE");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("RESTIC_REPOSITORY", format!("s3:{}/{BUCKET}/restic", ground.url));
        command.env("RESTIC_PASSWORD", "password").env("RESTIC_CACHE_DIR", ground.scratch.join("restic"));
        command
            .env("BORG_REPO", ground.scratch.join("borg"))
            .env("BORG_BASE_DIR", ground.scratch.join("borg-base"));
        command.env("BORG_PASSPHRASE", "password");
        command.env("RCLONE_CONFIG_X_TYPE", "s3").env("RCLONE_CONFIG_X_PROVIDER", "Other");
        command.env("RCLONE_CONFIG_X_ENV_AUTH", "true").env("RCLONE_CONFIG_X_ENDPOINT", ground.url);
        // The server has no multipart uploads and lists by the second version only.
        command.env("RCLONE_FLAGS", "-q --links --fast-list --transfers 16 --checkers 16 --s3-no-check-bucket --s3-no-head --s3-list-version 2 --s3-upload-cutoff 5G");
        command.env("REMOTE", format!("x:{BUCKET}/rclone")).env("FILE", ground.scratch.join("tar.zst"));
        command
    }
}
