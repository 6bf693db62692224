//! The operators of a job, and how rows go from one to the next: each row all the way before the next one.

use std::collections::VecDeque;

use super::{
    State,
    shard::{Shard, Share},
    shards::{Arrived, Ran},
};
use crate::stream::{
    expr::{EvalError, Now},
    operator::{self, Cx, Msg, Operator, Outputs},
    plan::{
        exchange::Exchange,
        physical::{JobPlan, NodeKind, OperatorId},
    },
    state::keyed::{Changes, StateRead},
    time::watermark::WATERMARK_MIN,
};

/// Operators and the edges between them.
pub struct Graph {
    nodes: Vec<GraphNode>,
    waiting: VecDeque<(usize, usize, Msg)>,
    out: Vec<Msg>,
    stateful: bool,
    /// If it is one of several.
    shard: Option<Shard>,
}

struct GraphNode {
    id: OperatorId,
    name: &'static str,
    counts: Counts,
    /// `None` for a source.
    operator: Option<Box<dyn Operator>>,
    /// (node, port) of those that read this one.
    readers: Vec<(usize, usize)>,
    /// The last watermark of each input, merged before the operator sees it.
    watermarks: Vec<i64>,
    /// Inputs that are not waited for.
    idle: Vec<bool>,
    merged: i64,
}

impl GraphNode {
    /// The smallest watermark of the inputs that are waited for.
    fn least(&self) -> Option<i64> {
        let waited = self.watermarks.iter().zip(&self.idle).filter(|(_, idle)| !**idle);
        waited.map(|(watermark, _)| *watermark).min()
    }

    fn all_idle(&self) -> bool {
        !self.idle.is_empty() && self.idle.iter().all(|idle| *idle)
    }
}

/// What an operator has done since the job was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub rows_in: u64,
    pub rows_out: u64,
    pub late: u64,
    /// Of a source: records that could not be read or computed.
    pub failed: u64,
}

/// An operator as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStatus {
    pub id: OperatorId,
    pub name: &'static str,
    pub counts: Counts,
    /// Keys of its state in memory.
    pub keys: usize,
    pub watermark_ms: Option<i64>,
}

impl OperatorStatus {
    /// The same operator in another shard.
    pub fn add(&mut self, other: &Self) {
        self.counts.rows_in += other.counts.rows_in;
        self.counts.rows_out += other.counts.rows_out;
        self.counts.late += other.counts.late;
        self.counts.failed += other.counts.failed;
        self.keys += other.keys;
    }
}

impl Graph {
    /// `fresh` says which operators the store knows nothing of.
    pub(super) fn open(
        plan: &JobPlan,
        store: State<'_>,
        fresh: &dyn Fn(OperatorId) -> bool,
    ) -> Result<Self, EvalError> {
        let share = store.share;
        let mut nodes = Vec::new();
        let mut stateful = false;
        for node in &plan.nodes {
            let is_fresh = fresh(node.id);
            let mut operator = operator::open(node.id, &node.kind, is_fresh)?;
            if let Some(operator) = &mut operator {
                stateful |= !operator.stored().is_empty();
                let whole = node.kind.exchange(0) == Exchange::One;
                // What needs all rows is in the first shard.
                if !is_fresh && (!whole || share.index == 0) {
                    let share = if whole { Share::WHOLE } else { share };
                    let store = State { share, ..store };
                    operator.stored_mut().into_iter().try_for_each(|stored| stored.open(&store))?;
                    operator.opened();
                }
            }
            nodes.push(GraphNode {
                id: node.id,
                name: node.kind.name(),
                counts: Counts::default(),
                operator,
                readers: Vec::new(),
                watermarks: vec![WATERMARK_MIN; node.inputs.len()],
                idle: vec![false; node.inputs.len()],
                merged: WATERMARK_MIN,
            });
        }
        for (index, node) in plan.nodes.iter().enumerate() {
            for (port, input) in node.inputs.iter().enumerate() {
                if let Some(read) = nodes.get_mut(*input) {
                    read.readers.push((index, port));
                }
            }
        }
        let shard = (share.count > 1).then(|| Shard::open(plan, share)).transpose()?;
        Ok(Self { nodes, waiting: VecDeque::new(), out: Vec::new(), stateful, shard })
    }

