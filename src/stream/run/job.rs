//! One job: the epoch loop, its phases, and recovery.
//!
//! An epoch ends when the input is drained, after [`EPOCH_ROWS_MAX`] rows, or when the caller's clock says so. A bad
//! record ends it too: what came before is committed, and the job is FAILED at the record, which a resume reads again;
//! with `dlq` the record goes there instead.

use std::sync::Arc;

use super::{
    Commit, EPOCH_ROWS_MAX, EpochCommit, JobId, Log, OutRecord, READ_BYTES_MAX, STATE_KEY, State,
    graph::{Graph, OperatorStatus},
    input::{Cursor, Input, InputKind, Key, failure_at},
    partitioner::partition_of,
};
use crate::{
    data::record::{Batch, BatchError, Record},
    stream::{
        expr::{EvalError, Now},
        operator::{Late, Msg, Outputs, metadata::Place},
        plan::physical::{JobPlan, NodeKind},
        state::{Failure, JobState, Phase, STATE_VERSION, keyed::Changes},
        time::watermark::WATERMARK_MAX,
    },
};

/// A batch may grow to this when it is decompressed.
const BATCH_BYTES_MAX: usize = 64 << 20;
/// The clock is asked once in so many rows; in tests after each, so that an epoch can end at any record.
const ROWS_PER_LOOK: usize = if cfg!(test) { 1 } else { 32 };

/// A job that runs.
pub struct Job {
    id: JobId,
    plan: JobPlan,
    graph: Graph,
    inputs: Vec<Input>,
    epoch: u64,
    phase: Phase,
    /// The last committed state, to go back to.
    saved: Option<JobState>,
    /// Records that failed behind operators with state: the epoch is made again up to them.
    poisoned: Vec<Poison>,
    /// Something changed that no epoch has committed yet.
    dirty: bool,
    rows_in: u64,
    rows_out: u64,
}

/// What one call of [`Job::epoch`] came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// To be committed, and then called again at once.
    Commit(Box<EpochCommit>),
    /// Nothing to read. Call again when a topic of the job grows, or at this domain time.
    Idle { wake_at_ms: Option<i64> },
    /// Paused, failed or finished, and that is committed.
    Stopped,
}

impl Job {
    /// A new job, or one as its last committed state says.
    pub fn restore(id: JobId, plan: JobPlan, saved: Option<&[u8]>, log: &dyn Log) -> Result<Self, EvalError> {
        let saved = saved.map(JobState::decode).transpose().map_err(EvalError)?;
        let (graph, inputs) = open(&id, &plan, saved.as_ref(), log)?;
        let dirty = saved.is_none();
        let (epoch, phase) = saved.as_ref().map_or((0, Phase::Running), |s| (s.epoch, s.phase.clone()));
        Ok(Self {
            id,
            plan,
            graph,
            inputs,
            epoch,
            phase,
            saved,
            poisoned: Vec::new(),
            dirty,
            rows_in: 0,
            rows_out: 0,
        })
    }

    /// Back to the last commit: operators and positions as the store has them.
    fn rewind(&mut self, log: &dyn Log) -> Result<(), EvalError> {
        (self.graph, self.inputs) = open(&self.id, &self.plan, self.saved.as_ref(), log)?;
        Ok(())
    }

