//! The shards of a job: graphs of the same operators, each with keys of its own.
//!
//! With one shard there is nothing to this: a row goes through the graph all the way before the next is read. With more,
//! an epoch is read first, each shard decodes a piece of it, and then it is worked off in stages
//! ([`crate::stream::plan::exchange`]). In a stage the shards run side by side; then what they have sent goes where its
//! keys are, in the order of what it was made of. That order is what makes the output that of one shard: everything bears
//! the number of the record, or of the watermark, behind it, and a watermark comes after all rows of its number.
//!
//! ```text
//!  read ─┬─ decode ─┬─ watermarks ─┬─ shard 0 ─┬─ by key ─┬─ shard 0 ─┬─▶ outputs by number ─▶ one commit
//!        └─ decode ─┘              └─ shard 1 ─┘          └─ shard 1 ─┘
//! ```
//! What fails, fails before anything is committed: the epoch is made again without it.

use std::{ops::Range, sync::Arc, thread};

use super::{
    JobId, Log, State,
    crew::Crew,
    graph::{Counts, Graph, OperatorStatus},
    input::{FILES, Input, InputKind, Key},
    later::{Item, Later, reader},
    made::Made,
    poll::{Poison, Stop, no_record, set_aside},
    shard::{Sent, Share},
};
use crate::stream::{
    datum::Row,
    expr::{EvalError, Now},
    operator::{Late, Mark, Msg, Outputs, source::RecordReader},
    plan::physical::{JobPlan, OperatorId},
    state::keyed::Changes,
    time::watermark::Watermarks,
};

/// Fewer items than this are not worth a thread.
const ITEMS_PER_THREAD_MIN: usize = if cfg!(test) { 2 } else { 64 };
/// Numbers that an item has: one for its row, one for its source that is no longer idle, one for the watermark.
pub(super) const NUMBERS: u64 = 4;

/// All shards.
pub struct Shards {
    graphs: Vec<Graph>,
    stages: usize,
}

/// A message that comes into a stage.
#[derive(Debug, Clone)]
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
    pub sent: Sent,
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

impl Shards {
    pub(super) fn open(
        plan: &JobPlan,
        log: &dyn Log,
        job: &JobId,
        fresh: &dyn Fn(OperatorId) -> bool,
    ) -> Result<Self, EvalError> {
        let count = plan.parallelism.max(1);
        let open = |index| Graph::open(plan, State { log, job, share: Share { index, count } }, fresh);
        let stages = JobPlan::stage_count(&plan.stages());
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
        let (stages, count) = (self.stages, self.graphs.len());
        let few = later.len() < ITEMS_PER_THREAD_MIN * count;
        let (readings, mut sources): (Vec<_>, Vec<_>) = inputs.iter_mut().map(Source::of).unzip();
        let readings = readings.as_slice();
        let members = self.graphs.iter_mut().map(|graph| Member { graph, rows: Vec::new() }).collect();
        let mut made = Made::default();
        let mut unread = Vec::new();
        let worked = thread::scope(|scope| {
            let mut crew = Crew::new(scope, members, few);
            let now = epoch.now;
            let notes = crew.each(later.pieces(count), move |member: &mut Member<'_>, piece| {
                member.decode(later, piece, readings, now)
            });
            let times = Arc::new(put_in_order(later, notes, &mut sources, epoch, &mut made, &mut unread)?);
            let mut waiting = Waiting::new(stages, count);
            let mut timed = false;
            for stage in 0..stages {
                let (times, log, job) = (times.clone(), epoch.log, epoch.job);
                let ran = crew.each(waiting.take(stage), move |member: &mut Member<'_>, arrived| {
                    let share = Share { index: member.graph.index(), count };
                    member.run(stage, arrived, &times, now, State { log, job, share })
                });
                let failed = ran.iter().filter_map(|ran| ran.failed.as_ref()).min_by_key(|(seq, _)| *seq);
                if let Some((seq, error)) = failed {
                    return Err(stop(*seq, error, later));
                }
                for ran in ran {
                    timed |= ran.timed;
                    waiting.route(ran.sent);
                    made.add(ran.outputs, ran.ends, ran.late);
                }
            }
            Ok(timed)
        });
        unread.into_iter().for_each(|node| self.first().fail(node));
        let timed = worked?;
        made.set_late_aside(later, epoch);
        made.into_outputs(outputs);
        Ok(timed)
    }
}

