//! How a job runs: a graph of operators with ids that stay while the operators stay. `lower.rs` makes it.
//!
//! Filters and projections that follow each other become one Calc. Equal parts of several INSERTs are made once.
//! An id is a hash of what the operator does and of its inputs' ids: state under it survives a restart, and an edit
//! of the SQL that leaves the operator unchanged.

use std::{fmt, sync::Arc};

use super::{
    aggregate::AggCall,
    catalog::Table,
    connector::Connector,
    logical::{Frame, JoinKind, Logical, OverCall, RankKind, SortKey, is_true},
    types::{DataType, Type},
    window::{Window, WindowTime},
};
use crate::stream::expr::{Expr, Node};

/// Names an operator, and its state, across restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorId(pub u64);

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A job, ready to be started.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPlan {
    pub name: String,
    /// In an order in which inputs come before those that read them.
    pub nodes: Vec<PlanNode>,
    /// `-- @warren dlq=topic`.
    pub dlq: Option<String>,
    /// `-- @warren late-topic=topic`.
    pub late_topic: Option<String>,
    /// `-- @warren sync=true`.
    pub sync: bool,
    /// `execution.checkpointing.interval`: how often files in `csv` are done, as on Flink. All else is committed with
    /// each epoch.
    pub checkpoint_ms: Option<i64>,
    /// How many shards run it side by side.
    pub parallelism: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct PlanNode {
    pub id: OperatorId,
    pub kind: NodeKind,
    /// Positions of the nodes this one reads.
    pub inputs: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    Calc(Calc),
    GroupAggregate(GroupAggregate),
    IntervalJoin(IntervalJoin),
    Join(Join),
    Materialize(Materialize),
    Normalize(Normalize),
    Over(Over),
    Rank(Rank),
    Sink(Sink),
    Sort(Sort),
    Source(Source),
    TemporalJoin(TemporalJoin),
    Union,
    Unnest(Unnest),
    WindowAggregate(WindowAggregate),
    WindowJoin(WindowJoin),
    WindowRows(WindowRows),
}

#[derive(Debug, Clone, PartialEq)]
pub struct GroupAggregate {
    /// The first columns of the input.
    pub keys: usize,
    pub calls: Vec<AggCall>,
    /// Rows of the input may be taken back.
    pub retracts: bool,
    /// Whether `-U` is wanted.
    pub before: bool,
    pub ttl_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WindowAggregate {
    pub window: Window,
    pub time: WindowTime,
    pub keys: usize,
    pub calls: Vec<AggCall>,
    pub retracts: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WindowRows {
    pub window: Window,
    /// The column of the rows' time; `None` for the time at which they come.
    pub time: Option<usize>,
    pub partition: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Rank {
    pub partition: Vec<usize>,
    pub order: Vec<SortKey>,
    pub start: u64,
    pub end: u64,
    pub numbered: bool,
    pub kind: RankKind,
    /// Of a window's rows: the zone of the window.
    pub zone: Option<Arc<str>>,
    pub retracts: bool,
    pub before: bool,
    pub ttl_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sort {
    /// The first is the rows' time.
    pub order: Vec<SortKey>,
    pub event: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pub partition: Vec<usize>,
    /// The column of time.
    pub time: usize,
    pub event: bool,
    pub frame: Frame,
    pub calls: Vec<OverCall>,
}

/// What joins have in common: keys that must be equal, and what else must hold over the columns of both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinOn {
    pub kind: JoinKind,
    pub left_key: Vec<Expr>,
    pub right_key: Vec<Expr>,
    /// For each key whether NULLs are equal to each other (IS NOT DISTINCT FROM).
    pub null_safe: Vec<bool>,
    pub condition: Option<Expr>,
    pub left_width: usize,
    pub right_width: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub on: JoinOn,
    /// Of the left and of the right side.
    pub ttl_ms: [Option<i64>; 2],
}

#[derive(Debug, Clone, PartialEq)]
pub struct IntervalJoin {
    pub on: JoinOn,
    pub left_time: usize,
    pub right_time: usize,
    pub at_least: i64,
    pub at_most: i64,
    pub event: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WindowJoin {
    pub on: JoinOn,
    pub left_end: usize,
    pub right_end: usize,
    /// The zone of both windows.
    pub zone: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TemporalJoin {
    pub on: JoinOn,
    pub left_time: usize,
    pub right_time: usize,
}

/// Rows become such as replace each other by the table's key.
#[derive(Debug, Clone, PartialEq)]
pub struct Materialize {
    /// The table's PRIMARY KEY.
    pub key: Vec<usize>,
    /// Columns by which the query's rows replace each other; `None` if all must be equal.
    pub row_key: Option<Vec<usize>>,
    pub enforced: Enforced,
    pub ttl_ms: Option<i64>,
}

/// What a table asks of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Enforced {
    /// Columns that must not be NULL, and their names.
    pub not_null: Vec<(usize, String)>,
    /// Whether a row with a NULL there is left out, not an error.
    pub drops: bool,
    /// Columns whose declared type says how long a value is, and their names.
    pub lengths: Vec<(usize, String, Type)>,
    pub how: TypeLengths,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    pub key: Vec<usize>,
    pub before: bool,
    pub ttl_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Unnest {
    pub array: Expr,
    /// How many columns an element has, its number among them.
    pub width: usize,
    pub outer: bool,
    pub ordinality: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Calc {
    pub condition: Option<Expr>,
    pub project: Vec<Expr>,
    pub names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    pub table: Arc<Table>,
    /// Of the stored columns, those that anybody reads; the others are not decoded.
    pub needed: Vec<bool>,
    /// Over the stored columns.
    pub watermark: Option<Expr>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sink {
    pub table: Arc<Table>,
    /// The column types of the rows that arrive.
    pub types: Vec<DataType>,
    /// Whether each row has the table's key of the one that it replaces, so that no `-U` is written.
    pub by_key: bool,
    pub enforced: Enforced,
}

/// `table.exec.sink.type-length-enforcer`: what becomes of values that are longer, or shorter, than their type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TypeLengths {
    Error,
    #[default]
    Ignore,
    TrimPad,
}

/// `table.exec.sink.upsert-materialize`: whether rows become such as replace each other by the table's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpsertMaterialize {
    /// If the query's key does not do as the table's.
    #[default]
    Auto,
    /// If there are changes at all.
    Force,
    None,
}

/// What SET has said about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `execution.checkpointing.interval`.
    pub checkpoint_ms: Option<i64>,
    /// `parallelism.default`.
    pub parallelism: usize,
    /// `table.exec.state.ttl`.
    pub ttl_ms: Option<i64>,
    pub upsert_materialize: UpsertMaterialize,
    /// `table.exec.sink.not-null-enforcer` = DROP.
    pub drops_nulls: bool,
    pub type_lengths: TypeLengths,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            checkpoint_ms: None,
            parallelism: 1,
            ttl_ms: None,
            upsert_materialize: UpsertMaterialize::Auto,
            drops_nulls: false,
            type_lengths: TypeLengths::Ignore,
        }
    }
}

/// More shards than this are refused.
pub const PARALLELISM_MAX: usize = 64;

impl JobPlan {
    /// The exchanges that it publishes to.
    pub fn exchanges(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| {
            let NodeKind::Sink(Sink { table, .. }) = &node.kind else { return None };
            let Connector::Rabbitmq(rabbitmq) = &table.connector else { return None };
            Some(rabbitmq.exchange.as_str())
        })
    }
}

impl Calc {
    pub(super) fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        for expr in self.condition.iter().chain(&self.project) {
            expr.columns(&mut |index| columns.push(index));
        }
        columns
    }

    pub(super) fn is_identity(&self, width: usize) -> bool {
        let same = |(i, e): (usize, &Expr)| matches!(e.node, Node::Column { index, .. } if index == i);
        self.condition.is_none() && self.project.len() == width && self.project.iter().enumerate().all(same)
    }
}

impl fmt::Display for Calc {
    /// As Flink explains it: `select=[a, (b * 2) AS c], where=[(a > 1)]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("select=[")?;
        for (i, (expr, name)) in self.project.iter().zip(&self.names).enumerate() {
            let plain = matches!(&expr.node, Node::Column { name: n, .. } if n == name);
            let gap = if i == 0 { "" } else { ", " };
            if plain { write!(f, "{gap}{expr}")? } else { write!(f, "{gap}{expr} AS {name}")? }
        }
        f.write_str("]")?;
        match &self.condition {
            Some(condition) => write!(f, ", where=[{condition}]"),
            None => Ok(()),
        }
    }
}

