//! One shard of a job: which keys are its own, and what it sends to the others.

use super::shards::Arrived;
use crate::broker::topic::partitioner::murmur2;
use crate::stream::{
    datum::Row,
    expr::{
        EvalError, Now,
        compile::{Code, compile},
    },
    operator::{
        Msg,
        rows::{key_of, put_values},
    },
    plan::{exchange::Exchange, physical::JobPlan},
};

/// The keys of one shard among those of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub index: usize,
    pub count: usize,
}

impl Share {
    /// All keys there are.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// Whether a key is one of its own. Nothing in the store depends on it: a job may have more shards, or fewer, when it
    /// is started again.
    #[must_use]
    pub fn owns(self, key: &[u8]) -> bool {
        self.count == 1 || self.shard_of(key) == self.index
    }

    fn shard_of(self, key: &[u8]) -> usize {
        usize::try_from(murmur2(key)).unwrap_or(0) % self.count.max(1)
    }
}

/// What leaves a stage for later ones, by stage and shard.
#[derive(Default)]
pub struct Sent(pub Vec<Vec<Vec<Arrived>>>);

impl Sent {
    /// Nothing yet, of a job with so many stages and shards.
    #[must_use]
    pub fn new(stages: usize, shards: usize) -> Self {
        let of_stage = || (0..shards).map(|_| Vec::new()).collect();
        Self((0..stages).map(|_| of_stage()).collect())
    }

    fn put(&mut self, stage: usize, to: Option<usize>, arrived: Arrived) {
        let Some(shards) = self.0.get_mut(stage) else { return };
        match to {
            None => shards.iter_mut().for_each(|inbox| inbox.push(arrived.clone())),
            Some(shard) => {
                if let Some(inbox) = shards.get_mut(shard) {
                    inbox.push(arrived);
                }
            }
        }
    }
}

/// A shard on its way through the stages.
pub struct Shard {
    share: Share,
    stages: Vec<usize>,
    /// For each node and each of its inputs.
    routes: Vec<Vec<Route>>,
    /// The number of what is worked off now.
    pub seq: u64,
    sent: Sent,
    scratch: Vec<u8>,
}

enum Route {
    Columns(Vec<usize>),
    Exprs(Vec<Code>),
    One,
    Stay,
}

impl Shard {
    pub fn open(plan: &JobPlan, share: Share) -> Result<Self, EvalError> {
        let route = |exchange: Exchange| -> Result<Route, EvalError> {
            Ok(match exchange {
                Exchange::Columns(columns) => Route::Columns(columns),
                Exchange::Exprs(exprs) => {
                    Route::Exprs(exprs.iter().map(compile).collect::<Result<_, EvalError>>()?)
                }
                Exchange::One => Route::One,
                Exchange::Stay => Route::Stay,
            })
        };
        let mut routes = Vec::with_capacity(plan.nodes.len());
        for node in &plan.nodes {
            let ports = (0..node.inputs.len()).map(|port| route(node.kind.exchange(port)));
            routes.push(ports.collect::<Result<_, EvalError>>()?);
        }
        let stages = plan.stages();
        let sent = Sent::new(JobPlan::stage_count(&stages), share.count);
        Ok(Self { share, stages, routes, seq: 0, sent, scratch: Vec::new() })
    }

    /// What has been sent since the last time.
    pub fn take_sent(&mut self) -> Sent {
        let empty = Sent::new(self.sent.0.len(), self.share.count);
        std::mem::replace(&mut self.sent, empty)
    }

    #[must_use]
    pub fn share(&self) -> Share {
        self.share
    }

    #[must_use]
    pub fn stage_of(&self, node: usize) -> usize {
        self.stages.get(node).copied().unwrap_or(0)
    }

    /// Sends a message on, unless it stays in the stage: then it comes back.
    pub fn send(
        &mut self,
        from: usize,
        (node, port): (usize, usize),
        msg: Msg,
        now: Now,
    ) -> Result<Option<Msg>, EvalError> {
        if self.stage_of(from) == self.stage_of(node) {
            return Ok(Some(msg));
        }
        let to = match &msg {
            Msg::Row(row) => Some(self.target(node, port, row, now)?),
            // Time passes in all shards alike: one of them tells of it.
            Msg::Idle(_) | Msg::Watermark(_) if self.share.index > 0 => return Ok(None),
            Msg::Idle(_) | Msg::Watermark(_) => None,
        };
        let arrived = Arrived { seq: self.seq, node, port: Some(port), msg };
        self.sent.put(self.stage_of(node), to, arrived);
        Ok(None)
    }

    fn target(&mut self, node: usize, port: usize, row: &Row, now: Now) -> Result<usize, EvalError> {
        match self.routes.get(node).and_then(|ports| ports.get(port)) {
            Some(Route::Columns(columns)) => key_of(row, columns, &mut self.scratch),
            Some(Route::Exprs(exprs)) => put_values(row, exprs, now, &mut self.scratch)?,
            Some(Route::One) => return Ok(0),
            Some(Route::Stay) | None => return Ok(self.share.index),
        }
        Ok(self.share.shard_of(&self.scratch))
    }
}