/// What an input needs to know of its records besides their rows.
struct Source<'i> {
    node: usize,
    watermarks: &'i mut Watermarks<Key>,
    idle: &'i mut bool,
    /// Of all files of a table there is one watermark.
    files: bool,
}

impl<'i> Source<'i> {
    /// That, and what decodes its records.
    fn of(input: &'i mut Input) -> (Reading<'i>, Self) {
        let Input { node, kind, watermarks, idle, .. } = input;
        let files = matches!(kind, InputKind::Files(_));
        (Reading { node: *node, reader: reader(kind) }, Self { node: *node, watermarks, idle, files })
    }
}

/// What makes rows of an input's records, and from which node they come.
struct Reading<'i> {
    node: usize,
    reader: Option<&'i RecordReader>,
}

/// A shard in an epoch, and the rows of its piece that have not gone into it yet.
struct Member<'g> {
    graph: &'g mut Graph,
    rows: Vec<Arrived>,
}

/// What others must know of an item that a shard has decoded.
enum Note {
    /// It is no row.
    Unread(String),
    Watermark(i64),
}

impl Reading<'_> {
    /// The row of an item with its watermark, if it is one.
    fn row(&self, item: &Item<'_>, now: Now) -> Result<Option<(Row, Option<i64>)>, String> {
        match (item, self.reader) {
            (Item::Row { row, watermark, .. }, _) => Ok(Some(((*row).clone(), *watermark))),
            (Item::Record { place, record, .. }, Some(reader)) => {
                let Some(row) = reader.read(record, place).map_err(|e| e.0)? else { return Ok(None) };
                let watermark = reader.watermark(&row, now).map_err(|e| e.0)?;
                Ok(Some((row, watermark)))
            }
            (Item::Aside(..) | Item::End(..) | Item::Msg(..) | Item::Record { .. }, _) => Ok(None),
        }
    }
}

impl Member<'_> {
    /// Makes rows of the records of a piece; notes by index of the item.
    fn decode(
        &mut self,
        later: &Later,
        piece: Range<usize>,
        readings: &[Reading<'_>],
        now: Now,
    ) -> Vec<(usize, Note)> {
        let mut notes = Vec::new();
        self.rows.reserve(piece.len());
        for index in piece {
            let Some(item) = later.item(index) else { continue };
            let Some(reading) = item.source().and_then(|source| readings.get(source)) else { continue };
            match reading.row(&item, now) {
                Ok(None) => {}
                Ok(Some((row, watermark))) => {
                    let (seq, node, msg) = (seq_of(index), reading.node, Msg::Row(row));
                    self.rows.push(Arrived { seq, node, port: None, msg });
                    notes.extend(watermark.map(|watermark| (index, Note::Watermark(watermark))));
                }
                Err(reason) => notes.push((index, Note::Unread(reason))),
            }
        }
        notes
    }

    /// Works off a stage: the first is of its own rows, the others of what was sent.
    fn run(
        &mut self,
        stage: usize,
        arrived: Vec<Vec<Arrived>>,
        times: &[Arrived],
        now: Now,
        state: State<'_>,
    ) -> Ran {
        if stage == 0 {
            let rows = std::mem::take(&mut self.rows);
            return self.graph.work_off(stage, in_turn(rows, times), now, state);
        }
        let mut arrived: Vec<Arrived> = arrived.into_iter().flatten().collect();
        // Of one number rows first, then what time says.
        arrived.sort_by_key(|arrived| (arrived.seq, !matches!(arrived.msg, Msg::Row(_))));
        self.graph.work_off(stage, arrived.into_iter(), now, state)
    }
}

/// Rows and what time says, in the order of their numbers.
fn in_turn(rows: Vec<Arrived>, times: &[Arrived]) -> impl Iterator<Item = Arrived> {
    let (mut rows, mut times) = (rows.into_iter().peekable(), times.iter().peekable());
    std::iter::from_fn(move || match (rows.peek(), times.peek()) {
        (Some(row), Some(time)) if time.seq < row.seq => times.next().cloned(),
        (Some(_), _) => rows.next(),
        (None, _) => times.next().cloned(),
    })
}

/// The number of an item's row.
fn seq_of(index: usize) -> u64 {
    (index as u64 + 1) * NUMBERS
}

