//! How rows are divided among the shards of a job: those of one key meet in one shard.
//!
//! A job of several shards runs in stages. Within a stage a row stays in its shard; between two stages it goes where its
//! key is.

use super::{
    logical::RankKind,
    physical::{JobPlan, NodeKind},
    window::WindowShape,
};
use crate::stream::expr::Expr;

/// Which shard a row goes to on its way into an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Exchange {
    /// That of the columns' values.
    Columns(Vec<usize>),
    /// That of the expressions' values.
    Exprs(Vec<Expr>),
    /// The first, which has all rows.
    One,
    /// The one it is in.
    Stay,
}

impl NodeKind {
    /// The exchange before an input of the operator. Its state lies under keys that begin with the key's values.
    #[must_use]
    pub fn exchange(&self, port: usize) -> Exchange {
        match self {
            Self::Calc(_) | Self::Sink(_) | Self::Source(_) | Self::Union | Self::Unnest(_) => Exchange::Stay,
            Self::GroupAggregate(plan) => columns((0..plan.keys).collect()),
            Self::IntervalJoin(plan) => plan.on.exchange(port),
            Self::Join(plan) => plan.on.exchange(port),
            Self::Materialize(plan) => columns(plan.key.clone()),
            Self::Normalize(plan) => columns(plan.key.clone()),
            Self::Over(plan) => columns(plan.partition.clone()),
            Self::Rank(plan) => match plan.kind {
                RankKind::Deduplicate { .. } | RankKind::Top | RankKind::Window { .. } => {
                    columns(plan.partition.clone())
                }
            },
            Self::Sort(_) => Exchange::One,
            Self::TemporalJoin(plan) => plan.on.exchange(port),
            Self::WindowAggregate(plan) => columns((0..plan.keys).collect()),
            Self::WindowJoin(plan) => plan.on.exchange(port),
            Self::WindowRows(plan) => match plan.window.shape {
                WindowShape::Session { .. } => columns(plan.partition.clone()),
                WindowShape::Cumulate { .. } | WindowShape::Hop { .. } | WindowShape::Tumble { .. } => {
                    Exchange::Stay
                }
            },
        }
    }
}

impl super::physical::JoinOn {
    fn exchange(&self, port: usize) -> Exchange {
        let key = if port == 0 { &self.left_key } else { &self.right_key };
        if key.is_empty() { Exchange::One } else { Exchange::Exprs(key.clone()) }
    }
}

fn columns(columns: Vec<usize>) -> Exchange {
    if columns.is_empty() { Exchange::One } else { Exchange::Columns(columns) }
}

impl JobPlan {
    /// The stage of each node: one more than that of an input behind an exchange.
    #[must_use]
    pub fn stages(&self) -> Vec<usize> {
        let mut stages: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let after = |(port, input): (usize, &usize)| {
                let moves = usize::from(node.kind.exchange(port) != Exchange::Stay);
                stages.get(*input).copied().unwrap_or(0) + moves
            };
            stages.push(node.inputs.iter().enumerate().map(after).max().unwrap_or(0));
        }
        stages
    }

    /// How many stages there are, when these are those of the nodes.
    #[must_use]
    pub fn stage_count(stages: &[usize]) -> usize {
        stages.iter().max().map_or(0, |last| last + 1)
    }
}