    /// What a source's watermark was at the last commit. All operators have dealt with it; to be called for the sources
    /// in the order of the nodes, before anything else.
    pub fn restore_watermark(&mut self, source: usize, watermark: i64) {
        let mut reached = vec![(source, watermark)];
        while let Some((from, watermark)) = reached.pop() {
            let readers = self.nodes.get(from).map(|n| n.readers.clone()).unwrap_or_default();
            for (index, port) in readers {
                let Some(node) = self.nodes.get_mut(index) else { continue };
                if let Some(of_input) = node.watermarks.get_mut(port) {
                    *of_input = watermark.max(*of_input);
                }
                let merged = node.watermarks.iter().copied().min().unwrap_or(watermark);
                if merged > node.merged {
                    node.merged = merged;
                    let delay = node.operator.as_ref().map_or(0, |o| o.watermark_delay_ms());
                    reached.push((index, delayed(merged, delay)));
                }
            }
        }
    }

    /// Whether an epoch changes more than positions.
    #[must_use]
    pub fn is_stateful(&self) -> bool {
        self.stateful
    }

    /// Writes what the operators have changed.
    pub fn flush(&mut self, now_ms: i64, changes: &mut Changes) {
        if !self.stateful {
            return;
        }
        for operator in self.nodes.iter_mut().filter_map(|n| n.operator.as_mut()) {
            operator.stored_mut().into_iter().for_each(|stored| stored.flush(now_ms, changes));
        }
    }

    /// The next domain time at which an operator has something to do.
    #[must_use]
    pub fn next_proc_timer(&self) -> Option<i64> {
        if !self.stateful {
            return None;
        }
        self.nodes.iter().filter_map(|n| n.operator.as_ref()?.next_proc_timer()).min()
    }

    /// Lets the operators, all or those of a stage, do what is due by domain time; whether any of them had something to do.
    pub fn on_proc_time(
        &mut self,
        stage: Option<usize>,
        now: Now,
        outputs: &mut Outputs,
        store: &dyn StateRead,
    ) -> Result<bool, EvalError> {
        let mut any = false;
        for index in 0..self.nodes.len() {
            let due = |node: &GraphNode| node.operator.as_ref().and_then(|o| o.next_proc_timer());
            let in_stage = stage.is_none_or(|stage| self.stage_of(index) == stage);
            if !in_stage || self.nodes.get(index).and_then(due).is_none_or(|at| at > now.ms) {
                continue;
            }
            any = true;
            let mut out = std::mem::take(&mut self.out);
            let result = self.with_operator(index, now, &mut out, outputs, store, |operator, cx| {
                operator.on_proc_timer(now.ms, cx)
            });
            self.settle(index, out, result, now)?;
            self.drain(now, outputs, store)?;
        }
        Ok(any)
    }

    /// What the operators have done.
    #[must_use]
    pub fn counts(&self) -> Vec<Counts> {
        self.nodes.iter().map(|node| node.counts).collect()
    }

    /// They go on from what they had done before; `counts` are of the same plan.
    pub fn count_on(&mut self, counts: &[Counts]) {
        self.nodes.iter_mut().zip(counts).for_each(|(node, before)| node.counts = *before);
    }

    /// A record of a source could not be read or computed.
    pub fn fail(&mut self, source: usize) {
        if let Some(node) = self.nodes.get_mut(source) {
            node.counts.failed += 1;
        }
    }

    #[must_use]
    pub fn status(&self) -> Vec<OperatorStatus> {
        let status = |node: &GraphNode| OperatorStatus {
            id: node.id,
            name: node.name,
            counts: node.counts,
            keys: node.operator.iter().flat_map(|o| o.stored()).map(|stored| stored.keys()).sum(),
            watermark_ms: (node.merged != WATERMARK_MIN).then_some(node.merged),
        };
        self.nodes.iter().map(status).collect()
    }

    /// The positions of the plan's sources.
    pub fn sources(plan: &JobPlan) -> impl Iterator<Item = usize> {
        plan.nodes.iter().enumerate().filter(|(_, n)| matches!(n.kind, NodeKind::Source(_))).map(|(i, _)| i)
    }

