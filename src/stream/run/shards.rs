//! The shards of a job: graphs of the same operators, each with keys of its own.
//!
//! With one shard there is nothing to this: a row goes through the graph all the way before the next is read. With more,
//! an epoch is read first and then worked off in stages ([`crate::stream::plan::exchange`]). In a stage the shards run
//! side by side; then what they have sent goes where its keys are, in the order of what it was made of. That order is
//! what makes the output that of one shard: everything bears the number of the record, or of the watermark, behind it,
//! and a watermark comes after all rows of its number.
//!
//! ```text
//!  read ─▶ decode ─┬─ shard 0 ─┬─ by key ─┬─ shard 0 ─┬─▶ outputs by number ─▶ one commit
//!                  └─ shard 1 ─┘          └─ shard 1 ─┘
//! ```
//! What fails, fails before anything is committed: the epoch is made again without it.

use std::{panic, sync::Arc, thread};

use super::{
    JobId, Log, OutMessage, OutRecord, Printed, State,
    graph::{Counts, Graph, OperatorStatus},
    input::{FILES, Input, InputKind},
    later::{Item, Later, readers},
    poll::{Poison, Stop, late_record, no_record, set_aside},
    shard::{Sent, Share},
};
use crate::stream::{
    datum::Row,
    expr::{EvalError, Now},
    operator::{ForFile, Late, Mark, Msg, Outputs, source::RecordReader},
    plan::physical::{JobPlan, OperatorId},
    state::keyed::Changes,
};

/// Fewer items than this are not worth a thread.
const ITEMS_PER_THREAD_MIN: usize = if cfg!(test) { 2 } else { 64 };
/// Numbers that an item has: one for its row, one for its source that is no longer idle, one for the watermark.
const NUMBERS: u64 = 4;

/// All shards.
pub struct Shards {
    graphs: Vec<Graph>,
    stages: usize,
}

/// A message that comes into a stage.
pub struct Arrived {
    pub seq: u64,
    pub node: usize,
    /// `None` from the source `node` itself.
    pub port: Option<usize>,
    pub msg: Msg,
}

/// What a shard has made of a stage.
#[derive(Default)]
pub struct Ran {
    pub outputs: Outputs,
    /// Of what number the outputs up to there are.
    pub ends: Vec<(u64, Mark)>,
    pub sent: Vec<Sent>,
    pub late: Vec<(u64, Late)>,
    pub failed: Option<(u64, EvalError)>,
    /// Something was due by the clock.
    pub timed: bool,
}

impl Ran {
    /// Something of that number is done.
    pub fn note(&mut self, seq: u64, before: Mark, outputs: &mut Outputs) {
        self.late.extend(outputs.late.take().map(|late| (seq, late)));
        let after = outputs.mark();
        if after != before {
            self.ends.push((seq, after));
        }
    }
}

/// What an epoch is worked off with.
pub(super) struct Epoch<'a> {
    pub(super) log: &'a dyn Log,
    pub(super) job: &'a JobId,
    pub(super) now: Now,
    pub(super) dlq: Option<&'a str>,
    pub(super) late_topic: Option<&'a str>,
}

/// A record as a row with its watermark; `None` if it makes none.
type Decoded = Result<Option<(Row, Option<i64>)>, String>;

impl Shards {
    pub(super) fn open(
        plan: &JobPlan,
        log: &dyn Log,
        job: &JobId,
        fresh: &dyn Fn(OperatorId) -> bool,
    ) -> Result<Self, EvalError> {
        let count = plan.parallelism.max(1);
        let open = |index| Graph::open(plan, State { log, job, share: Share { index, count } }, fresh);
        let stages = plan.stages().into_iter().max().map_or(0, |last| last + 1);
        Ok(Self { graphs: (0..count).map(open).collect::<Result<_, _>>()?, stages })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.graphs.len()
    }

    /// The first; or the only one.
    pub fn first(&mut self) -> &mut Graph {
        self.graphs.first_mut().expect("there is at least one")
    }

    pub fn restore_watermark(&mut self, source: usize, watermark: i64) {
        self.graphs.iter_mut().for_each(|graph| graph.restore_watermark(source, watermark));
    }

    pub fn flush(&mut self, now_ms: i64, changes: &mut Changes) {
        self.graphs.iter_mut().for_each(|graph| graph.flush(now_ms, changes));
    }

    #[must_use]
    pub fn next_proc_timer(&self) -> Option<i64> {
        self.graphs.iter().filter_map(Graph::next_proc_timer).min()
    }

