//! Mount, Unmount and Path: what a container holds is a claim, an attachment on record in the store.

use super::Plugin;
use crate::{known::Entry, stores::Opened};
use futures::StreamExt;
use persist::{
    AttachOptions, Attachment, AttachmentRecord, Capabilities, DetachOptions, Error, Liveness, OpenMode,
    Outcome, Result, StoreUrl, VolumeName, Vouch, Workload, attachment::AttachmentFilter,
    linux::process::boot_is_over,
};
use std::{path::Path, sync::Arc};

/// Attachments that are taken up at once.
const ADOPTING_MAX: usize = 4;

impl Plugin {
    /// Attaches the volume for the caller `id`, which gets the same attachment however often it asks, and
    /// says where the volume is. An attachment that came too late for the caller is taken back.
    ///
    /// # Errors
    /// `NotFound` for a volume that is not known; `InUse` with the holders; else as the store's `attach`.
    pub async fn mount(self: &Arc<Self>, name: &str, id: &str) -> Result<String> {
        let (name, workload) = (VolumeName::new(name)?, Workload::new(id)?);
        let plugin = Arc::clone(self);
        let work = async move { plugin.attach(name, workload).await };
        let taken_back = |made: (Arc<Opened>, Attachment)| async move { take_back(made).await };
        let (_, attachment) = self.finish(self.settings.change_limit, work, taken_back).await?;
        text(attachment.path())
    }

    /// Ends the claim of the caller `id`, of whichever process made it. One that is not on record has ended.
    ///
    /// # Errors
    /// `NotFound` for a volume that is not known; else as the store's `detach`: the claim stays.
    pub async fn unmount(self: &Arc<Self>, name: &str, id: &str) -> Result<()> {
        let (name, workload) = (VolumeName::new(name)?, Workload::new(id)?);
        let plugin = Arc::clone(self);
        self.change(async move { plugin.detach(name, workload).await }).await
    }

    /// Where the volume is; empty if no container of this host has it.
    ///
    /// # Errors
    /// `NotFound` for a volume that is not known; else as the store is opened and read.
    pub async fn path(self: &Arc<Self>, name: &str) -> Result<String> {
        let name = VolumeName::new(name)?;
        let plugin = Arc::clone(self);
        self.look(async move {
            let entry = plugin.known.get(&name).ok_or_else(|| Self::missing(&name))?;
            let opened = plugin.opened(&entry.store, OpenMode::Existing).await?;
            let _call = opened.call(plugin.settings.look_limit).await?;
            let filter = AttachmentFilter::default().with_volume(name);
            let claims = opened.attachments(filter).await?;
            plugin.path_of(&opened, &claims).await
        })
        .await
    }

    /// Opens the stores of the known volumes in the background, and so takes up what containers have there:
    /// the plugin was restarted, and they were not.
    pub fn take_up(self: &Arc<Self>) {
        let mut stores: Vec<_> = self.known.all().into_iter().map(|(_, entry)| entry.store).collect();
        stores.sort_by_key(ToString::to_string);
        stores.dedup();
        for url in stores {
            let plugin = Arc::clone(self);
            self.tasks.spawn(async move {
                if let Err(error) = plugin.opened(&url, OpenMode::Existing).await {
                    tracing::warn!(store = %url, %error, "what containers have in this store is not taken up");
                }
            });
        }
    }

    /// The store at `url`. Who opens it takes up, in the background, what the containers of this host have
    /// in it.
    pub(super) async fn opened(self: &Arc<Self>, url: &StoreUrl, mode: OpenMode) -> Result<Arc<Opened>> {
        // A store that never opens must not keep every call that ever asked for it.
        let limit = self.settings.change_limit;
        let opened = tokio::time::timeout(limit, self.stores.opened(url, mode)).await;
        let opened = opened.map_err(|_| super::past(limit).during("open", url))??;
        if opened.is_new() {
            let (plugin, opened) = (Arc::clone(self), Arc::clone(&opened));
            self.tasks.spawn(async move {
                if let Err(error) = plugin.take_up_in(&opened).await {
                    tracing::warn!(store = %opened.url, %error, "what containers have in this store is not taken up");
                }
            });
        }
        Ok(opened)
    }

    pub(super) async fn turn(&self, name: &VolumeName) -> Result<crate::turns::Turn<VolumeName>> {
        let turn = tokio::time::timeout(self.settings.change_limit, self.turns.take(name)).await;
        turn.map_err(|_| super::past(self.settings.change_limit).context("waited for", "the change before"))
    }

    /// The path of the first claim of this node; the paths of all are one directory.
    pub(super) async fn path_of(&self, opened: &Opened, claims: &[AttachmentRecord]) -> Result<String> {
        match claims.iter().find(|claim| claim.holder.node == self.settings.node) {
            Some(claim) => text(opened.handle(claim).await?.path()),
            None => Ok(String::new()),
        }
    }

