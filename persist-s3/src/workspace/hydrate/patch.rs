//! Making a tree that is here another one by what differs.

use super::{
    HydratedBy, Referenced,
    install::install,
    plan::{Plan, Planner},
};
use crate::workspace::{
    Workspace,
    record::{Of, Rows},
    scan::{Change, Known, ScanOptions, Tree},
    threads::metered,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use persist_core::{
    Error, ErrorKind, Result,
    linux::cause::cause,
    progress::{CallOptions, Meter},
    tree::{ApplyOptions, Entry, RemoveOptions, Root, TreePath, TreeSource, TreeTotals, apply, remove},
};
use std::{
    collections::BTreeSet,
    fs::DirBuilder,
    ops::Range,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::Handle as Runtime;

impl Workspace {
    /// Applies the difference to the tree that is here; `None` where there is none, or too much would change.
    pub(super) async fn patch(
        &self,
        tree: &Arc<dyn Referenced>,
        meter: &Meter,
    ) -> Result<Option<(HydratedBy, Vec<String>)>> {
        let call = CallOptions::default();
        let live = match self.live(&call).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            live => live?,
        };
        let (Some(rows), Some(again)) = (self.rows().await?, self.rows().await?) else { return Ok(None) };
        let stamp = self.stamp().await?;
        self.served().spaces.near().flush(&live, &call).await?;
        let (at, drafts, of, wanted) =
            (live.path().to_owned(), self.drafts().to_owned(), self.of(), Arc::clone(tree));
        let planned = metered(meter.clone(), move |meter| {
            let stale = stale(&Tree::open(&at, stamp)?, rows, (&drafts, of), meter)?;
            stale.map_or(Ok(None), |stale| plan(again, &*wanted, stale))
        });
        let Some(plan) = planned.await? else { return Ok(None) };
        self.apply_plan(live.path(), plan, tree, meter).await.map(Some)
    }

    async fn apply_plan(
        &self,
        live: &Path,
        plan: Plan,
        tree: &Arc<dyn Referenced>,
        meter: &Meter,
    ) -> Result<(HydratedBy, Vec<String>)> {
        let entries = u64::try_from(plan.steps.len()).unwrap_or(u64::MAX);
        let name = self.aside_name()?;
        let mut remarks = Vec::new();
        if !plan.aside.is_empty() {
            let aside = make_aside(live.join(name.as_path()), meter.clone()).await?;
            let part = Arc::new(Part { entries: plan.aside.clone(), whole: Arc::clone(tree) });
            let options = ApplyOptions::faithful().with_meter(meter.clone());
            remarks.extend(apply(part, &aside, options).boxed().await?.losses.remarks());
        }
        let live = live.to_owned();
        let losses = metered(meter.clone(), move |meter| {
            let root = Root::open(&live)?;
            let losses = install(&root, &name, &plan, meter)?;
            remove(&root, &name, &RemoveOptions::default(), meter)?;
            super::install::finish(&root, &plan, losses)
        });
        remarks.extend(losses.await?.remarks());
        Ok((HydratedBy::Difference { entries }, remarks))
    }

    /// A name in the root of the tree that no file has: what is left there by a kill is in no commit, and goes
    /// with the next hydration.
    fn aside_name(&self) -> Result<TreePath> {
        let mut random = [0; 16];
        self.served().opened().environment.entropy.fill(&mut random);
        TreePath::new(format!(".persist-aside-{:032x}", u128::from_le_bytes(random)))
    }
}

async fn make_aside(at: PathBuf, meter: Meter) -> Result<PathBuf> {
    metered(meter, move |_| {
        DirBuilder::new().mode(0o700).create(&at).map_err(|e| cause(e, "mkdir", at.display()))?;
        Ok(at)
    })
    .await
}

/// The paths of the live tree that are not what their rows say; `None` if there are too many.
fn stale(tree: &Tree, rows: Rows, drafts: (&Path, Of), meter: &Meter) -> Result<Option<BTreeSet<TreePath>>> {
    let mut stale = BTreeSet::new();
    let options = ScanOptions { meter: meter.clone(), ..ScanOptions::default() };
    let known = rows.map(|row| row.map(Known::Row));
    let scanned = tree.scan(known, drafts, &options, &mut |Change { path, .. }| {
        stale.insert(path);
        if stale.len() > super::plan::STEPS_MAX { Err(too_much()) } else { Ok(()) }
    });
    match scanned {
        Ok(_) => Ok(Some(stale)),
        Err(error) if error.kind() == ErrorKind::Exhausted => Ok(None),
        Err(error) => Err(error),
    }
}

fn too_much() -> Error {
    Error::new(ErrorKind::Exhausted, "more differs than is worth telling apart")
}

fn plan(rows: Rows, tree: &dyn Referenced, stale: BTreeSet<TreePath>) -> Result<Option<Plan>> {
    let (runtime, mut wanted) = (Runtime::current(), tree.referenced(None));
    let mut rows = rows.peekable();
    let mut planner = Planner::new(tree, stale);
    while let Some(next) = runtime.block_on(wanted.next()) {
        let (entry, reference) = next?;
        while let Some(row) = rows.next_if(|row| row.as_ref().map_or(true, |row| row.path < entry.path)) {
            planner.gone(&row?);
        }
        let row = rows.next_if(|row| row.as_ref().map_or(true, |row| row.path == entry.path)).transpose()?;
        planner.wanted(entry, &reference, row.as_ref());
        if !planner.is_short() {
            return Ok(None);
        }
    }
    rows.try_for_each(|row| row.map(|row| planner.gone(&row)))?;
    Ok(planner.plan())
}

/// Some entries of a tree, as a tree of their own.
#[derive(Debug)]
struct Part {
    entries: Vec<Entry>,
    whole: Arc<dyn Referenced>,
}

#[async_trait]
impl TreeSource for Part {
    fn entries(&self, after: Option<TreePath>) -> BoxStream<'static, Result<Entry>> {
        let entries = self.entries.clone().into_iter();
        let left = entries.filter(move |entry| after.as_ref().is_none_or(|after| entry.path > *after));
        stream::iter(left.map(Ok)).boxed()
    }

    async fn entry(&self, path: &TreePath) -> Result<Option<Entry>> {
        let found = self.entries.binary_search_by(|entry| entry.path.cmp(path));
        Ok(found.ok().map(|index| self.entries[index].clone()))
    }

    async fn read(&self, path: &TreePath, range: Range<u64>) -> Result<Bytes> {
        self.whole.read(path, range).await
    }

    fn totals(&self) -> Option<TreeTotals> {
        None
    }

    fn directory(&self) -> Option<&Path> {
        None
    }
}
