//! Create, Remove, Get, List and Capabilities.

use super::Plugin;
use crate::{
    known::Entry,
    options::VolumeOptions,
    protocol::{Listed, Scope, Volume},
    status::status,
    stores::Opened,
};
use futures::{StreamExt, TryStreamExt};
use persist::{
    Access, CreateOptions, Error, ErrorKind, OpenMode, Result, Retry, SnapshotName, StoreUrl, VolumeName,
    attachment::AttachmentFilter,
    clock::Timestamp,
    error::{Difference, HolderSeen},
    snapshot::SnapshotKind,
    volume::{DeleteOptions, ListOptions},
};
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The volumes of a store that were asked for, with the time of their creation.
type Present = BTreeMap<VolumeName, Timestamp>;

impl Plugin {
    /// Creates the volume, or finds that it is there as asked for.
    ///
    /// # Errors
    /// `Invalid` for the name and the options; `Conflict` with the difference; else as the store's `create`.
    pub async fn create(self: &Arc<Self>, name: &str, given: BTreeMap<String, String>) -> Result<()> {
        let (name, options) = (VolumeName::new(name)?, VolumeOptions::parse(&given)?);
        let plugin = Arc::clone(self);
        self.change(async move { plugin.create_alone(name, options).await }).await
    }

    /// Deletes the volume, which the store keeps in its trash for a while, and forgets it. One that is only
    /// read here is only forgotten. One that is not known is gone already.
    ///
    /// # Errors
    /// `InUse`, `Denied` and `Conflict` as the store's `delete`; then the volume is known as before.
    pub async fn remove(self: &Arc<Self>, name: &str) -> Result<()> {
        let name = VolumeName::new(name)?;
        let plugin = Arc::clone(self);
        self.change(async move { plugin.remove_alone(name).await }).await
    }

    /// The volume, as the store has it.
    ///
    /// # Errors
    /// `NotFound`; else as the store is opened and read.
    pub async fn get(self: &Arc<Self>, name: &str) -> Result<Volume> {
        let name = VolumeName::new(name)?;
        let plugin = Arc::clone(self);
        self.look(async move { plugin.get_now(name).await }).await
    }

    /// Every volume that is known. A store that does not answer, and a volume that its store has not got,
    /// are said in the status of what is known to be there.
    pub async fn list(self: &Arc<Self>) -> Listed {
        let all = self.known.all();
        let stores: BTreeMap<String, StoreUrl> =
            all.iter().map(|(_, entry)| (entry.store.to_string(), entry.store.clone())).collect();
        let seen = stores.into_values().map(|url| async move {
            let (plugin, of) = (Arc::clone(self), url.clone());
            let seen = self.look(async move { plugin.present(&of).await }).await;
            if let Err(error) = &seen {
                tracing::warn!(store = %url, %error, "the list does not show what this store has");
            }
            (url.to_string(), seen)
        });
        let seen: BTreeMap<_, _> = futures::future::join_all(seen).await.into_iter().collect();
        let volumes = all.into_iter().map(|(name, entry)| listed(name, &entry, &seen)).collect();
        Listed { volumes }
    }

    /// How far volumes of the default store reach; `Local` where that cannot be found out.
    pub async fn scope(self: &Arc<Self>) -> Scope {
        let Some(url) = self.settings.default_store.clone() else { return Scope::Local };
        let plugin = Arc::clone(self);
        let opened = self.look(async move { plugin.opened(&url, OpenMode::Existing).await }).await;
        match opened {
            Ok(opened) if opened.is_portable() => Scope::Global,
            Ok(_) => Scope::Local,
            Err(error) => {
                tracing::warn!(%error, "the default store is not open: its volumes count as local");
                Scope::Local
            }
        }
    }