/// The item that a number belongs to.
pub(super) fn index_of(seq: u64) -> Option<usize> {
    usize::try_from(seq / NUMBERS).ok()?.checked_sub(1)
}

/// What time says between the rows of an epoch; and sets aside what makes no row, whose sources are added to `unread`.
fn put_in_order(
    later: &Later,
    notes: Vec<Vec<(usize, Note)>>,
    sources: &mut [Source<'_>],
    epoch: &Epoch<'_>,
    made: &mut Made,
    unread: &mut Vec<usize>,
) -> Result<Vec<Arrived>, Stop> {
    let mut times = Vec::new();
    let now_ms = epoch.now.ms;
    let mut notes = notes.into_iter().flatten().peekable();
    for index in 0..later.len() {
        let Some(item) = later.item(index) else { continue };
        let seq = seq_of(index);
        let mut tell = |seq, node, msg| times.push(Arrived { seq, node, port: None, msg });
        let (source, key, record) = match item {
            Item::Aside(topic, record) => {
                made.aside(seq, topic, record.clone());
                continue;
            }
            Item::Msg(node, msg) => {
                tell(seq, node, msg.clone());
                continue;
            }
            Item::End(source, key) => {
                let Some(source) = sources.get_mut(source) else { continue };
                if let Some(risen) = source.watermarks.on_end(key) {
                    tell(seq + 2, source.node, Msg::Watermark(risen));
                }
                continue;
            }
            Item::Record { source, key, record, .. } => (source, key, Some(record)),
            Item::Row { source, .. } => (source, &*FILES, None),
        };
        let Some((_, note)) = notes.next_if(|(noted, _)| *noted == index) else { continue };
        let Some(source) = sources.get_mut(source) else { continue };
        match (note, record) {
            (Note::Watermark(watermark), record) => {
                let clock = if source.files { &*FILES } else { key };
                let risen = source.watermarks.on_record(clock, watermark, now_ms);
                if record.is_some() && std::mem::take(source.idle) {
                    tell(seq + 1, source.node, Msg::Idle(false));
                }
                if let Some(risen) = risen {
                    tell(seq + 2, source.node, Msg::Watermark(risen));
                }
            }
            (Note::Unread(reason), Some(record)) => {
                let Some(dlq) = epoch.dlq else {
                    let poison = Poison { key: key.clone(), offset: record.offset, reason, skips: true };
                    return Err(Stop::Poisoned(poison));
                };
                unread.push(source.node);
                made.aside(seq, dlq, set_aside(key, &record, vec![("x-error", reason)], now_ms));
            }
            (Note::Unread(_), None) => {}
        }
    }
    Ok(times)
}

/// The record that is to blame for what failed at that number.
fn stop(seq: u64, error: &EvalError, later: &Later) -> Stop {
    let skips = seq.is_multiple_of(NUMBERS);
    let reason = error.0.clone();
    match index_of(seq).and_then(|index| later.item(index)) {
        Some(Item::Record { key, record, .. }) => {
            Stop::Poisoned(Poison { key: key.clone(), offset: record.offset, reason, skips })
        }
        Some(Item::Row { position, .. }) if skips => {
            Stop::Poisoned(Poison { key: ("".into(), 0), offset: position, reason, skips: false })
        }
        Some(Item::Aside(..) | Item::End(..) | Item::Msg(..) | Item::Row { .. }) | None => {
            Stop::Fatal(no_record(error))
        }
    }
}

/// What waits for its stage, by stage and shard: what each shard has sent, one after the other.
struct Waiting(Vec<Vec<Vec<Vec<Arrived>>>>);

impl Waiting {
    fn new(stages: usize, shards: usize) -> Self {
        let of_stage = || (0..shards).map(|_| Vec::new()).collect();
        Self((0..stages).map(|_| of_stage()).collect())
    }

    /// What comes into a stage.
    fn take(&mut self, stage: usize) -> Vec<Vec<Vec<Arrived>>> {
        self.0.get_mut(stage).map(std::mem::take).unwrap_or_default()
    }

    fn route(&mut self, sent: Sent) {
        for (waiting, sent) in self.0.iter_mut().zip(sent.0) {
            for (inbox, sent) in waiting.iter_mut().zip(sent).filter(|(_, sent)| !sent.is_empty()) {
                inbox.push(sent);
            }
        }
    }
}