    /// What each operator has done since the job was opened.
    #[must_use]
    pub fn operators(&self) -> Vec<OperatorStatus> {
        self.graph.status()
    }

    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.id
    }

    #[must_use]
    pub fn plan(&self) -> &JobPlan {
        &self.plan
    }

    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Epochs so far.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        self.epoch
    }

    /// Rows read and written since the job was opened.
    #[must_use]
    pub fn rows(&self) -> (u64, u64) {
        (self.rows_in, self.rows_out)
    }

    /// How many records are there that have not been read.
    #[must_use]
    pub fn lag(&self, log: &dyn Log) -> i64 {
        let of = |((topic, partition), cursor): (&Key, &Cursor)| {
            let end = cursor.end.unwrap_or_else(|| log.log_end(topic, *partition));
            (end - cursor.position).max(0)
        };
        let read = self.inputs.iter().filter(|input| matches!(input.kind, InputKind::Kafka { .. }));
        read.flat_map(|input| input.cursors.iter().map(of)).sum()
    }

    /// The topics whose growth wakes the job.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .flat_map(|input| match &input.kind {
                InputKind::Datagen(_) => &[],
                InputKind::Kafka { kafka, .. } => kafka.topics.as_slice(),
            })
            .map(String::as_str)
    }

    /// Stops after the last epoch. A job that does not run stays as it is.
    pub fn pause(&mut self) {
        if self.phase == Phase::Running {
            (self.phase, self.dirty) = (Phase::Paused, true);
        }
    }

    /// Goes on where a paused or failed job stopped.
    pub fn resume(&mut self) {
        match self.phase {
            Phase::Paused | Phase::Failed(_) => (self.phase, self.dirty) = (Phase::Running, true),
            Phase::Finished | Phase::Running => {}
        }
    }

    /// Reads, computes and gathers one epoch. `over` says that the epoch has taken long enough.
    ///
    /// The job is ahead of the store until the epoch is committed: if that fails, restore a new one.
    pub fn epoch(&mut self, log: &dyn Log, now_ms: i64, over: &dyn Fn() -> bool) -> Step {
        let mut outputs = Outputs::default();
        let rows_before = self.rows_in;
        let mut wake_at_ms = None;
        if self.phase == Phase::Running {
            let now = Now { ms: now_ms, watermark_ms: None };
            while let Err(stop) = self.gather(log, now, over, &mut outputs, &mut wake_at_ms) {
                let failure = match stop {
                    Stop::At(failure) => failure,
                    Stop::Fatal(_) | Stop::Poisoned(_) => {
                        outputs = Outputs::default();
                        self.rows_in = rows_before;
                        match (self.rewind(log), stop) {
                            (Err(e), _) => no_record(&e),
                            (Ok(()), Stop::Poisoned(poison)) => {
                                self.poisoned.push(poison);
                                continue;
                            }
                            (Ok(()), Stop::At(failure) | Stop::Fatal(failure)) => failure,
                        }
                    }
                };
                (self.phase, self.dirty) = (Phase::Failed(failure), true);
                break;
            }
        } else if !self.dirty {
            return Step::Stopped;
        }
        let quiet = outputs.appends.is_empty() && outputs.printed.is_empty() && rows_before == self.rows_in;
        if quiet && !self.dirty {
            return Step::Idle { wake_at_ms };
        }
        self.dirty = false;
        self.poisoned.clear();
        self.rows_out += outputs.rows_out;
        Step::Commit(Box::new(self.commit(log, outputs, now_ms)))
    }

    fn gather(
        &mut self,
        log: &dyn Log,
        now: Now,
        over: &dyn Fn() -> bool,
        outputs: &mut Outputs,
        wake_at_ms: &mut Option<i64>,
    ) -> Result<(), Stop> {
        let store = State { log, job: &self.id };
        let mut budget = Budget {
            rows: EPOCH_ROWS_MAX,
            over,
            dlq: self.plan.dlq.as_deref().map(Arc::from),
            late_topic: self.plan.late_topic.as_deref().map(Arc::from),
            poisoned: &self.poisoned,
        };
        self.dirty |=
            self.graph.on_proc_time(now, outputs, &store).map_err(|e| Stop::Fatal(no_record(&e)))?;
        for input in &mut self.inputs {
            let known = input.cursors.len();
            input.discover(log, now).map_err(Stop::At)?;
            self.dirty |= known != input.cursors.len();
            if let Some(watermark) = input.watermarks.on_time(now.ms) {
                self.dirty = true;
                self.graph
                    .push(input.node, Msg::Watermark(watermark), now, outputs, &store)
                    .map_err(|e| Stop::Fatal(no_record(&e)))?;
            }
        }
        for input in &mut self.inputs {
            let idle = input.watermarks.is_idle();
            if std::mem::replace(&mut input.idle, idle) != idle {
                self.graph
                    .push(input.node, Msg::Idle(idle), now, outputs, &store)
                    .map_err(|e| Stop::Fatal(no_record(&e)))?;
            }
        }
        loop {
            let rows_before = budget.rows;
            for input in &mut self.inputs {
                // The sources take turns, so that one with a backlog does not hold up the others.
                let turn = Poll { input, graph: &mut self.graph, outputs, now, store: &store };
                let result = turn.poll(log, &mut budget, wake_at_ms);
                self.dirty |= result?;
            }
            let read = rows_before - budget.rows;
            self.rows_in += read as u64;
            if read == 0 || budget.spent() {
                break;
            }
        }
        if self.inputs.iter().all(Input::ended) {
            for input in &self.inputs {
                self.graph
                    .push(input.node, Msg::Watermark(WATERMARK_MAX), now, outputs, &store)
                    .map_err(|e| Stop::Fatal(no_record(&e)))?;
            }
            (self.phase, self.dirty) = (Phase::Finished, true);
        }
        let timeouts = self.inputs.iter().filter_map(|i| i.watermarks.next_timeout_ms());
        let timers = self.graph.next_proc_timer().into_iter().chain(timeouts);
        *wake_at_ms = wake_at_ms.iter().copied().chain(timers).min();
        Ok(())
    }

    fn commit(&mut self, log: &dyn Log, outputs: Outputs, now_ms: i64) -> EpochCommit {
        self.epoch += 1;
        let mut changes = Changes::default();
        self.graph.flush(now_ms, &mut changes);
        let state = JobState {
            version: STATE_VERSION,
            epoch: self.epoch,
            phase: self.phase.clone(),
            sources: self.inputs.iter().map(Input::state).collect(),
            operators: self.plan.nodes.iter().map(|n| n.id.to_string()).collect(),
        };
        changes.puts.push((STATE_KEY.to_vec(), state.encode()));
        let mut offsets: Vec<(String, i32, i64)> = Vec::new();
        for p in state.sources.iter().flat_map(|s| &s.partitions).filter(|p| !p.topic.is_empty()) {
            // Of two sources on one topic, the one behind counts.
            match offsets
                .iter_mut()
                .find(|(topic, partition, _)| *topic == p.topic && *partition == p.partition)
            {
                Some((_, _, offset)) => *offset = p.position.min(*offset),
                None => offsets.push((p.topic.clone(), p.partition, p.position)),
            }
        }
        self.saved = Some(state);
        EpochCommit {
            job: self.id.clone(),
            epoch: self.epoch,
            offsets,
            watermarks: self.inputs.iter().map(|i| (i.id, i.watermarks.merged())).collect(),
            puts: changes.puts,
            deletes: changes.deletes,
            appends: by_partition(log, outputs.appends, self.epoch),
            printed: outputs.printed,
            phase: self.phase.clone(),
        }
    }
}