    /// What the operators of each shard have done.
    #[must_use]
    pub fn counts(&self) -> Vec<Vec<Counts>> {
        self.graphs.iter().map(Graph::counts).collect()
    }

    pub fn count_on(&mut self, counts: &[Vec<Counts>]) {
        self.graphs.iter_mut().zip(counts).for_each(|(graph, counts)| graph.count_on(counts));
    }

    /// The operators, with the sums of all shards.
    #[must_use]
    pub fn status(&self) -> Vec<OperatorStatus> {
        let mut all = self.graphs.iter().map(Graph::status);
        let mut summed = all.next().unwrap_or_default();
        for status in all {
            summed.iter_mut().zip(status).for_each(|(sum, own)| sum.add(&own));
        }
        summed
    }

    /// Works an epoch off; whether something was due by the clock.
    pub(super) fn work(
        &mut self,
        later: &Later,
        inputs: &mut [Input],
        epoch: &Epoch<'_>,
        outputs: &mut Outputs,
    ) -> Result<bool, Stop> {
        let items = later.items();
        let decoded = self.decode(&items, &readers(inputs), epoch.now);
        let mut made = Made::default();
        let mut waiting = self.feed(&items, decoded, inputs, epoch, &mut made)?;
        let mut timed = false;
        for stage in 0..self.stages {
            let arrived = waiting.take(stage);
            let ran = self.run(stage, arrived, items.len(), epoch);
            let failed = ran.iter().filter_map(|ran| ran.failed.as_ref()).min_by_key(|(seq, _)| *seq);
            if let Some((seq, error)) = failed {
                return Err(stop(*seq, error, &items));
            }
            for ran in ran {
                timed |= ran.timed;
                waiting.route(self.first(), ran.sent);
                made.late.extend(ran.late);
                made.add(ran.outputs, &ran.ends);
            }
        }
        made.set_late_aside(&items, epoch);
        made.into_outputs(outputs);
        Ok(timed)
    }