    async fn create_alone(self: &Arc<Self>, name: VolumeName, options: VolumeOptions) -> Result<()> {
        let _turn = self.turn(&name).await?;
        let known = self.known.get(&name);
        let entry = match &known {
            Some(entry) => unchanged(&name, entry, &options)?,
            None => self.entry(&options)?,
        };
        let opened = self.opened_to_create(&entry.store).await?;
        opened.info().require(entry.access.capability(), "the store does not have this access")?;
        if options.lease.is_some() && !opened.has_leases() {
            return Err(Error::new(ErrorKind::Unsupported, "the store has no leases that run out")
                .context("option", "lease")
                .advise("leave it out: there, nothing but a vouch or a new boot ends what a host has"));
        }
        if known.is_none() {
            self.known.add(&name, &entry).await?;
        }
        let created = self.created(&opened, &name, &entry, options).await;
        if let Err(error) = &created
            && known.is_none()
            && error.retry() != Retry::Verify
        {
            // Nothing was made: nothing is known. Where the outcome is open, `docker volume rm` finds it.
            self.known.forget(&name).await?;
        }
        created
    }

    async fn created(
        &self,
        opened: &Opened,
        name: &VolumeName,
        entry: &Entry,
        options: VolumeOptions,
    ) -> Result<()> {
        let limit = self.settings.change_limit;
        let _call = opened.call(limit).await?;
        if entry.access == Access::ReadOnly {
            return opened.store.get(name).await.map(drop);
        }
        let create =
            CreateOptions::default().with_spec(options.spec).with_source(options.source).with_deadline(limit);
        let report = opened.store.create(name, create).await?;
        tracing::info!(volume = %name, store = %entry.store, outcome = ?report.outcome, "created");
        report.remarks.iter().for_each(|remark| tracing::info!(volume = %name, %remark));
        Ok(())
    }

    async fn remove_alone(self: &Arc<Self>, name: VolumeName) -> Result<()> {
        let _turn = self.turn(&name).await?;
        let Some(entry) = self.known.get(&name) else { return Ok(()) };
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let limit = self.settings.change_limit;
        {
            let _call = opened.call(limit).await?;
            match entry.access {
                Access::ReadOnly => self.check_unread(&opened, &name).await?,
                _ => {
                    opened.store.delete(&name, DeleteOptions::default().with_deadline(limit)).await?;
                }
            }
        }
        self.known.forget(&name).await?;
        opened.forget(&name);
        tracing::info!(volume = %name, store = %entry.store, "removed");
        Ok(())
    }

    /// Refuses while a container of this host reads the volume.
    async fn check_unread(&self, opened: &Opened, name: &VolumeName) -> Result<()> {
        let here =
            AttachmentFilter::default().with_volume(name.clone()).with_node(self.settings.node.id.clone());
        let readers = opened.attachments(here).await?;
        if readers.is_empty() {
            return Ok(());
        }
        let readers = readers.iter().map(HolderSeen::of).collect();
        Err(Error::in_use("containers of this host read the volume", readers).during("remove", name))
    }

    async fn get_now(self: &Arc<Self>, name: VolumeName) -> Result<Volume> {
        let entry = self.known.get(&name).ok_or_else(|| Self::missing(&name))?;
        let opened = self.opened(&entry.store, OpenMode::Existing).await?;
        let _call = opened.call(self.settings.look_limit).await?;
        let record = opened.store.get(&name).await?;
        let claims = opened.attachments(AttachmentFilter::default().with_volume(name.clone())).await?;
        let salvage = salvage(&opened, &name).await?;
        let mountpoint = self.path_of(&opened, &claims).await.unwrap_or_default();
        let created = Some(record.created.to_string());
        let status = status(&opened, &entry, &record, &claims, &salvage);
        Ok(Volume { name: name.to_string(), mountpoint, created, status })
    }

