//! One shard of a job: which keys are its own, and what it sends to the others.

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

/// What leaves a stage for a later one.
pub struct Sent {
    /// The number of what it was made of.
    pub seq: u64,
    /// `None` for all shards.
    pub to: Option<usize>,
    pub node: usize,
    pub port: usize,
    pub msg: Msg,
}

/// A shard on its way through the stages.
pub struct Shard {
    share: Share,
    stages: Vec<usize>,
    /// For each node and each of its inputs.
    routes: Vec<Vec<Route>>,
    /// The number of what is worked off now.
    pub seq: u64,
    pub sent: Vec<Sent>,
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
        Ok(Self { share, stages: plan.stages(), routes, seq: 0, sent: Vec::new(), scratch: Vec::new() })
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
        self.sent.push(Sent { seq: self.seq, to, node, port, msg });
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