    async fn attach(self: &Arc<Self>, name: VolumeName, id: Workload) -> Result<(Arc<Opened>, Attachment)> {
        let entry = self.known.get(&name).ok_or_else(|| Self::missing(&name))?;
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let attachment = {
            let _call = opened.call(self.settings.change_limit).await?;
            opened.store.attach(&name, self.how(&entry, &opened, id)).await?
        };
        opened.keep(attachment.clone());
        let record = attachment.record();
        tracing::info!(
            volume = %name, id = %record.holder.workload, attachment = %record.id, epoch = %record.epoch,
            outcome = ?attachment.report().outcome, "mounted"
        );
        Ok((opened, attachment))
    }

    fn how(&self, entry: &Entry, opened: &Opened, id: Workload) -> AttachOptions {
        let mut how = AttachOptions::default()
            .with_access(entry.access)
            .with_workload(id)
            .with_liveness(liveness(opened))
            .with_sync(entry.sync)
            .with_deadline(self.settings.change_limit);
        how.snapshot.clone_from(&entry.snapshot);
        how
    }

    async fn detach(self: &Arc<Self>, name: VolumeName, id: Workload) -> Result<()> {
        let entry = self.known.get(&name).ok_or_else(|| Self::missing(&name))?;
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let _call = opened.call(self.settings.change_limit).await?;
        let filter = AttachmentFilter::default()
            .with_volume(name)
            .with_node(self.settings.node.id.clone())
            .with_workload(id);
        for record in opened.attachments(filter).await? {
            let how = DetachOptions::default().with_deadline(self.settings.change_limit);
            end(&opened, &record, how).await?;
        }
        Ok(())
    }

    /// Takes up the claims of this host; ends those of an earlier boot of it, whose containers went with it.
    async fn take_up_in(&self, opened: &Opened) -> Result<()> {
        let claims = opened.attachments(AttachmentFilter::default()).await?;
        let ours = claims.into_iter().filter(|claim| self.is_ours(opened, claim));
        let take_up = |claim: AttachmentRecord| async move {
            if let Err(error) = self.take_up_one(opened, &claim).await {
                tracing::warn!(
                    volume = %claim.volume_name, id = %claim.holder.workload, %error, "not taken up"
                );
            }
        };
        futures::stream::iter(ours).for_each_concurrent(ADOPTING_MAX, take_up).await;
        Ok(())
    }

    async fn take_up_one(&self, opened: &Opened, claim: &AttachmentRecord) -> Result<()> {
        let (theirs, here) = (&claim.holder.node, &self.settings.node);
        let _call = opened.call(self.settings.change_limit).await?;
        if theirs == here {
            let adopted = opened.handle(claim).await?;
            tracing::info!(volume = %claim.volume_name, id = %claim.holder.workload, epoch = %adopted.epoch, "taken up");
            return Ok(());
        }
        // Nodes that are named after their boots can be compared only where one host alone has the store.
        let is_over = if is_portable(opened) { theirs.id == here.id } else { boot_is_over(theirs, here) };
        if !is_over {
            return Ok(());
        }
        let vouch = Vouch::new(claim.id.clone(), claim.epoch, "its host has booted again");
        end(opened, claim, DetachOptions::default().with_vouch(vouch)).await
    }

    /// Whether a claim is of a container that had the volume through this plugin: an application that binds
    /// the same volume by itself is judged by its process.
    fn is_ours(&self, opened: &Opened, claim: &AttachmentRecord) -> bool {
        let entry = self.known.get(&claim.volume_name);
        entry.is_some_and(|entry| entry.store == opened.url)
            && !matches!(claim.holder.liveness, Liveness::Process(_))
    }
}

/// What proves that a container is dead: not the end of this plugin. The next boot of the host does where
/// only this host can reach the store; elsewhere nothing but a vouch, or an expired lease.
fn liveness(opened: &Opened) -> Liveness {
    if is_portable(opened) { Liveness::External } else { Liveness::Boot }
}

/// Whether other hosts can reach the store.
fn is_portable(opened: &Opened) -> bool {
    opened.info().capabilities.contains(Capabilities::PORTABLE)
}

async fn end(opened: &Opened, record: &AttachmentRecord, how: DetachOptions) -> Result<()> {
    let report = opened.store.detach(&record.id, how).await?;
    opened.let_go(record, report.synced.map(|sync| sync.cut));
    tracing::info!(
        volume = %record.volume_name, id = %record.holder.workload, attachment = %record.id,
        outcome = ?report.outcome, "unmounted"
    );
    report.left.iter().for_each(|left| tracing::warn!(volume = %record.volume_name, %left));
    Ok(())
}

/// Ends an attachment whose caller has gone: nobody would unmount it.
async fn take_back((opened, attachment): (Arc<Opened>, Attachment)) {
    if attachment.report().outcome == Outcome::Already {
        return;
    }
    if let Err(error) = end(&opened, attachment.record(), DetachOptions::default()).await {
        tracing::warn!(attachment = %attachment.id, %error, "came too late for its caller, and stays");
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::invalid("path", "the path of the volume is not UTF-8: Docker cannot be told"))
}