    /// Sends what a source made through all operators behind it. After an error, what was under way is dropped;
    /// the caller takes back the outputs.
    pub fn push(
        &mut self,
        source: usize,
        msg: Msg,
        now: Now,
        outputs: &mut Outputs,
        store: &dyn StateRead,
    ) -> Result<(), EvalError> {
        if let Some(node) = self.nodes.get_mut(source) {
            match &msg {
                Msg::Row(_) => node.counts.rows_out += 1,
                Msg::Watermark(watermark) => node.merged = node.merged.max(*watermark),
                Msg::Idle(_) => {}
            }
        }
        self.hand_on(source, msg, now)?;
        self.drain(now, outputs, store)
    }

    /// Which of the shards it is.
    pub(super) fn index(&self) -> usize {
        self.shard.as_ref().map_or(0, |shard| shard.share().index)
    }

    pub(super) fn stage_of(&self, node: usize) -> usize {
        self.shard.as_ref().map_or(0, |shard| shard.stage_of(node))
    }

    /// Works off what has come into a stage, in order: first what is left of the stages before, and then, when its time
    /// has come, what is due by the clock.
    pub(super) fn work_off(
        &mut self,
        stage: usize,
        arrived: impl Iterator<Item = Arrived>,
        now: Now,
        store: State<'_>,
    ) -> Ran {
        let mut ran = Ran::default();
        let mut outputs = Outputs::default();
        let mut timed = false;
        for Arrived { seq, node, port, msg } in arrived {
            if seq > 0 && !std::mem::replace(&mut timed, true) {
                self.clock(stage, now, &mut outputs, store, &mut ran);
            }
            let mark = outputs.mark();
            if let Some(shard) = &mut self.shard {
                shard.seq = seq;
            }
            let result = match port {
                None => self.push(node, msg, now, &mut outputs, &store),
                Some(port) => {
                    self.waiting.push_back((node, port, msg));
                    self.drain(now, &mut outputs, &store)
                }
            };
            ran.note(seq, mark, &mut outputs);
            if let Err(error) = result {
                ran.failed = ran.failed.or(Some((seq, error)));
                break;
            }
        }
        if !timed {
            self.clock(stage, now, &mut outputs, store, &mut ran);
        }
        ran.outputs = outputs;
        ran.sent = self.shard.as_mut().map(Shard::take_sent).unwrap_or_default();
        ran
    }

    fn clock(&mut self, stage: usize, now: Now, outputs: &mut Outputs, store: State<'_>, ran: &mut Ran) {
        let mark = outputs.mark();
        if let Some(shard) = &mut self.shard {
            shard.seq = 0;
        }
        match self.on_proc_time(Some(stage), now, outputs, &store) {
            Ok(any) => ran.timed |= any,
            Err(error) => ran.failed = ran.failed.take().or(Some((0, error))),
        }
        ran.note(0, mark, outputs);
    }

    fn drain(&mut self, now: Now, outputs: &mut Outputs, store: &dyn StateRead) -> Result<(), EvalError> {
        let mut next = self.waiting.pop_front();
        while let Some((index, port, msg)) = next {
            let mut out = std::mem::take(&mut self.out);
            let result = self.work(index, port, msg, now, &mut out, outputs, store);
            next = match self.only_hop(index, &mut out, &result) {
                Some(hop) => {
                    self.out = out;
                    Some(hop)
                }
                None => {
                    self.settle(index, out, result, now)?;
                    self.waiting.pop_front()
                }
            };
        }
        Ok(())
    }

    /// What comes next if nothing else waits: the one message that an operator made, for its one reader. Most are like
    /// that, and need not stand in line.
    fn only_hop(
        &self,
        index: usize,
        out: &mut Vec<Msg>,
        result: &Result<(), EvalError>,
    ) -> Option<(usize, usize, Msg)> {
        if result.is_err() || out.len() != 1 || !self.waiting.is_empty() {
            return None;
        }
        let [(node, port)] = self.nodes.get(index)?.readers.as_slice() else { return None };
        if self.stage_of(index) != self.stage_of(*node) {
            return None;
        }
        out.pop().map(|msg| (*node, *port, msg))
    }

