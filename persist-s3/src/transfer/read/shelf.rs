//! What was fetched lately, and what will be needed next.

use super::runs::{FrameKey, FrameSpan, Run, coalesce};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::OnceCell;

/// Runs that are planned at most: two GiB ahead. More are forgotten, the oldest first, and then fetched frame
/// by frame.
const PLANNED_MAX: usize = 256;

/// Opened frames by their offsets in the pack.
pub(super) type Opened = HashMap<u32, Bytes>;

/// What a plan is about. Who follows the pages does not want the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Pages,
    Content,
}

/// Which of the planned runs of a lane one is.
type Plan = (Lane, u64);

/// A run, and its frames once they were fetched: by one reader for all.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) run: Run,
    pub(super) opened: OnceCell<Opened>,
    number: u64,
    /// Nothing if nobody planned it.
    plan: Option<Plan>,
}

/// What is to be done to read a frame.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The frame is in this.
    pub(super) fetch: Arc<Fetch>,
    /// These will be needed soon.
    pub(super) ahead: Vec<Arc<Fetch>>,
}

/// Fetched frames up to a number of bytes, and plans.
///
/// What somebody has planned and not read yet leaves last, and no more is begun ahead than there is room for: readers
/// of several large files would otherwise drive out what the others are about to read.
#[derive(Debug)]
pub(super) struct Shelf {
    limit_bytes: u64,
    bytes: u64,
    ahead: u64,
    frames: HashMap<FrameKey, Arc<Fetch>>,
    /// Not begun yet, in the order of need.
    planned: BTreeMap<Plan, Arc<Fetch>>,
    /// How many runs each lane had.
    plans: BTreeMap<Lane, u64>,
    /// The last run of each lane that was begun.
    begun: BTreeMap<Lane, u64>,
    /// Planned, and this frame of it was read out of order.
    touched: BTreeMap<Plan, FrameKey>,
    /// Begun for a plan, and not read to its end: by the numbers of their fetches.
    awaited: HashMap<u64, Awaited>,
    /// What they take, in bytes.
    awaited_bytes: u64,
    /// Fetched, by when it was used last.
    used: BTreeMap<u64, (Arc<Fetch>, u64)>,
    uses: HashMap<u64, u64>,
    clock: u64,
}

/// A run that was begun for a plan.
#[derive(Debug)]
struct Awaited {
    bytes: u64,
    /// Frames that nobody has read.
    unread: HashSet<FrameKey>,
}

