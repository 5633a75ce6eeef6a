//! Reading every record and every byte, and saying what is wrong.

use super::{
    VerifyReport,
    read::{fault, read_through},
};
use crate::{
    care::Fault,
    directory::{
        engine::Engine, intents, names::Named, snapshots::record, stored::Located, volumes::each_name,
    },
    error::{Error, ErrorKind, Result},
    id::{Generation, VolumeId},
    name::VolumeName,
    progress::{Meter, Phase},
    snapshot::SnapshotName,
    volume::VolumeState,
};
use std::ops::ControlFlow;

/// Verifies `volume`, or the whole store.
///
/// # Errors
/// `NotFound` for the volume; `Unavailable` once stopped; what is wrong is in the report.
pub(super) fn verify(engine: &Engine, volume: Option<&VolumeName>, meter: &Meter) -> Result<VerifyReport> {
    meter.enter(Phase::Verify);
    let mut verifier = Verifier { engine, meter, report: VerifyReport::default() };
    verifier.remark_checksums();
    match volume {
        Some(volume) => match engine.locate(volume) {
            Ok(found) => verifier.volume(&found)?,
            Err(e) if e.kind() == ErrorKind::Corrupt => verifier.fault(None, &e),
            Err(e) => return Err(e),
        },
        None => verifier.store()?,
    }
    Ok(verifier.report)
}

#[derive(Debug)]
struct Verifier<'a> {
    engine: &'a Engine,
    meter: &'a Meter,
    report: VerifyReport,
}

impl Verifier<'_> {
    fn remark_checksums(&mut self) {
        let filesystem = &self.engine.info.characteristics.filesystem;
        if !filesystem.contains("btrfs") {
            let name = if filesystem.is_empty() { "the filesystem" } else { filesystem };
            self.report.remarks.push(format!(
                "{name} has no checksums of content: bytes that cannot be read are found, bytes that changed are not"
            ));
        }
    }

    fn store(&mut self) -> Result<()> {
        let engine = self.engine;
        engine.each_located(|name, found| {
            self.meter.check()?;
            match found {
                Ok(found) => self.volume(&found),
                // It is being built, or a killed creation, which prune removes: never acknowledged.
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                Err(e) => {
                    self.fault(name.to_str().and_then(VolumeId::parse), &e);
                    Ok(())
                }
            }
        })?;
        self.names()
    }

    /// Every name: readable, and what it stands for is there.
    fn names(&mut self) -> Result<()> {
        each_name(&self.engine.layout.names(), None, |name| {
            let resolved = match name.to_str().map(VolumeName::new) {
                Some(Ok(name)) => self.engine.resolve(&name),
                _ => Err(super::foreign()),
            };
            // What the volume itself says has been said at the volume.
            if let Err(error) = resolved.map(|_: Named| ()) {
                let what = format!("name {}: {error}", name.to_string_lossy());
                self.report.faults.push(Fault::new(None, what));
            }
            if self.meter.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.meter.check()
    }

    fn volume(&mut self, found: &Located) -> Result<()> {
        self.named(found)?;
        if let Err(error) = self.engine.attached(&found.layout) {
            self.fault(Some(found.stored.volume.id.clone()), &error);
        }
        self.tree(found, None, &found.stored.generation)?;
        match record::all(&found.layout) {
            Ok(snapshots) => snapshots.into_iter().try_for_each(|snapshot| self.snapshot(found, snapshot)),
            Err(error) => {
                self.fault(Some(found.stored.volume.id.clone()), &error);
                Ok(())
            }
        }
    }

    /// A volume that can be used has a name, unless it is being built.
    fn named(&mut self, found: &Located) -> Result<()> {
        let volume = &found.stored.volume;
        let intent = self.engine.layout.intent(&volume.id);
        let unnamed = volume.state == VolumeState::Ready
            && !intent.exists()
            && !intents::is_live(&intent)?
            && matches!(self.engine.names(&volume.name, &volume.id), Ok(false));
        if unnamed && self.engine.locate_id(&volume.id).is_ok() {
            let what = format!("no name stands for it: it was {}", volume.name);
            self.report.faults.push(Fault::new(Some(volume.id.clone()), what));
        }
        Ok(())
    }

    fn snapshot(&mut self, found: &Located, snapshot: Result<record::StoredSnapshot>) -> Result<()> {
        match snapshot {
            // What a restore prepared shares the live tree.
            Ok(stored) if stored.generation == found.stored.generation => Ok(()),
            Ok(stored) => self.tree(found, Some(&stored.snapshot.name), &stored.generation),
            Err(error) => {
                self.fault(Some(found.stored.volume.id.clone()), &error);
                Ok(())
            }
        }
    }

    fn tree(
        &mut self,
        found: &Located,
        snapshot: Option<&SnapshotName>,
        generation: &Generation,
    ) -> Result<()> {
        let id = &found.stored.volume.id;
        let read = match read_through(&found.layout.generation(generation), self.meter) {
            Ok(read) => read,
            Err(e) if self.meter.is_stopped() => return Err(e),
            Err(e) if e.kind() == ErrorKind::NotFound => return self.missing(found, snapshot, generation),
            Err(e) => {
                self.fault(Some(id.clone()), &e);
                return Ok(());
            }
        };
        self.report.files += read.files;
        self.report.bytes += read.bytes;
        for (path, what) in read.faults {
            let mut fault = fault(id.clone(), path, what);
            fault.snapshot = snapshot.cloned();
            self.report.faults.push(fault);
        }
        let of = format!("volume {}", found.stored.volume.name);
        self.report.remarks.extend(read.remarks.into_iter().map(|remark| format!("{of}: {remark}")));
        Ok(())
    }

    /// A tree that is not there is a fault, if a record still names it.
    fn missing(
        &mut self,
        found: &Located,
        snapshot: Option<&SnapshotName>,
        generation: &Generation,
    ) -> Result<()> {
        let id = &found.stored.volume.id;
        let named = match self.engine.locate_id(id).and_then(|now| self.engine.referred(&now)) {
            Ok(referred) => referred.contains(generation),
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if named {
            let mut fault = Fault::new(Some(id.clone()), format!("its tree {generation} is not there"));
            fault.snapshot = snapshot.cloned();
            self.report.faults.push(fault);
        }
        Ok(())
    }

    fn fault(&mut self, volume: Option<VolumeId>, error: &Error) {
        self.report.faults.push(Fault::new(volume, error.to_string()));
    }
}