    /// Makes rows of records, each shard of a part of them.
    fn decode(&self, items: &[Item<'_>], readers: &[Option<&RecordReader>], now: Now) -> Vec<Vec<Decoded>> {
        let parts: Vec<&[Item<'_>]> = items.chunks(self.part_of(items.len())).collect();
        let few = items.len() < ITEMS_PER_THREAD_MIN * self.graphs.len();
        let decode =
            |(): &mut (), part: &[Item<'_>]| part.iter().map(|item| item.decode(readers, now)).collect();
        side_by_side(&mut vec![(); parts.len()], parts, few, decode)
    }

    /// Items in one shard's part.
    fn part_of(&self, items: usize) -> usize {
        items.div_ceil(self.graphs.len()).max(1)
    }

    /// Puts rows and watermarks in their order.
    fn feed(
        &mut self,
        items: &[Item<'_>],
        decoded: Vec<Vec<Decoded>>,
        inputs: &mut [Input],
        epoch: &Epoch<'_>,
        made: &mut Made,
    ) -> Result<Waiting, Stop> {
        let mut waiting = Waiting::new(self.stages, self.graphs.len());
        let part = self.part_of(items.len());
        let now_ms = epoch.now.ms;
        for (index, (item, decoded)) in items.iter().zip(decoded.into_iter().flatten()).enumerate() {
            let seq = (index as u64 + 1) * NUMBERS;
            let shard = index / part;
            match (item, decoded) {
                (Item::Aside(topic, record), _) => made.aside(seq, topic, (*record).clone()),
                (Item::Msg(node, msg), _) => waiting.all(seq, *node, msg),
                (Item::End(source, key), _) => {
                    let Some(input) = inputs.get_mut(*source) else { continue };
                    let risen = input.watermarks.on_end(key);
                    waiting.watermark(seq + 2, input.node, risen);
                }
                (Item::Row { source, watermark, .. }, Ok(Some((row, _)))) => {
                    let Some(input) = inputs.get_mut(*source) else { continue };
                    waiting.row(shard, seq, input.node, row);
                    let key = ("".into(), 0);
                    let risen = watermark.and_then(|w| input.watermarks.on_record(&key, w, now_ms));
                    waiting.watermark(seq + 2, input.node, risen);
                }
                (Item::Record { source, key, .. }, Ok(Some((row, watermark)))) => {
                    let Some(input) = inputs.get_mut(*source) else { continue };
                    waiting.row(shard, seq, input.node, row);
                    let clock = if let InputKind::Files(_) = input.kind { &*FILES } else { *key };
                    let risen = watermark.and_then(|w| input.watermarks.on_record(clock, w, now_ms));
                    if watermark.is_some() && std::mem::take(&mut input.idle) {
                        waiting.all(seq + 1, input.node, &Msg::Idle(false));
                    }
                    waiting.watermark(seq + 2, input.node, risen);
                }
                (Item::Record { source, key, record, .. }, Err(reason)) => {
                    let Some(dlq) = epoch.dlq else {
                        let poison =
                            Poison { key: (*key).clone(), offset: record.offset, reason, skips: true };
                        return Err(Stop::Poisoned(poison));
                    };
                    if let Some(input) = inputs.get(*source) {
                        self.first().fail(input.node);
                    }
                    let aside = set_aside(key, record, vec![("x-error", reason)], now_ms);
                    made.aside(seq, dlq, aside);
                }
                (Item::Record { .. } | Item::Row { .. }, Ok(None) | Err(_)) => {}
            }
        }
        Ok(waiting)
    }

    fn run(&mut self, stage: usize, arrived: Vec<Vec<Arrived>>, items: usize, epoch: &Epoch<'_>) -> Vec<Ran> {
        let few = items < ITEMS_PER_THREAD_MIN * self.graphs.len();
        let Epoch { log, job, now, .. } = *epoch;
        let count = self.graphs.len();
        side_by_side(&mut self.graphs, arrived, few, |graph, arrived| {
            let index = graph.index();
            graph.work_off(stage, arrived, now, State { log, job, share: Share { index, count } })
        })
    }
}

impl Item<'_> {
    fn decode(&self, readers: &[Option<&RecordReader>], now: Now) -> Decoded {
        match self {
            Self::Aside(..) | Self::End(..) | Self::Msg(..) => Ok(None),
            Self::Row { row, watermark, .. } => Ok(Some(((*row).clone(), *watermark))),
            Self::Record { source, place, record, .. } => {
                let Some(reader) = readers.get(*source).copied().flatten() else { return Ok(None) };
                let Some(row) = reader.read(record, place).map_err(|e| e.0)? else { return Ok(None) };
                let watermark = reader.watermark(&row, now).map_err(|e| e.0)?;
                Ok(Some((row, watermark)))
            }
        }
    }
}

/// The record that is to blame for what failed at that number.
fn stop(seq: u64, error: &EvalError, items: &[Item<'_>]) -> Stop {
    let at = usize::try_from(seq / NUMBERS).unwrap_or(0);
    let skips = seq.is_multiple_of(NUMBERS);
    let reason = error.0.clone();
    match at.checked_sub(1).and_then(|index| items.get(index)) {
        Some(Item::Record { key, record, .. }) => {
            Stop::Poisoned(Poison { key: (*key).clone(), offset: record.offset, reason, skips })
        }
        Some(Item::Row { position, .. }) if skips => {
            Stop::Poisoned(Poison { key: ("".into(), 0), offset: *position, reason, skips: false })
        }
        Some(Item::Aside(..) | Item::End(..) | Item::Msg(..) | Item::Row { .. }) | None => {
            Stop::Fatal(no_record(error))
        }
    }
}

/// What waits for its stage, by stage and shard.
struct Waiting(Vec<Vec<Vec<Arrived>>>);

impl Waiting {
    fn new(stages: usize, shards: usize) -> Self {
        let of_stage = || (0..shards).map(|_| Vec::new()).collect();
        Self((0..stages).map(|_| of_stage()).collect())
    }

    fn put(&mut self, stage: usize, shard: usize, arrived: Arrived) {
        if let Some(inbox) = self.0.get_mut(stage).and_then(|shards| shards.get_mut(shard)) {
            inbox.push(arrived);
        }
    }

    fn row(&mut self, shard: usize, seq: u64, node: usize, row: Row) {
        self.put(0, shard, Arrived { seq, node, port: None, msg: Msg::Row(row) });
    }

    fn watermark(&mut self, seq: u64, node: usize, risen: Option<i64>) {
        if let Some(risen) = risen {
            self.all(seq, node, &Msg::Watermark(risen));
        }
    }

    fn all(&mut self, seq: u64, node: usize, msg: &Msg) {
        for inbox in self.0.first_mut().into_iter().flatten() {
            inbox.push(Arrived { seq, node, port: None, msg: msg.clone() });
        }
    }

    /// What comes into a stage: of one number rows first, then what time says.
    fn take(&mut self, stage: usize) -> Vec<Vec<Arrived>> {
        let mut shards = self.0.get_mut(stage).map(std::mem::take).unwrap_or_default();
        for inbox in shards.iter_mut().filter(|_| stage > 0) {
            inbox.sort_by_key(|arrived| (arrived.seq, !matches!(arrived.msg, Msg::Row(_))));
        }
        shards
    }

    fn route(&mut self, graph: &Graph, sent: Vec<Sent>) {
        for Sent { seq, to, node, port, msg } in sent {
            let stage = graph.stage_of(node);
            match to {
                Some(shard) => self.put(stage, shard, Arrived { seq, node, port: Some(port), msg }),
                None => {
                    for inbox in self.0.get_mut(stage).into_iter().flatten() {
                        inbox.push(Arrived { seq, node, port: Some(port), msg: msg.clone() });
                    }
                }
            }
        }
    }
}

/// What an epoch has made so far, each with its number.
#[derive(Default)]
struct Made {
    appends: Vec<(u64, (Arc<str>, OutRecord))>,
    published: Vec<(u64, OutMessage)>,
    printed: Vec<(u64, Printed)>,
    written: Vec<(u64, (OperatorId, ForFile))>,
    late: Vec<(u64, Late)>,
    rows_out: u64,
    late_rows: u64,
}

impl Made {
    fn aside(&mut self, seq: u64, topic: &str, record: OutRecord) {
        self.appends.push((seq, (topic.into(), record)));
    }

    fn add(&mut self, outputs: Outputs, ends: &[(u64, Mark)]) {
        numbered(&mut self.appends, outputs.appends, ends, |mark| mark.appends);
        numbered(&mut self.published, outputs.published, ends, |mark| mark.published);
        numbered(&mut self.printed, outputs.printed, ends, |mark| mark.printed);
        numbered(&mut self.written, outputs.written, ends, |mark| mark.written);
        self.rows_out += outputs.rows_out;
        self.late_rows += outputs.late_rows;
    }

    /// Records that were late themselves, each once.
    fn set_late_aside(&mut self, items: &[Item<'_>], epoch: &Epoch<'_>) {
        let Some(topic) = epoch.late_topic else { return };
        let mut late = std::mem::take(&mut self.late);
        late.sort_by_key(|(seq, _)| *seq);
        late.dedup_by_key(|(seq, _)| *seq);
        for (seq, late) in late.into_iter().filter(|(seq, _)| seq.is_multiple_of(NUMBERS)) {
            let index = usize::try_from(seq / NUMBERS).unwrap_or(0).checked_sub(1);
            if let Some(Item::Record { key, record, .. }) = index.and_then(|index| items.get(index)) {
                self.aside(seq, topic, late_record(key, record, late, epoch.now.ms));
            }
        }
    }

    fn into_outputs(self, outputs: &mut Outputs) {
        outputs.appends.extend(in_order(self.appends));
        outputs.published.extend(in_order(self.published));
        outputs.printed.extend(in_order(self.printed));
        outputs.written.extend(in_order(self.written));
        outputs.rows_out += self.rows_out;
        outputs.late_rows += self.late_rows;
    }
}

fn in_order<T>(mut numbered: Vec<(u64, T)>) -> impl Iterator<Item = T> {
    numbered.sort_by_key(|(seq, _)| *seq);
    numbered.into_iter().map(|(_, made)| made)
}

/// Gives what a shard has made its numbers: up to each end they are of that.
fn numbered<T>(into: &mut Vec<(u64, T)>, made: Vec<T>, ends: &[(u64, Mark)], of: fn(&Mark) -> usize) {
    let mut made = made.into_iter();
    let mut before = 0;
    for (seq, mark) in ends {
        let end = of(mark);
        into.extend(made.by_ref().take(end.saturating_sub(before)).map(|one| (*seq, one)));
        before = end;
    }
}

/// Does the work of each on a thread of its own, the first on this one; all on this one if there is little.
fn side_by_side<A: Send, W: Send, R: Send>(
    actors: &mut [A],
    work: Vec<W>,
    here: bool,
    act: impl Fn(&mut A, W) -> R + Sync,
) -> Vec<R> {
    let mut pairs = actors.iter_mut().zip(work);
    if here {
        return pairs.map(|(actor, work)| act(actor, work)).collect();
    }
    let first = pairs.next();
    thread::scope(|scope| {
        let act = &act;
        let others: Vec<_> = pairs.map(|(actor, work)| scope.spawn(move || act(actor, work))).collect();
        let first = first.map(|(actor, work)| act(actor, work));
        let others = others.into_iter().map(|other| other.join().unwrap_or_else(|e| panic::resume_unwind(e)));
        first.into_iter().chain(others).collect()
    })
}