/// Operators and inputs as a committed state has them, or at the start.
fn open(
    id: &JobId,
    plan: &JobPlan,
    saved: Option<&JobState>,
    log: &dyn Log,
) -> Result<(Graph, Vec<Input>), EvalError> {
    let fresh = |id: crate::stream::plan::physical::OperatorId| {
        saved.is_none_or(|s| !s.operators.contains(&id.to_string()))
    };
    let mut graph = Graph::open(plan, &State { log, job: id }, &fresh)?;
    let mut inputs = Vec::new();
    for index in Graph::sources(plan) {
        let Some(node) = plan.nodes.get(index) else { continue };
        let NodeKind::Source(source) = &node.kind else { continue };
        let id = node.id.to_string();
        let state = saved.and_then(|s| s.sources.iter().find(|s| s.id == id));
        let input = Input::open(index, node, source, state)?;
        graph.restore_watermark(index, input.watermarks.merged());
        inputs.push(input);
    }
    Ok((graph, inputs))
}

/// Why an epoch cannot go on.
enum Stop {
    /// Nothing of the record is left behind: what came before it counts.
    At(Failure),
    /// It would happen again: nothing of the epoch counts.
    Fatal(Failure),
    /// Operators have seen the record: the epoch is made again, and it does not reach them.
    Poisoned(Poison),
}