impl NodeKind {
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Calc(_) => "Calc",
            Self::GroupAggregate(_) => "GroupAggregate",
            Self::IntervalJoin(_) => "IntervalJoin",
            Self::Join(_) => "Join",
            Self::Materialize(_) => "SinkMaterializer",
            Self::Normalize(_) => "ChangelogNormalize",
            Self::Over(_) => "OverAggregate",
            Self::Rank(rank) => match rank.kind {
                RankKind::Deduplicate { .. } => "Deduplicate",
                RankKind::Top => "Rank",
                RankKind::Window { .. } => "WindowRank",
            },
            Self::Sink(_) => "Sink",
            Self::Sort(_) => "TemporalSort",
            Self::Source(_) => "TableSourceScan",
            Self::TemporalJoin(_) => "TemporalJoin",
            Self::Union => "Union",
            Self::Unnest(_) => "Correlate",
            Self::WindowAggregate(_) => "WindowAggregate",
            Self::WindowJoin(_) => "WindowJoin",
            Self::WindowRows(_) => "WindowTableFunction",
        }
    }
}

/// Merging stops where it would make a Calc of more nodes: each use of a column is a copy of what it stands for, so
/// that a few views upon each other could grow without end.
const CALC_NODES_MAX: usize = 2_000;

fn too_large(exprs: &[&Expr], below: &Calc) -> bool {
    let sizes: Vec<usize> = below.project.iter().map(Expr::size).collect();
    let total = exprs.iter().fold(0usize, |sum, e| sum.saturating_add(e.size_over(&sizes)));
    total.saturating_add(below.condition.as_ref().map_or(0, Expr::size)) > CALC_NODES_MAX
}