impl Shelf {
    /// Keeps `limit_bytes` of opened frames, and begins `ahead` runs before they are needed.
    pub(super) fn new(limit_bytes: u64, ahead: u64) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            ahead,
            frames: HashMap::new(),
            planned: BTreeMap::new(),
            plans: BTreeMap::new(),
            begun: BTreeMap::new(),
            touched: BTreeMap::new(),
            awaited: HashMap::new(),
            awaited_bytes: 0,
            used: BTreeMap::new(),
            uses: HashMap::new(),
            clock: 0,
        }
    }

    /// These frames will be needed, in this order.
    pub(super) fn plan(&mut self, lane: Lane, spans: Vec<FrameSpan>) {
        let unknown = spans.into_iter().filter(|span| !self.frames.contains_key(&span.key()));
        for run in coalesce(unknown.collect::<Vec<_>>()) {
            let number = self.plans.entry(lane).or_default();
            *number += 1;
            let plan = (lane, *number);
            let fetch = self.add(run, Some(plan));
            self.planned.insert(plan, fetch);
        }
        while let Some(oldest) = self.too_old(lane) {
            if let Some(fetch) = self.planned.remove(&oldest) {
                self.forget(&fetch);
            }
        }
    }

    /// A reader wants this frame now.
    ///
    /// A plan is followed from its beginning, or once a second frame of a run is wanted: who reads one file in
    /// the middle gets one frame. Of those who follow it together, one is ahead of the others by a few runs.
    pub(super) fn want(&mut self, span: FrameSpan) -> Wanted {
        let Some(fetch) = self.frames.get(&span.key()).cloned() else { return self.alone(span) };
        self.touch(fetch.number);
        self.read(fetch.number, span.key());
        let Some(plan) = fetch.plan else { return Wanted { fetch, ahead: Vec::new() } };
        if self.planned.contains_key(&plan) {
            let follows = fetch.run.first == span.key() || self.is_near(plan);
            if !follows && self.touched.insert(plan, span.key()).is_none() {
                return self.alone(span);
            }
            self.begin(plan);
            self.read(fetch.number, span.key());
        }
        let (lane, number) = plan;
        let soon = (lane, number + 1)..=(lane, number.saturating_add(self.ahead));
        let soon: Vec<Plan> = self.planned.range(soon).map(|(plan, _)| *plan).collect();
        let ahead = soon.into_iter().map_while(|plan| self.begin_with_room(plan)).collect();
        Wanted { fetch, ahead }
    }

    /// Whether a run is one of the next that are begun anyway, or was passed over.
    fn is_near(&self, (lane, number): Plan) -> bool {
        let begun = self.begun.get(&lane).copied();
        begun.is_some_and(|last| number <= last + self.ahead)
    }

    /// The oldest plan of `lane` if there are more than are kept.
    fn too_old(&self, lane: Lane) -> Option<Plan> {
        let mut plans = self.planned.range((lane, 0)..=(lane, u64::MAX)).map(|(plan, _)| *plan);
        let oldest = plans.next();
        oldest.filter(|_| plans.count() >= PLANNED_MAX)
    }

    fn alone(&mut self, span: FrameSpan) -> Wanted {
        Wanted { fetch: self.add(Run::single(span), None), ahead: Vec::new() }
    }

    /// A run was fetched, and takes `bytes` of memory.
    pub(super) fn fetched(&mut self, fetch: &Arc<Fetch>, bytes: u64) {
        self.clock += 1;
        if self.uses.insert(fetch.number, self.clock).is_none() {
            self.bytes += bytes;
            self.used.insert(self.clock, (Arc::clone(fetch), bytes));
        }
        while self.bytes > self.limit_bytes {
            let Some((oldest, bytes)) = self.oldest().and_then(|used| self.used.remove(&used)) else { break };
            self.bytes -= bytes;
            self.uses.remove(&oldest.number);
            self.forget(&oldest);
        }
    }

    /// What leaves next.
    fn oldest(&self) -> Option<u64> {
        let read = self.used.iter().find(|(_, (fetch, _))| !self.awaited.contains_key(&fetch.number));
        read.or_else(|| self.used.first_key_value()).map(|(used, _)| *used)
    }

    /// Bytes of opened frames that are kept.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, run: Run, plan: Option<Plan>) -> Arc<Fetch> {
        self.clock += 1;
        let fetch = Arc::new(Fetch { run, opened: OnceCell::new(), number: self.clock, plan });
        for span in &fetch.run.spans {
            self.frames.insert(span.key(), Arc::clone(&fetch));
        }
        fetch
    }

    fn begin(&mut self, plan: Plan) -> Option<Arc<Fetch>> {
        let touched = self.touched.remove(&plan);
        let (lane, number) = plan;
        let last = self.begun.entry(lane).or_default();
        *last = number.max(*last);
        let fetch = self.planned.remove(&plan)?;
        let mut unread: HashSet<_> = fetch.run.spans.iter().map(FrameSpan::key).collect();
        if let Some(read) = touched {
            unread.remove(&read);
        }
        let bytes = fetch.run.memory();
        self.awaited_bytes += bytes;
        self.awaited.insert(fetch.number, Awaited { bytes, unread });
        Some(fetch)
    }

    /// Begins a run that nobody waits for yet, unless it would drive out others that are awaited.
    fn begin_with_room(&mut self, plan: Plan) -> Option<Arc<Fetch>> {
        let bytes = self.planned.get(&plan)?.run.memory();
        (self.awaited_bytes + bytes <= self.limit_bytes).then(|| self.begin(plan))?
    }

    /// A frame of a run is read.
    fn read(&mut self, number: u64, frame: FrameKey) {
        let Some(run) = self.awaited.get_mut(&number) else { return };
        run.unread.remove(&frame);
        if run.unread.is_empty() {
            self.leave(number);
        }
    }

    /// Nobody waits for a run any more.
    fn leave(&mut self, number: u64) {
        if let Some(run) = self.awaited.remove(&number) {
            self.awaited_bytes -= run.bytes;
        }
    }

    fn touch(&mut self, number: u64) {
        self.clock += 1;
        if let Some(used) = self.uses.get_mut(&number)
            && let Some(kept) = self.used.remove(used)
        {
            *used = self.clock;
            self.used.insert(self.clock, kept);
        }
    }

    fn forget(&mut self, fetch: &Arc<Fetch>) {
        self.leave(fetch.number);
        if let Some(plan) = fetch.plan {
            self.touched.remove(&plan);
        }
        for span in &fetch.run.spans {
            if self.frames.get(&span.key()).is_some_and(|known| known.number == fetch.number) {
                self.frames.remove(&span.key());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::location::PackIndex;

    fn span(offset: u32) -> FrameSpan {
        FrameSpan { pack: PackIndex(1), offset, bytes: 1 << 20, raw: 1 << 20 }
    }

    /// Frames of a MiB without gaps: eight are a run.
    fn spans(count: u32) -> Vec<FrameSpan> {
        (0..count).map(|n| span(n << 20)).collect()
    }

    fn frames(wanted: &Wanted) -> (usize, Vec<usize>) {
        (wanted.fetch.run.spans.len(), wanted.ahead.iter().map(|fetch| fetch.run.spans.len()).collect())
    }

    #[test]
    fn who_follows_the_plan_gets_whole_runs_and_the_next_ones_are_begun() {
        let mut shelf = Shelf::new(1 << 30, 2);
        shelf.plan(Lane::Content, spans(80));
        assert_eq!(frames(&shelf.want(span(0))), (8, vec![8, 8]));
        assert_eq!(frames(&shelf.want(span(1 << 20))), (8, vec![]), "they are begun");
        assert_eq!(frames(&shelf.want(span(8 << 20))), (8, vec![8]), "as far ahead as before");
        assert_eq!(frames(&shelf.want(span(79 << 20))), (1, vec![]), "not where the plan goes on");
    }

    #[test]
    fn of_those_who_follow_a_plan_together_the_first_begins_the_run_wherever_it_reads_in_it() {
        let mut shelf = Shelf::new(1 << 30, 2);
        shelf.plan(Lane::Content, spans(80));
        shelf.want(span(0));
        assert_eq!(frames(&shelf.want(span(27 << 20))), (8, vec![8, 8]));
        assert_eq!(frames(&shelf.want(span(24 << 20))), (8, vec![]), "and the others read the same");
    }

    #[test]
    fn who_reads_in_the_middle_of_a_plan_gets_one_frame_and_then_the_run() {
        let mut shelf = Shelf::new(1 << 30, 2);
        shelf.plan(Lane::Content, spans(8));
        assert_eq!(frames(&shelf.want(span(3 << 20))), (1, vec![]));
        assert_eq!(frames(&shelf.want(span(5 << 20))), (8, vec![]));
        assert_eq!(frames(&shelf.want(span(77 << 20))), (1, vec![]), "what was not planned is alone");
    }

    #[test]
    fn who_follows_the_pages_does_not_begin_the_content() {
        let mut shelf = Shelf::new(1 << 30, 9);
        shelf.plan(Lane::Pages, spans(8));
        let far = |n: u32| FrameSpan { pack: PackIndex(n + 2), ..span(0) };
        shelf.plan(Lane::Content, (0..5).map(far).collect());
        assert_eq!(frames(&shelf.want(span(0))), (8, vec![]));
    }

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let mut shelf = Shelf::new(250, 0);
        let want = |shelf: &mut Shelf, n: u32| shelf.want(span(n << 20)).fetch;
        let first = want(&mut shelf, 0);
        shelf.fetched(&first, 100);
        let second = want(&mut shelf, 1);
        shelf.fetched(&second, 100);
        assert!(Arc::ptr_eq(&want(&mut shelf, 0), &first));
        let third = want(&mut shelf, 2);
        shelf.fetched(&third, 100);
        assert_eq!(shelf.bytes(), 200);
        assert!(Arc::ptr_eq(&want(&mut shelf, 0), &first));
        assert!(!Arc::ptr_eq(&want(&mut shelf, 1), &second), "it left");
    }

    #[test]
    fn what_is_awaited_leaves_after_what_was_read_and_no_more_is_begun_than_has_room() {
        // Room for three runs of 8 MiB.
        let mut shelf = Shelf::new(24 << 20, 2);
        shelf.plan(Lane::Content, spans(80));
        let read =
            |shelf: &mut Shelf, run: u32| (0..8).map(|n| shelf.want(span((run * 8 + n) << 20))).collect();
        let first: Vec<Wanted> = read(&mut shelf, 0);
        for fetch in first[0].ahead.iter().chain([&first[0].fetch]) {
            shelf.fetched(fetch, 8 << 20);
        }
        // The first was used last, but was read.
        let second: Vec<Wanted> = read(&mut shelf, 1);
        let begun: Vec<_> = second.iter().flat_map(|wanted| &wanted.ahead).collect();
        assert_eq!(begun.len(), 1, "with the one that is read now it is as much as has room");
        shelf.fetched(begun[0], 8 << 20);
        assert_eq!(shelf.bytes(), 24 << 20);
        assert!(!Arc::ptr_eq(&shelf.want(span(0)).fetch, &first[0].fetch), "it left");
        assert!(Arc::ptr_eq(&shelf.want(span(16 << 20)).fetch, &first[0].ahead[1]), "it is awaited");
    }

    #[test]
    fn a_plan_that_nobody_follows_is_forgotten() {
        let mut shelf = Shelf::new(1 << 30, 2);
        let far = |n: u32| FrameSpan { pack: PackIndex(n), ..span(0) };
        shelf.plan(Lane::Content, (0..1000).map(far).collect());
        assert_eq!((shelf.planned.len(), shelf.frames.len()), (PLANNED_MAX, PLANNED_MAX));
    }
}