/// A record that fails behind operators with state.
struct Poison {
    key: Key,
    offset: i64,
    reason: String,
    /// The record is to blame, not what its time set off: it may go to the dead letters.
    skips: bool,
}

/// Commits epochs until there is nothing to do; what that came to.
pub fn drive(
    job: &mut Job,
    log: &dyn Log,
    commit: &mut dyn Commit,
    now_ms: i64,
    over: &dyn Fn() -> bool,
) -> Result<Step, String> {
    loop {
        match job.epoch(log, now_ms, over) {
            Step::Commit(epoch) => commit.commit(*epoch)?,
            step @ (Step::Idle { .. } | Step::Stopped) => return Ok(step),
        }
    }
}

/// What is left of an epoch.
struct Budget<'a> {
    rows: usize,
    over: &'a dyn Fn() -> bool,
    dlq: Option<Arc<str>>,
    late_topic: Option<Arc<str>>,
    poisoned: &'a [Poison],
}

impl Budget<'_> {
    /// Never before the first row: a late clock must not keep a job from moving at all.
    fn spent(&self) -> bool {
        let begun = self.rows < EPOCH_ROWS_MAX;
        self.rows == 0 || (begun && self.rows.is_multiple_of(ROWS_PER_LOOK) && (self.over)())
    }
}

/// One source's turn.
struct Poll<'a> {
    input: &'a mut Input,
    graph: &'a mut Graph,
    outputs: &'a mut Outputs,
    now: Now,
    store: &'a State<'a>,
}

