//! Finishing and undoing what was interrupted, and removing what nothing refers to any more.
//!
//! Each piece of work is measured first, then done under the exclusion or the intent that its subject has;
//! what somebody alive is at is passed over. A record that cannot be read makes its volume untouchable. What
//! fails is reported, and the rest goes on.

mod drafts;
#[cfg(test)]
mod tests;
mod volume;

use super::{
    care::measure::measure,
    engine::Engine,
    intents,
    records::{self, Numbered},
    recovery::{Rest, is_there},
    stored::NameRecord,
    volumes::each_name,
};
use crate::{
    care::{PruneFailure, PruneItem, PruneMode, PruneOptions, PruneReason, PruneReport},
    error::{ErrorKind, Result},
    id::VolumeId,
    name::VolumeName,
    progress::{Meter, Phase},
};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

impl Engine {
    pub(crate) async fn prune(self: &Arc<Self>, options: PruneOptions) -> Result<PruneReport> {
        let (engine, mode) = (Arc::clone(self), options.mode);
        self.calls.run(&options.call, move |meter| Pruner::new(&engine, mode, meter).run()).await
    }
}

/// One run of `prune`.
#[derive(Debug)]
struct Pruner<'a> {
    engine: &'a Engine,
    mode: PruneMode,
    meter: &'a Meter,
    /// What has been said of these is all that there is to say.
    settled: BTreeSet<VolumeId>,
    report: PruneReport,
}

impl<'a> Pruner<'a> {
    fn new(engine: &'a Engine, mode: PruneMode, meter: &'a Meter) -> Self {
        Self { engine, mode, meter, settled: BTreeSet::new(), report: PruneReport::default() }
    }

    /// Intents first: what they finish is no garbage any more. Names last: a volume gives its name free.
    fn run(mut self) -> Result<PruneReport> {
        if self.mode == PruneMode::Apply {
            self.engine.check_writable()?;
        }
        self.meter.enter(Phase::Remove);
        let layout = &self.engine.layout;
        self.each_volume(&layout.intents(), Self::recover)?;
        self.each_volume(&layout.removed(), Self::remove_remains)?;
        self.each_volume(&layout.volumes(), Self::volume)?;
        if self.applies() {
            self.free_names()?;
        }
        Ok(self.report)
    }

    fn each_volume(
        &mut self,
        directory: &Path,
        mut work: impl FnMut(&mut Self, &VolumeId) -> Result<()>,
    ) -> Result<()> {
        each(directory, |name| {
            self.meter.check()?;
            match name.to_str().and_then(VolumeId::parse) {
                Some(id) if self.settled.contains(&id) => Ok(()),
                Some(id) => self.attempt(Some(&id), || directory.join(name), |pruner| work(pruner, &id)),
                // Not ours; health and verify say so.
                None => Ok(()),
            }
        })
    }

    fn recover(&mut self, id: &VolumeId) -> Result<()> {
        if let Some(recovered) = self.engine.recover(id, self.mode, self.meter)? {
            self.note(recovered.item);
            if recovered.rest == Rest::Nothing {
                self.settled.insert(id.clone());
            }
        }
        Ok(())
    }

    fn remove_remains(&mut self, id: &VolumeId) -> Result<()> {
        if intents::is_live(&self.engine.layout.intent(id))? {
            return Ok(());
        }
        let bytes = measure(&self.engine.layout.removed().join(id.to_string()), self.meter)?.bytes;
        if self.applies() {
            self.engine.remove_remains(id, self.meter)?;
        }
        self.note(PruneItem::new(
            PruneReason::Finish,
            Some(id.clone()),
            "a removal that was interrupted",
            bytes,
        ));
        Ok(())
    }

    /// Removes the directories of names that stand for nothing. They hold nothing and free nothing that
    /// anybody asked about, so they are no pieces of work; a busy store keeps them until it is less so.
    fn free_names(&mut self) -> Result<()> {
        let names = self.engine.layout.names();
        each(&names, |name| {
            self.meter.check()?;
            let Some(Ok(volume)) = name.to_str().map(VolumeName::new) else { return Ok(()) };
            match records::newest(&names.join(name)) {
                Ok(None | Some(Numbered { record: NameRecord::FreedBy(_), .. })) => {
                    self.attempt(None, || names.join(name), |pruner| pruner.engine.forget_name(&volume))
                }
                // What cannot be read is not free.
                _ => Ok(()),
            }
        })
    }

    /// Does a piece of work. What fails ends neither the run nor the pieces after it: it is in the report,
    /// unless `place` went away meanwhile, and with it the work.
    ///
    /// # Errors
    /// `Unavailable` once the run was told to stop.
    fn attempt(
        &mut self,
        volume: Option<&VolumeId>,
        place: impl FnOnce() -> PathBuf,
        work: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let Err(error) = work(self) else { return Ok(()) };
        if self.meter.is_stopped() {
            return Err(error);
        }
        let has_gone = error.kind() == ErrorKind::NotFound && is_there(&place()).is_ok_and(|there| !there);
        if !has_gone {
            tracing::warn!(%error, "prune passes it over");
            self.report.failures.push(PruneFailure::new(volume.cloned(), &error));
        }
        Ok(())
    }

    fn applies(&self) -> bool {
        self.mode == PruneMode::Apply
    }

    fn note(&mut self, item: PruneItem) {
        self.report.bytes = self.report.bytes.saturating_add(item.bytes);
        self.report.items.push(item);
    }
}

/// Calls `visit` with each name in `directory`, in order.
fn each(directory: &Path, mut visit: impl FnMut(&OsStr) -> Result<()>) -> Result<()> {
    let mut result = Ok(());
    each_name(directory, None, |name| {
        result = visit(name);
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result
}