/// A chain of filters and projections as one, and what it stands on.
pub(super) fn merged(plan: &Logical) -> (&Logical, Calc) {
    match plan {
        Logical::Watermark { input, .. } => merged(input),
        Logical::Project { input, exprs, names } => {
            let (mut base, mut below) = merged(input);
            if too_large(&exprs.iter().collect::<Vec<_>>(), &below) {
                (base, below) = (input, identity(input));
            }
            let project = exprs.iter().map(|e| e.over(&below.project)).collect();
            (base, Calc { condition: below.condition, project, names: names.clone() })
        }
        Logical::Filter { input, condition } => {
            let (mut base, mut below) = merged(input);
            if too_large(&[condition], &below) {
                (base, below) = (input, identity(input));
            }
            let condition = condition.over(&below.project);
            let condition = match below.condition {
                None => condition,
                Some(first) => {
                    let data_type = DataType::nullable(Type::Boolean);
                    Expr::new(Node::And(Box::new(first), Box::new(condition)), data_type)
                }
            };
            // What is always true does not filter.
            (base, Calc { condition: (!is_true(&condition)).then_some(condition), ..below })
        }
        Logical::Aggregate(_)
        | Logical::Expand(_)
        | Logical::Join(_)
        | Logical::Normalize { .. }
        | Logical::Over(_)
        | Logical::Rank(_)
        | Logical::Scan(_)
        | Logical::Sort(_)
        | Logical::UnionAll { .. }
        | Logical::Unnest(_)
        | Logical::WindowAggregate(_)
        | Logical::WindowRows(_) => (plan, identity(plan)),
    }
}

/// All columns of a relation as they are.
fn identity(plan: &Logical) -> Calc {
    let schema = plan.schema();
    let names = schema.iter().map(|(name, _)| name.clone()).collect();
    let project = schema.into_iter().enumerate().map(|(i, (name, t))| Expr::column(i, &name, t)).collect();
    Calc { condition: None, project, names }
}