impl Poll<'_> {
    /// Reads of every partition what is at hand, up to a batch. Whether a position moved.
    fn poll(
        mut self,
        log: &dyn Log,
        budget: &mut Budget<'_>,
        wake_at_ms: &mut Option<i64>,
    ) -> Result<bool, Stop> {
        if let InputKind::Datagen(_) = self.input.kind {
            return self.generate(budget, wake_at_ms);
        }
        let keys: Vec<Key> = self.input.cursors.keys().cloned().collect();
        let mut moved = false;
        for key in keys {
            let before = self.position(&key);
            if !budget.spent() && self.input.fill(&key, log, READ_BYTES_MAX).map_err(Stop::At)? {
                self.batch(&key, budget)?;
            }
            moved |= before != self.position(&key);
            self.at_end(&key)?;
        }
        Ok(moved)
    }

    fn position(&self, key: &Key) -> i64 {
        self.input.cursors.get(key).map_or(0, |c| c.position)
    }

    /// Works off the front batch, or as much of it as the budget allows.
    fn batch(&mut self, key: &Key, budget: &mut Budget<'_>) -> Result<(), Stop> {
        // Taken out meanwhile: looking it up again for each record would cost as much as reading one.
        let Some(mut cursor) = self.input.cursors.remove(key) else { return Ok(()) };
        let result = self.front_batch(key, &mut cursor, budget);
        self.input.cursors.insert(key.clone(), cursor);
        result
    }

    fn front_batch(&mut self, key: &Key, cursor: &mut Cursor, budget: &mut Budget<'_>) -> Result<(), Stop> {
        let position = cursor.position;
        let unreadable = |e: BatchError| Stop::At(failure_at(key, position, e.to_string()));
        let Some(bytes) = cursor.pending.front().cloned() else { return Ok(()) };
        let batch = Batch::decode(bytes).map_err(unreadable)?;
        let header = *batch.header();
        cursor.place.leader_epoch = header.partition_leader_epoch;
        cursor.place.log_append_time = header.attributes.is_log_append_time();
        if !header.attributes.is_control() {
            let payload = batch.payload(BATCH_BYTES_MAX).map_err(unreadable)?;
            for record in &payload {
                let record = record.map_err(|e| Stop::At(failure_at(key, cursor.position, e.to_string())))?;
                if record.offset < cursor.position {
                    continue;
                }
                if cursor.ended() || budget.spent() {
                    return Ok(());
                }
                self.record(key, &cursor.place, &record, budget)?;
                budget.rows -= 1;
                cursor.position = record.offset + 1;
            }
        }
        cursor.position = cursor.position.max(header.last_offset() + 1);
        cursor.pending.pop_front();
        Ok(())
    }

    /// One record through the job. If it cannot be read or computed it leaves nothing behind.
    fn record(
        &mut self,
        key: &Key,
        place: &Place,
        record: &Record<'_>,
        budget: &Budget<'_>,
    ) -> Result<(), Stop> {
        let poison = budget.poisoned.iter().find(|p| p.key == *key && p.offset == record.offset);
        let (reason, skips) = match poison {
            Some(poison) => (poison.reason.clone(), poison.skips),
            None => {
                let mark = self.outputs.mark();
                match self.try_record(key, place, record, budget) {
                    Ok(()) => return Ok(()),
                    Err(Broken::Unread(reason)) => (reason, true),
                    Err(Broken::Row(reason) | Broken::Time(reason)) if !self.graph.is_stateful() => {
                        self.outputs.back_to(mark);
                        (reason, true)
                    }
                    Err(broken) => {
                        let (reason, skips) = match broken {
                            Broken::Row(reason) | Broken::Unread(reason) => (reason, true),
                            Broken::Time(reason) => (reason, false),
                        };
                        let poison = Poison { key: key.clone(), offset: record.offset, reason, skips };
                        return Err(Stop::Poisoned(poison));
                    }
                }
            }
        };
        match &budget.dlq {
            Some(dlq) if skips => {
                let added = vec![("x-error", reason)];
                self.outputs.appends.push((dlq.clone(), set_aside(key, record, added, self.now.ms)));
                Ok(())
            }
            _ => Err(Stop::At(failure_at(key, record.offset, reason))),
        }
    }

    fn try_record(
        &mut self,
        key: &Key,
        place: &Place,
        record: &Record<'_>,
        budget: &Budget<'_>,
    ) -> Result<(), Broken> {
        let InputKind::Kafka { reader, .. } = &self.input.kind else { return Ok(()) };
        let Some(row) = reader.read(record, place).map_err(|e| Broken::Unread(e.0))? else { return Ok(()) };
        let watermark = reader.watermark(&row, self.now).map_err(|e| Broken::Unread(e.0))?;
        self.outputs.late = None;
        self.graph
            .push(self.input.node, Msg::Row(row), self.now, self.outputs, self.store)
            .map_err(|e| Broken::Row(e.0))?;
        if let (Some(Late { by_ms, watermark_ms }), Some(topic)) =
            (self.outputs.late.take(), &budget.late_topic)
        {
            let added = vec![("x-late-by-ms", by_ms.to_string()), ("x-watermark", watermark_ms.to_string())];
            self.outputs.appends.push((topic.clone(), set_aside(key, record, added, self.now.ms)));
        }
        let risen = watermark.and_then(|w| self.input.watermarks.on_record(key, w, self.now.ms));
        if watermark.is_some() && std::mem::take(&mut self.input.idle) {
            self.graph
                .push(self.input.node, Msg::Idle(false), self.now, self.outputs, self.store)
                .map_err(|e| Broken::Time(e.0))?;
        }
        if let Some(risen) = risen {
            self.graph
                .push(self.input.node, Msg::Watermark(risen), self.now, self.outputs, self.store)
                .map_err(|e| Broken::Time(e.0))?;
        }
        Ok(())
    }

    /// A bounded partition that has been read holds no watermark back.
    fn at_end(&mut self, key: &Key) -> Result<(), Stop> {
        if !self.input.cursors.get(key).is_some_and(Cursor::ended) {
            return Ok(());
        }
        match self.input.watermarks.on_end(key) {
            Some(risen) => self
                .graph
                .push(self.input.node, Msg::Watermark(risen), self.now, self.outputs, self.store)
                .map_err(|e| Stop::Fatal(no_record(&e))),
            None => Ok(()),
        }
    }

    fn generate(&mut self, budget: &mut Budget<'_>, wake_at_ms: &mut Option<i64>) -> Result<bool, Stop> {
        let key: Key = ("".into(), 0);
        let InputKind::Datagen(generator) = &mut self.input.kind else { return Ok(false) };
        let Some(cursor) = self.input.cursors.get_mut(&key) else { return Ok(false) };
        let before = cursor.position;
        while !cursor.ended() && !budget.spent() {
            if !generator.due(self.now.ms) {
                let at = generator.next_due_ms();
                *wake_at_ms = Some(wake_at_ms.map_or(at, |before| at.min(before)));
                break;
            }
            let row = generator.row(cursor.position, self.now);
            let watermark = generator.watermark(&row, self.now);
            if let Some(poison) = budget.poisoned.iter().find(|p| p.key == key && p.offset == cursor.position)
            {
                return Err(Stop::At(failure_at(&key, cursor.position, poison.reason.clone())));
            }
            let mark = self.outputs.mark();
            let pushed = self.graph.push(self.input.node, Msg::Row(row), self.now, self.outputs, self.store);
            if let Err(EvalError(reason)) = pushed {
                if self.graph.is_stateful() {
                    let poison = Poison { key, offset: cursor.position, reason, skips: false };
                    return Err(Stop::Poisoned(poison));
                }
                self.outputs.back_to(mark);
                return Err(Stop::At(failure_at(&key, cursor.position, reason)));
            }
            cursor.position += 1;
            budget.rows -= 1;
            let risen =
                watermark.map(|w| w.and_then(|w| self.input.watermarks.on_record(&key, w, self.now.ms)));
            let pushed = risen.and_then(|risen| match risen {
                Some(risen) => {
                    let msg = Msg::Watermark(risen);
                    self.graph.push(self.input.node, msg, self.now, self.outputs, self.store)
                }
                None => Ok(()),
            });
            pushed.map_err(|e| Stop::Fatal(no_record(&e)))?;
        }
        let moved = cursor.position != before;
        self.at_end(&key)?;
        Ok(moved)
    }
}

