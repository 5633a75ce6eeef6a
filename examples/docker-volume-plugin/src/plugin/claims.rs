//! Mount, Unmount and Path: what a container holds is a claim, an attachment on record in the store.

use super::Plugin;
use crate::{known::Entry, options::Lease, stores::Opened};
use futures::StreamExt;
use persist::{
    AttachOptions, Attachment, AttachmentId, AttachmentRecord, DetachOptions, Epoch, Error, ErrorKind,
    Liveness, OpenMode, Outcome, Result, StoreUrl, VolumeName, Vouch, Workload,
    attachment::{AttachmentFilter, LocalCopy},
    linux::process::boot_is_over,
};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

/// Attachments that are taken up at once.
const ADOPTING_MAX: usize = 4;

/// How long a tree may be brought to this host, or what was written to the store, longer than any caller waits: what
/// was moved by then is not moved again.
const COPY_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

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

    /// Ends what another host has, or an earlier boot of this one: the caller vouches for `reason` that nothing there
    /// writes any more.
    ///
    /// # Errors
    /// `Invalid` for what is no attachment; `NotFound` for a volume that is not known; `Conflict` if the volume is
    /// not held by that attachment under that epoch, or is held by this plugin.
    pub async fn vouch(
        self: &Arc<Self>,
        name: &str,
        attachment: &str,
        epoch: u64,
        reason: &str,
    ) -> Result<()> {
        let name = VolumeName::new(name)?;
        let id = AttachmentId::parse(attachment)
            .ok_or_else(|| Error::invalid("attachment", "not the ID of an attachment"))?;
        let vouch = Vouch::new(id, Epoch::new(epoch), reason);
        let plugin = Arc::clone(self);
        self.change(async move { plugin.vouched(name, vouch).await }).await
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
        for claim in claims.iter().filter(|claim| claim.holder.node == self.settings.node) {
            match opened.handle(claim).await {
                // What is lost is shown nowhere; another claim may be of now.
                Err(error) if error.kind() == ErrorKind::Fenced => {}
                handle => return text(handle?.path()),
            }
        }
        Ok(String::new())
    }

    async fn attach(self: &Arc<Self>, name: VolumeName, id: Workload) -> Result<(Arc<Opened>, Attachment)> {
        let entry = self.known.get(&name).ok_or_else(|| Self::missing(&name))?;
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let attachment = {
            let _call = opened.call(self.settings.change_limit).await?;
            let how = self.how(&entry, &opened, id);
            match opened.store.attach(&name, how.clone()).await {
                Err(error)
                    if error.kind() == ErrorKind::InUse && self.have_left(&opened, &name, &error).await? =>
                {
                    opened.store.attach(&name, how).await?
                }
                attached => attached?,
            }
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
            .with_liveness(liveness(entry, opened))
            .with_sync(entry.sync)
            .with_deadline(self.limit_in(opened));
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
            let how = DetachOptions::default().with_deadline(self.limit_in(&opened));
            end(&opened, &record, how).await?;
        }
        Ok(())
    }

    async fn vouched(self: &Arc<Self>, name: VolumeName, vouch: Vouch) -> Result<()> {
        let entry = self.known.get(&name).ok_or_else(|| Self::missing(&name))?;
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let _call = opened.call(self.settings.change_limit).await?;
        let claims = opened.attachments(AttachmentFilter::default().with_volume(name.clone())).await?;
        let record = claims.iter().find(|claim| claim.id == vouch.attachment).ok_or_else(|| {
            Error::conflict("nobody has the volume by that attachment", Vec::new())
                .during("vouch", &name)
                .advise("look who has it: docker-volume-plugin claims")
        })?;
        if record.holder.node == self.settings.node {
            return Err(Error::conflict("the claim is of this host", Vec::new())
                .during("vouch", &name)
                .advise("end it by: docker-volume-plugin release"));
        }
        let how = DetachOptions::default().with_deadline(self.limit_in(&opened)).with_vouch(vouch.clone());
        end(&opened, record, how).await?;
        tracing::warn!(
            volume = %name, node = %record.holder.node.id, attachment = %record.id, reason = %vouch.reason,
            "ended by a vouch"
        );
        Ok(())
    }

    /// How long the store may take for one call. Where trees are copied, that is more than the caller waits: it
    /// goes on meanwhile, and a repeat finds how far it came.
    fn limit_in(&self, opened: &Opened) -> Duration {
        if opened.has_leases() { COPY_LIMIT } else { self.settings.change_limit }
    }

    /// Ends the claims of a volume that containers of an earlier boot of this host had, and says whether those who
    /// were in the way have left: Docker starts containers before everything is taken up.
    async fn have_left(&self, opened: &Opened, name: &VolumeName, refused: &Error) -> Result<bool> {
        let of_volume = AttachmentFilter::default().with_volume(name.clone());
        let mut there = BTreeSet::new();
        for claim in opened.attachments(of_volume).await? {
            if self.is_ours(opened, &claim) && self.is_of_an_earlier_boot(opened, &claim) {
                self.end_with_its_boot(opened, &claim).await?;
            } else {
                there.insert(claim.id);
            }
        }
        let holders = refused.holders();
        Ok(!holders.is_empty() && !holders.iter().any(|seen| there.contains(&seen.attachment)))
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
        let _call = opened.call(self.settings.change_limit).await?;
        if claim.holder.node == self.settings.node {
            let adopted = opened.handle(claim).await?;
            tracing::info!(volume = %claim.volume_name, id = %claim.holder.workload, epoch = %adopted.epoch, "taken up");
            return Ok(());
        }
        if self.is_of_an_earlier_boot(opened, claim) {
            self.end_with_its_boot(opened, claim).await?;
        }
        Ok(())
    }

    fn is_of_an_earlier_boot(&self, opened: &Opened, claim: &AttachmentRecord) -> bool {
        let (theirs, here) = (&claim.holder.node, &self.settings.node);
        // Nodes that are named after their boots can be compared only where one host alone has the store.
        if opened.is_portable() {
            theirs.id == here.id && theirs.boot != here.boot
        } else {
            boot_is_over(theirs, here)
        }
    }

    async fn end_with_its_boot(&self, opened: &Opened, claim: &AttachmentRecord) -> Result<()> {
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

/// What proves that a container is dead: not the end of this plugin. The next boot of the host does, and where
/// other hosts reach the store too a lease that runs out; where there is none, or it is to be kept, nothing but a
/// vouch.
fn liveness(entry: &Entry, opened: &Opened) -> Liveness {
    match entry.lease {
        Lease::Expires if opened.has_leases() => Liveness::Boot,
        _ if opened.is_portable() => Liveness::External,
        _ => Liveness::Boot,
    }
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
    // The copy stays, so that the caller's next try has it at once.
    let how = DetachOptions::default();
    let how = if opened.has_leases() { how.with_local_copy(LocalCopy::Keep) } else { how };
    if let Err(error) = end(&opened, attachment.record(), how).await {
        tracing::warn!(attachment = %attachment.id, %error, "came too late for its caller, and stays");
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::invalid("path", "the path of the volume is not UTF-8: Docker cannot be told"))
}
