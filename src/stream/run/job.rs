//! One job: the epoch loop, its phases, and recovery.
//!
//! An epoch ends when the input is drained, after [`EPOCH_ROWS_MAX`] rows or [`EPOCH_BYTES_MAX`] bytes, or when the
//! caller's clock says so; later, if the job is behind and that saves writes (`stretch.rs`). A bad record ends it too:
//! what came before is committed, and the job is FAILED at the record, which a resume reads again; with `dlq` the record
//! goes there instead.

use std::sync::Arc;

use super::{
    Commit, EPOCH_BYTES_MAX, EPOCH_ROWS_MAX, EPOCH_ROWS_MIN, EpochCommit, JobId, Log, OutRecord, State,
    graph::{Counts, Graph, OperatorStatus},
    input::{Cursor, Input, InputKind, Key},
    later::Later,
    partitioner::partition_of,
    parts::{Parts, open_parts},
    poll::{Budget, Feed, Poison, Poll, Stop, no_record},
    shard::Share,
    shards::{Epoch, Shards},
    stretch::Stretch,
};
use crate::stream::{
    expr::{EvalError, Now},
    operator::{Msg, Outputs},
    plan::physical::JobPlan,
    state::{JobState, Phase, STATE_VERSION, keyed::Changes},
    time::watermark::WATERMARK_MAX,
};