    /// Hands on what an operator made, or drops everything after an error.
    fn settle(
        &mut self,
        index: usize,
        mut out: Vec<Msg>,
        mut result: Result<(), EvalError>,
        now: Now,
    ) -> Result<(), EvalError> {
        if result.is_ok() {
            result = out.drain(..).try_for_each(|msg| self.hand_on(index, msg, now));
        }
        if result.is_err() {
            self.waiting.clear();
        }
        out.clear();
        self.out = out;
        result
    }

    #[expect(clippy::too_many_arguments, reason = "one message and everything that its operator may use")]
    fn work(
        &mut self,
        index: usize,
        port: usize,
        msg: Msg,
        now: Now,
        out: &mut Vec<Msg>,
        outputs: &mut Outputs,
        store: &dyn StateRead,
    ) -> Result<(), EvalError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        match msg {
            Msg::Row(row) => {
                node.counts.rows_in += 1;
                self.with_operator(index, now, out, outputs, store, |operator, cx| {
                    operator.on_row(port, row, cx)
                })
            }
            Msg::Watermark(watermark) => {
                if let Some(of_input) = node.watermarks.get_mut(port) {
                    *of_input = watermark.max(*of_input);
                }
                self.on_watermark(index, now, out, outputs, store)
            }
            Msg::Idle(idle) => {
                let before = node.all_idle();
                if let Some(of_input) = node.idle.get_mut(port) {
                    *of_input = idle;
                }
                let after = node.all_idle();
                self.on_watermark(index, now, out, outputs, store)?;
                if before != after {
                    out.push(Msg::Idle(after));
                }
                Ok(())
            }
        }
    }

    /// An input's watermark has risen, or is not waited for any more.
    fn on_watermark(
        &mut self,
        index: usize,
        now: Now,
        out: &mut Vec<Msg>,
        outputs: &mut Outputs,
        store: &dyn StateRead,
    ) -> Result<(), EvalError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        let Some(merged) = node.least().filter(|least| *least > node.merged) else { return Ok(()) };
        node.merged = merged;
        self.with_operator(index, now, out, outputs, store, |operator, cx| {
            operator.on_watermark(merged, cx)?;
            let delay = operator.watermark_delay_ms();
            if delay > 0
                && let Some(Msg::Watermark(last)) = cx.out.last_mut()
            {
                *last = delayed(*last, delay);
            }
            Ok(())
        })
    }

    fn with_operator(
        &mut self,
        index: usize,
        now: Now,
        out: &mut Vec<Msg>,
        outputs: &mut Outputs,
        store: &dyn StateRead,
        act: impl FnOnce(&mut dyn Operator, &mut Cx<'_>) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let Some(node) = self.nodes.get_mut(index) else { return Ok(()) };
        let Some(operator) = &mut node.operator else { return Ok(()) };
        let watermark_ms = (node.merged != WATERMARK_MIN).then_some(node.merged);
        let now = Now { watermark_ms, ..now };
        let late = outputs.late_rows;
        let result = act(operator.as_mut(), &mut Cx { now, out, outputs, store });
        node.counts.late += outputs.late_rows - late;
        node.counts.rows_out += out.len() as u64;
        result
    }

    fn hand_on(&mut self, from: usize, msg: Msg, now: Now) -> Result<(), EvalError> {
        let Self { nodes, waiting, shard, .. } = self;
        let Some((last, others)) = nodes.get(from).and_then(|n| n.readers.split_last()) else {
            return Ok(());
        };
        let mut hand = |to: (usize, usize), msg: Msg| {
            let stays = match shard {
                None => Some(msg),
                Some(shard) => shard.send(from, to, msg, now)?,
            };
            if let Some(msg) = stays {
                waiting.push_back((to.0, to.1, msg));
            }
            Ok(())
        };
        others.iter().try_for_each(|to| hand(*to, msg.clone()))?;
        hand(*last, msg)
    }
}

/// A watermark that is held back; the end of the input is not.
fn delayed(watermark: i64, by_ms: i64) -> i64 {
    if watermark == i64::MAX { watermark } else { watermark.saturating_sub(by_ms) }
}