/// Where a record broke.
enum Broken {
    /// In an operator, at the row.
    Row(String),
    /// At what its time set off.
    Time(String),
    /// Before any operator saw it.
    Unread(String),
}

/// The record as it was, and why it is where it is now.
fn set_aside(key: &Key, record: &Record<'_>, why: Vec<(&str, String)>, now_ms: i64) -> OutRecord {
    let mut headers: Vec<(String, Option<Vec<u8>>)> =
        record.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
    let from = [
        ("x-topic", key.0.to_string()),
        ("x-partition", key.1.to_string()),
        ("x-offset", record.offset.to_string()),
    ];
    let added = why.into_iter().chain(from);
    headers.extend(added.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
    let timestamp_ms = if record.timestamp < 0 { now_ms } else { record.timestamp };
    OutRecord {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
        timestamp_ms,
    }
}

/// A failure at a watermark, which no single record is to blame for.
fn no_record(e: &EvalError) -> Failure {
    Failure { topic: String::new(), partition: -1, offset: -1, reason: e.0.clone() }
}

/// Records grouped by partition, in the order in which they were made.
fn by_partition(
    log: &dyn Log,
    appends: Vec<(Arc<str>, OutRecord)>,
    epoch: u64,
) -> Vec<(String, i32, Vec<OutRecord>)> {
    let mut counts: Vec<(Arc<str>, i32)> = Vec::new();
    let mut grouped: Vec<(String, i32, Vec<OutRecord>)> = Vec::new();
    for (topic, record) in appends {
        let count = match counts.iter().find(|(t, _)| *t == topic) {
            Some((_, count)) => *count,
            None => {
                let count = log.partitions(&topic).unwrap_or(1);
                counts.push((topic.clone(), count));
                count
            }
        };
        let partition = partition_of(record.key.as_deref(), count, epoch);
        match grouped.iter_mut().find(|(t, p, _)| **t == *topic && *p == partition) {
            Some((_, _, records)) => records.push(record),
            None => grouped.push((topic.to_string(), partition, vec![record])),
        }
    }
    grouped
}