/// A job that runs.
pub struct Job {
    id: JobId,
    plan: JobPlan,
    shards: Shards,
    inputs: Vec<Input>,
    /// One for each table of files that is written.
    parts: Vec<Parts>,
    epoch: u64,
    phase: Phase,
    /// The last committed state, to go back to.
    saved: Option<JobState>,
    /// What the operators had done at that commit.
    counted: Vec<Vec<Counts>>,
    /// Records that failed behind operators with state: the epoch is made again up to them.
    poisoned: Vec<Poison>,
    /// Something changed that no epoch has committed yet.
    dirty: bool,
    stretch: Stretch,
    /// How many rows several shards read before they begin to work.
    rows_max: usize,
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
        let (shards, inputs) = open(&id, &plan, saved.as_ref(), log)?;
        let parts = open_parts(&id, &plan, saved.as_ref());
        // What a commit has made ready is published, though the process may have died before.
        let dirty = saved.is_none() || parts.iter().any(Parts::is_pending);
        let (epoch, phase) = saved.as_ref().map_or((0, Phase::Running), |s| (s.epoch, s.phase.clone()));
        Ok(Self {
            id,
            plan,
            shards,
            inputs,
            parts,
            epoch,
            phase,
            saved,
            counted: Vec::new(),
            poisoned: Vec::new(),
            dirty,
            stretch: Stretch::default(),
            rows_max: EPOCH_ROWS_MIN,
            rows_in: 0,
            rows_out: 0,
        })
    }

    /// Back to the last commit: operators and positions as the store has them.
    fn rewind(&mut self, log: &dyn Log) -> Result<(), EvalError> {
        (self.shards, self.inputs) = open(&self.id, &self.plan, self.saved.as_ref(), log)?;
        self.shards.count_on(&self.counted);
        self.parts = open_parts(&self.id, &self.plan, self.saved.as_ref());
        Ok(())
    }

    /// What each operator has done since the job was opened.
    #[must_use]
    pub fn operators(&self) -> Vec<OperatorStatus> {
        self.shards.status()
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

    /// Whether the last commit has made files ready that nobody may have seen yet: with the next epoch they are there.
    #[must_use]
    pub fn has_files_to_publish(&self) -> bool {
        self.parts.iter().any(Parts::is_pending)
    }

    /// How many times longer than usual the next epoch may gather.
    #[must_use]
    pub fn stretch(&self) -> usize {
        self.stretch.times()
    }

    /// As many as there are shards, or more if they are stretched. Not both: what several shards work on is in memory.
    fn epochs_in_one(&self) -> usize {
        self.stretch.times().max(self.shards.count())
    }

    /// The topics whose growth wakes the job.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.inputs
            .iter()
            .flat_map(|input| match &input.kind {
                InputKind::Datagen(_) | InputKind::Files(_) => &[],
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

    /// The last epoch was committed as the last one before a pause.
    pub(super) fn paused(&mut self) {
        self.phase = Phase::Paused;
        self.saved.iter_mut().for_each(|state| state.phase = Phase::Paused);
    }

    /// Goes on where a paused or failed job stopped.
    pub fn resume(&mut self) {
        match self.phase {
            Phase::Paused | Phase::Failed(_) => (self.phase, self.dirty) = (Phase::Running, true),
            Phase::Finished | Phase::Pausing | Phase::Running => {}
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
        if self.phase == Phase::Running {
            let due = self.parts.iter().filter_map(Parts::due_ms).min();
            self.dirty |= due.is_some_and(|due| due <= now_ms);
            wake_at_ms = wake_at_ms.into_iter().chain(due).min();
        }
        let quiet = outputs.is_empty() && rows_before == self.rows_in;
        if quiet && !self.dirty {
            return Step::Idle { wake_at_ms };
        }
        self.dirty = false;
        self.poisoned.clear();
        self.rows_out += outputs.rows_out;
        let rows = usize::try_from(self.rows_in - rows_before).unwrap_or(usize::MAX);
        let epoch = self.commit(log, outputs, now_ms);
        self.stretch.on_epoch(rows, epoch.puts.len() + epoch.deletes.len());
        Step::Commit(Box::new(epoch))
    }

    fn gather(
        &mut self,
        log: &dyn Log,
        now: Now,
        over: &dyn Fn() -> bool,
        outputs: &mut Outputs,
        wake_at_ms: &mut Option<i64>,
    ) -> Result<(), Stop> {
        for exchange in self.plan.exchanges() {
            // Before anything is read: once it is there again, the job can be resumed.
            log.exchange(exchange).map_err(|reason| Stop::At(no_record(&EvalError(reason))))?;
        }
        let mut later = (self.shards.count() > 1).then(Later::default);
        let read = self.read(log, now, over, outputs, wake_at_ms, later.as_mut());
        if let Some(later) = later {
            let Self { id, plan, shards, inputs, .. } = self;
            let (dlq, late_topic) = (plan.dlq.as_deref(), plan.late_topic.as_deref());
            let epoch = Epoch { log, job: id, now, dlq, late_topic };
            self.dirty |= shards.work(&later, inputs, &epoch, outputs)?;
            // Nobody looks at the clock while the shards work: what they get is what they can do in time.
            let rows = if over() { self.rows_max / 2 } else { self.rows_max * 2 };
            self.rows_max =
                rows.clamp(EPOCH_ROWS_MIN, EPOCH_ROWS_MAX * self.epochs_in_one() / self.shards.count());
        }
        if read? {
            (self.phase, self.dirty) = (Phase::Finished, true);
        }
        let timeouts = self.inputs.iter().filter_map(|i| i.watermarks.next_timeout_ms());
        let looks = self.inputs.iter().filter_map(Input::next_look_ms);
        let timers = self.shards.next_proc_timer().into_iter().chain(timeouts).chain(looks);
        *wake_at_ms = wake_at_ms.iter().copied().chain(timers).min();
        Ok(())
    }

    /// Reads what there is: through the graph, or into `later`. Whether that is all there will ever be.
    fn read(
        &mut self,
        log: &dyn Log,
        now: Now,
        over: &dyn Fn() -> bool,
        outputs: &mut Outputs,
        wake_at_ms: &mut Option<i64>,
        later: Option<&mut Later>,
    ) -> Result<bool, Stop> {
        let store = State { log, job: &self.id, share: Share::WHOLE };
        let shards = self.shards.count();
        let epochs = self.epochs_in_one();
        let rows_max = if later.is_some() { self.rows_max * shards } else { EPOCH_ROWS_MAX * epochs };
        let mut feed = Feed { graph: self.shards.first(), later };
        let mut budget = Budget {
            rows: rows_max,
            rows_max,
            bytes: EPOCH_BYTES_MAX * epochs,
            over,
            dlq: self.plan.dlq.as_deref().map(Arc::from),
            late_topic: self.plan.late_topic.as_deref().map(Arc::from),
            poisoned: &self.poisoned,
        };
        let fatal = |e: EvalError| Stop::Fatal(no_record(&e));
        if feed.later.is_none() {
            self.dirty |= feed.graph.on_proc_time(None, now, outputs, &store).map_err(fatal)?;
        }
        for input in &mut self.inputs {
            let known = input.cursors.len();
            input.discover(log, now).map_err(Stop::At)?;
            self.dirty |= known != input.cursors.len();
            let left_out = input.watermarks.left_out();
            let risen = input.watermarks.on_time(now.ms);
            // Also without a watermark: a restart must find the same partitions left out.
            self.dirty |= left_out != input.watermarks.left_out();
            if let Some(watermark) = risen {
                feed.push(input.node, Msg::Watermark(watermark), now, outputs, &store).map_err(fatal)?;
            }
        }
        for input in &mut self.inputs {
            let idle = input.watermarks.is_idle();
            if std::mem::replace(&mut input.idle, idle) != idle {
                feed.push(input.node, Msg::Idle(idle), now, outputs, &store).map_err(fatal)?;
            }
        }
        loop {
            let rows_before = budget.rows;
            for (source, input) in self.inputs.iter_mut().enumerate() {
                // The sources take turns, so that one with a backlog does not hold up the others.
                let turn = Poll { source, input, feed: &mut feed, outputs, now, store: &store };
                self.dirty |= turn.poll(log, &mut budget, wake_at_ms)?;
            }
            let read = rows_before - budget.rows;
            self.rows_in += read as u64;
            if read == 0 || budget.spent() {
                self.stretch.on_read(read > 0);
                break;
            }
        }
        let ended = self.inputs.iter().all(Input::ended);
        for input in self.inputs.iter().filter(|_| ended) {
            feed.push(input.node, Msg::Watermark(WATERMARK_MAX), now, outputs, &store).map_err(fatal)?;
        }
        Ok(ended)
    }

    fn commit(&mut self, log: &dyn Log, outputs: Outputs, now_ms: i64) -> EpochCommit {
        self.epoch += 1;
        let mut changes = Changes::default();
        self.shards.flush(now_ms, &mut changes);
        let ends = self.phase == Phase::Finished;
        let files = self.parts.iter_mut().map(|parts| parts.commit(&outputs.written, now_ms, ends)).collect();
        let state = JobState {
            version: STATE_VERSION,
            epoch: self.epoch,
            phase: self.phase.clone(),
            sources: self.inputs.iter().map(Input::state).collect(),
            operators: self.plan.nodes.iter().map(|n| n.id.to_string()).collect(),
            files: self.parts.iter().map(Parts::state).collect(),
        };
        let mut offsets: Vec<(String, i32, i64)> = Vec::new();
        let topics = self.inputs.iter().zip(&state.sources);
        let topics = topics.filter(|(input, _)| matches!(input.kind, InputKind::Kafka { .. }));
        for p in topics.flat_map(|(_, source)| &source.partitions) {
            // Of two sources on one topic, the one behind counts.
            match offsets
                .iter_mut()
                .find(|(topic, partition, _)| *topic == p.topic && *partition == p.partition)
            {
                Some((_, _, offset)) => *offset = p.position.min(*offset),
                None => offsets.push((p.topic.clone(), p.partition, p.position)),
            }
        }
        self.saved = Some(state.clone());
        self.counted = self.shards.counts();
        EpochCommit {
            job: self.id.clone(),
            state,
            offsets,
            watermarks: self.inputs.iter().map(|i| (i.id, i.watermarks.merged())).collect(),
            puts: changes.puts,
            deletes: changes.deletes,
            appends: by_partition(log, outputs.appends, self.epoch),
            published: outputs.published,
            printed: outputs.printed,
            files,
        }
    }
}

/// Operators and inputs as a committed state has them, or at the start.
fn open(
    id: &JobId,
    plan: &JobPlan,
    saved: Option<&JobState>,
    log: &dyn Log,
) -> Result<(Shards, Vec<Input>), EvalError> {
    let fresh = |id: crate::stream::plan::physical::OperatorId| {
        saved.is_none_or(|s| !s.operators.contains(&id.to_string()))
    };
    let mut shards = Shards::open(plan, log, id, &fresh)?;
    let mut inputs = Vec::new();
    for index in Graph::sources(plan) {
        let Some(node) = plan.nodes.get(index) else { continue };
        let Some(source) = plan.source_as_read(index) else { continue };
        let id = node.id.to_string();
        let state = saved.and_then(|s| s.sources.iter().find(|s| s.id == id));
        let input = Input::open(index, node, &source, state)?;
        shards.restore_watermark(index, input.watermarks.merged());
        inputs.push(input);
    }
    Ok((shards, inputs))
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
