//! Opening the place of a local store: what is not one is refused before anything is tried.

use crate::findings::{self, Promises};
use persist_core::{
    OpenMode, Result,
    directory::{
        Place,
        host::{Findings, HostPlace},
    },
    linux::{cause::cause, filesystem},
};
use std::{fs, path::Path, sync::Arc};

/// Probes the store's directory, or refuses it.
pub(crate) fn probe(at: &Path, mode: OpenMode) -> Result<Arc<dyn Place>> {
    let at = fs::canonicalize(at).map_err(|error| cause(error, "probe", at.display()))?;
    let look = filesystem::look(&at)?;
    findings::check(&look, mode, &at)?;
    let found = Findings::probe(&at, look, mode)?;
    Ok(Arc::new(HostPlace::new(at, found.capabilities(), Promises(&found).characteristics())?))
}