    /// Which volumes a store has, of those that are known.
    async fn present(self: &Arc<Self>, url: &StoreUrl) -> Result<Present> {
        let opened = self.opened(url, OpenMode::Existing).await?;
        let _call = opened.call(self.settings.look_limit).await?;
        let mut present = Present::new();
        let mut list = opened.store.list(ListOptions::default());
        while let Some(item) = list.next().await {
            match item {
                Ok(record) if self.known.get(&record.name).is_some() => {
                    present.insert(record.name, record.created);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(store = %url, %error, "a volume is not listed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(present)
    }

    fn entry(&self, options: &VolumeOptions) -> Result<Entry> {
        let store =
            options.store.clone().or_else(|| self.settings.default_store.clone()).ok_or_else(|| {
                Error::invalid("store", "no store is given, and the plugin has no default")
                    .advise("add -o store=local:///srv/volumes, or start the plugin with --store")
            })?;
        Ok(Entry {
            store,
            access: options.access.unwrap_or(Access::SharedOnNode),
            snapshot: options.snapshot.clone(),
            sync: options.sync.unwrap_or_default(),
            lease: options.lease.unwrap_or_default(),
        })
    }

    /// A store that is missing is made where that is allowed and no known volume is in it: one that had
    /// volumes and is not there any more is an error, not an empty store.
    async fn opened_to_create(self: &Arc<Self>, url: &StoreUrl) -> Result<Arc<Opened>> {
        match self.opened(url, OpenMode::Existing).await {
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && self.settings.open_mode == OpenMode::CreateIfMissing
                    && !self.known.has_store(url) =>
            {
                self.opened(url, OpenMode::CreateIfMissing).await
            }
            opened => opened,
        }
    }
}

/// What is known, if the options ask for nothing else.
fn unchanged(name: &VolumeName, known: &Entry, asked: &VolumeOptions) -> Result<Entry> {
    let mut found = Vec::new();
    let mut differ = |field, wanted: Option<String>, actual: String| {
        if let Some(wanted) = wanted.filter(|wanted| *wanted != actual) {
            found.push(Difference::new(field, wanted, actual));
        }
    };
    differ("store", asked.store.as_ref().map(StoreUrl::to_string), known.store.to_string());
    differ("access", asked.access.map(|access| format!("{access:?}")), format!("{:?}", known.access));
    differ(
        "snapshot",
        asked.snapshot.as_ref().map(SnapshotName::to_string),
        known.snapshot.as_ref().map_or_else(|| "none".into(), SnapshotName::to_string),
    );
    differ("sync", asked.sync.map(|sync| format!("{sync:?}")), format!("{:?}", known.sync));
    differ("lease", asked.lease.map(|lease| format!("{lease:?}")), format!("{:?}", known.lease));
    if found.is_empty() {
        return Ok(known.clone());
    }
    Err(Error::conflict("the volume is known otherwise", found)
        .during("create", format_args!("volume {name}"))
        .advise("remove the volume first, or leave these options out"))
}

fn listed(name: VolumeName, entry: &Entry, seen: &BTreeMap<String, Result<Present>>) -> Volume {
    let store = entry.store.to_string();
    let (created, wrong) = match seen.get(&store) {
        Some(Ok(present)) => match present.get(&name) {
            Some(created) => (Some(created.to_string()), None),
            None => (None, Some("its store has no volume of this name".to_owned())),
        },
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    let mut status = Map::new();
    status.insert("store".into(), Value::String(store));
    if let Some(wrong) = wrong {
        status.insert("error".into(), Value::String(wrong));
    }
    Volume { name: name.to_string(), mountpoint: String::new(), created, status }
}

/// The snapshots that keep the work of fenced writers; only a store that fences by its commits makes any.
async fn salvage(opened: &Opened, name: &VolumeName) -> Result<BTreeSet<SnapshotName>> {
    if !opened.has_leases() {
        return Ok(BTreeSet::new());
    }
    let all = opened.store.snapshots(name, ListOptions::default());
    let salvage = all.try_filter(|record| futures::future::ready(record.kind == SnapshotKind::Salvage));
    salvage.map_ok(|record| record.name).try_collect().await
}
