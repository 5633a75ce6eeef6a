//! The orchestrator's own records: which service runs as which process, in which attachment.

use crate::{Outcome, workload::Process};
use persist::AttachmentRecord;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// One service as it was last seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Service {
    /// The how manieth process of the service it is; part of the workload's name.
    pub(crate) incarnation: u64,
    /// What the store gave for it.
    pub(crate) attachment: AttachmentRecord,
    /// The process, once it was started.
    pub(crate) process: Option<Process>,
}

/// The services by name, kept in one file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    services: BTreeMap<String, Service>,
}

impl Journal {
    /// Reads the journal below `directory`, which is made if it is missing.
    pub(crate) fn open(directory: &Path) -> Outcome<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join("services.json");
        let services = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, services })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&String, &Service)> {
        self.services.iter()
    }

    /// Keeps `service`; when it returns, a kill does not undo it.
    pub(crate) fn put(&mut self, name: &str, service: Service) -> Outcome {
        self.services.insert(name.to_owned(), service);
        self.write()
    }

    /// Forgets a service.
    pub(crate) fn remove(&mut self, name: &str) -> Outcome {
        self.services.remove(name);
        self.write()
    }

    fn write(&self) -> Outcome {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(&self.services)?)?;
        file.sync_all()?;
        Ok(fs::rename(&new, &self.path)?)
    }
}
