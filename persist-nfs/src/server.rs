//! Whether the file server answers: asked before each call and while one is under way.

use crate::helper::{ANOTHER_DEVICE, Device, Helpers, Task};
use persist_core::{
    Error, ErrorKind, Result, Retry,
    care::{Health, HealthStatus, View},
    linux::{cause::cause, mountinfo::MountTable},
};
use rustix::io::Errno;
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long the server has for one small answer before a call is refused, unless the URL says so: many round trips around the
/// world, and less than a caller's patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How often the server is asked while a call is under way.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The server behind one mount.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The root of the mount, or a directory on it that is there.
    at: PathBuf,
    path: CString,
    device: Device,
    patience: Duration,
    helpers: Helpers,
}

impl Server {
    /// The server of what is mounted at `at`, which has `patience` for one small answer.
    ///
    /// # Errors
    /// `Invalid` for a path with NUL; `Unavailable` if nothing is mounted there.
    pub(crate) fn behind(at: &Path, patience: Duration) -> Result<Self> {
        let path = c_path(at)?;
        let table = MountTable::read()?;
        let device = table.at(at).and_then(|mount| Device::parse(&mount.device)).ok_or_else(|| hidden(at))?;
        let helpers = Helpers::default();
        Ok(Self(Arc::new(Inner { at: at.to_owned(), path, device, patience, helpers })))
    }

    /// The device of its mounts on this node.
    pub(crate) fn device(&self) -> Device {
        self.0.device
    }

    /// Asks the server for the attributes of the mount's root.
    ///
    /// # Errors
    /// `Unavailable` if it does not answer within its time, or if its mount is not what is found there any
    /// more; as it answers.
    pub(crate) async fn answers(&self) -> Result<()> {
        let this = self.clone();
        blocking(move || this.ask()).await
    }

    /// As [`answers`](Self::answers), on a thread that may block.
    pub(crate) fn ask(&self) -> Result<()> {
        let answer = self.0.helpers.run(Task::Look(self.0.path.clone(), self.0.device), self.0.patience)?;
        answer.map_err(|e| match e {
            // The root of a mount is always there.
            ANOTHER_DEVICE | Errno::NOENT | Errno::NOTDIR => hidden(&self.0.at),
            e => cause(e, "look at", self.0.at.display()),
        })
    }

    /// The answer of `call`, or of the server's silence while it is under way. The call's thread may go on
    /// waiting for the server; the caller does not.
    ///
    /// # Errors
    /// As `call`; `Unavailable` with `Verify` if the server stops answering.
    pub(crate) async fn watch<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.answers().await?;
        self.watch_begun(call).await
    }

    /// As [`watch`](Self::watch), for what has begun already.
    pub(crate) async fn watch_begun<T>(&self, call: impl Future<Output = T> + Send) -> T
    where
        T: FromError,
    {
        tokio::pin!(call);
        loop {
            tokio::select! {
                done = &mut call => return done,
                () = tokio::time::sleep(ASK_EVERY) => {}
            }
            tokio::select! {
                done = &mut call => return done,
                answer = self.answers() => {
                    if let Err(error) = answer {
                        return T::from_error(error.with_retry(Retry::Verify));
                    }
                }
            }
        }
    }

    /// What this node sees of the server: whether it answers, and the helper that cannot be killed.
    pub(crate) async fn health(&self) -> Vec<Health> {
        let node = |status, reason, message: String| {
            Health::new(View::Node { as_of: None }, status, reason, message)
        };
        let mut found = vec![match self.answers().await {
            Ok(()) => node(HealthStatus::Good, "server-answers", "the file server answers".into()),
            Err(error) => node(HealthStatus::Bad, "server-silent", error.to_string()),
        }];
        found.extend(self.0.helpers.stuck_pid().map(|pid| {
            let message = format!("process {pid} waits for the server in the kernel and cannot be killed");
            node(HealthStatus::Degraded, "helper-stuck", message)
        }));
        found
    }
}

/// What can be made of an error.
pub(crate) trait FromError {
    fn from_error(error: Error) -> Self;
}

impl<T> FromError for Result<T> {
    fn from_error(error: Error) -> Self {
        Err(error)
    }
}

impl<T> FromError for Option<Result<T>> {
    fn from_error(error: Error) -> Self {
        Some(Err(error))
    }
}

/// What is written to another filesystem at the path of a mount is lost to everybody else.
fn hidden(at: &Path) -> Error {
    Error::new(ErrorKind::Unavailable, "the mount of the file server is gone, or another mount hides it")
        .context("path", at.display())
        .advise("look into /proc/self/mountinfo, take away what is over it, and open the store again")
}

/// A path as system calls take it.
///
/// # Errors
/// `Invalid` for a path with NUL.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::invalid("path", "a path has no NUL"))
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| {
        Err(Error::new(ErrorKind::Internal, "a thread of the store panicked").with_source(e))
    })
}
