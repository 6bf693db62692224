//! How a job runs: a graph of operators with ids that stay while the operators stay.
//!
//! Filters and projections that follow each other become one Calc. Equal parts of several INSERTs are made once.
//! An id is a hash of what the operator does and of its inputs' ids: state under it survives a restart, and an edit
//! of the SQL that leaves the operator unchanged.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    aggregate::AggCall,
    catalog::Table,
    join::{Side, moved, side},
    logical::{
        self, Frame, JoinKind, JoinShape, Logical, LogicalInsert, OverCall, RankKind, SortKey, is_true,
    },
    types::{DataType, Type},
    window::{Window, WindowTime},
};
use crate::stream::expr::{Comparison, Expr, Node};

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
    /// The column of the rows' time.
    pub time: usize,
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
    pub ttl_ms: Option<i64>,
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
}

#[derive(Debug, Clone, PartialEq)]
pub struct TemporalJoin {
    pub on: JoinOn,
    pub left_time: usize,
    pub right_time: usize,
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
    /// How many columns an element has.
    pub width: usize,
    pub outer: bool,
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
}

/// What SET has said about a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settings {
    /// `execution.checkpointing.interval`.
    pub checkpoint_ms: Option<i64>,
    /// `table.exec.state.ttl`.
    pub ttl_ms: Option<i64>,
}

impl JobPlan {
    /// Plans the INSERTs of one job.
    #[must_use]
    pub fn of(name: String, inserts: &[LogicalInsert], settings: Settings) -> Self {
        let mut builder = Builder { nodes: Vec::new(), settings };
        for insert in inserts {
            builder.insert(insert);
        }
        builder.mark_needed();
        let checkpoint_ms = settings.checkpoint_ms;
        Self { name, nodes: builder.nodes, dlq: None, late_topic: None, sync: false, checkpoint_ms }
    }

    /// Names the job's whole plan: two texts with one fingerprint do the same.
    #[must_use]
    pub fn fingerprint(&self) -> OperatorId {
        let ids: Vec<String> = self.nodes.iter().map(|n| n.id.to_string()).collect();
        hash("job", &ids.join(","), &[])
    }
}

struct Builder {
    nodes: Vec<PlanNode>,
    settings: Settings,
}

impl Builder {
    fn insert(&mut self, insert: &LogicalInsert) {
        let keyed = insert.table.connector.is_upsert() && insert.replaces_by_key();
        let input = self.lower(&insert.input, !keyed);
        let types = insert.input.schema().into_iter().map(|(_, t)| t).collect();
        // Two INSERTs of the same rows into one table write them twice.
        let described = format!("{} {:?} #{}", insert.table.path, insert.table.connector, self.sinks());
        let sink = Sink { table: insert.table.clone(), types };
        self.push_new(NodeKind::Sink(sink), &described, vec![input]);
    }

    fn sinks(&self) -> usize {
        self.nodes.iter().filter(|n| matches!(n.kind, NodeKind::Sink(_))).count()
    }

    /// `before` says that whoever reads this must see `-U`.
    fn lower(&mut self, plan: &Logical, before: bool) -> usize {
        let ttl_ms = self.settings.ttl_ms;
        match plan {
            Logical::Scan(table) => self.source(table),
            Logical::Watermark { input, .. } => self.lower(input, before),
            Logical::Expand(expand) => {
                // A projection for each set, of an input that is made once.
                let sets = expand.sets.iter().map(|exprs| {
                    let set = expand.input.clone().project(exprs.clone(), expand.names.clone());
                    self.lower(&set, before)
                });
                let inputs = sets.collect();
                self.push(NodeKind::Union, "", inputs)
            }
            Logical::Sort(sort) => {
                let input = self.lower(&sort.input, true);
                let kind = Sort { order: sort.order.clone(), event: sort.event == Some(true) };
                self.stateful(NodeKind::Sort(kind), &[&sort.input], vec![input])
            }
            Logical::UnionAll { inputs } => {
                let inputs = inputs.iter().map(|i| self.lower(i, before)).collect();
                self.push(NodeKind::Union, "", inputs)
            }
            Logical::Filter { .. } | Logical::Project { .. } => {
                let (base, calc) = merged(plan);
                // An update that a filter lets through only half is an insert or a delete.
                let input = self.lower(base, before || calc.condition.is_some());
                if calc.is_identity(base.schema().len()) {
                    return input;
                }
                // Names alone do not tell the columns of two relations apart.
                let described = format!("{calc:?}");
                self.push(NodeKind::Calc(calc), &described, vec![input])
            }
            Logical::Aggregate(a) => {
                let input = self.lower(&a.input, true);
                let retracts = !a.input.changes().is_insert_only();
                let calls = a.calls.clone();
                let kind = GroupAggregate { keys: a.keys, calls, retracts, before, ttl_ms };
                self.stateful(NodeKind::GroupAggregate(kind), &[&a.input], vec![input])
            }
            Logical::WindowAggregate(a) => {
                let input = self.lower(&a.input, true);
                let retracts = !a.input.changes().is_insert_only();
                let calls = a.calls.clone();
                let kind = WindowAggregate { window: a.window, time: a.time, keys: a.keys, calls, retracts };
                self.stateful(NodeKind::WindowAggregate(kind), &[&a.input], vec![input])
            }
            Logical::WindowRows(rows) => {
                let input = self.lower(&rows.input, before);
                let time = match rows.time {
                    WindowTime::Event { column } => column,
                    WindowTime::Attached { .. } | WindowTime::Processing => 0,
                };
                let kind = WindowRows { window: rows.window, time, partition: rows.partition.clone() };
                self.stateful(NodeKind::WindowRows(kind), &[&rows.input], vec![input])
            }
            Logical::Over(over) => {
                let input = self.lower(&over.input, true);
                let key = over.order.first().map_or(0, |key| key.column);
                let event =
                    over.input.times().get(key).copied().flatten() == Some(logical::TimeAttribute::Event);
                let kind = Over {
                    partition: over.partition.clone(),
                    time: key,
                    event,
                    frame: over.frame,
                    calls: over.calls.clone(),
                };
                self.stateful(NodeKind::Over(kind), &[&over.input], vec![input])
            }
            Logical::Rank(rank) => {
                let input = self.lower(&rank.input, true);
                let kind = Rank {
                    partition: rank.partition.clone(),
                    order: rank.order.clone(),
                    start: rank.start,
                    end: rank.end,
                    numbered: rank.numbered,
                    kind: rank.kind,
                    retracts: !rank.input.changes().is_insert_only(),
                    before,
                    ttl_ms,
                };
                self.stateful(NodeKind::Rank(kind), &[&rank.input], vec![input])
            }
            Logical::Normalize { input, key } => {
                let source = self.lower(input, true);
                let kind = Normalize { key: key.clone(), before, ttl_ms };
                self.stateful(NodeKind::Normalize(kind), &[input], vec![source])
            }
            Logical::Unnest(unnest) => {
                let input = self.lower(&unnest.input, before);
                let (array, width) = (unnest.array.clone(), unnest.columns.len());
                let kind = Unnest { array, width, outer: unnest.outer };
                self.stateful(NodeKind::Unnest(kind), &[&unnest.input], vec![input])
            }
            Logical::Join(join) => self.join(join),
        }
    }

    fn join(&mut self, join: &logical::Join) -> usize {
        // The versions of a table follow each other; what was before is not asked for.
        let right_before = !matches!(join.shape, JoinShape::Temporal { .. });
        let inputs = vec![self.lower(&join.left, true), self.lower(&join.right, right_before)];
        let on = JoinOn::of(join);
        let kind = match join.shape {
            JoinShape::Regular | JoinShape::Undecided => {
                NodeKind::Join(Join { on, ttl_ms: self.settings.ttl_ms })
            }
            JoinShape::Interval { left, right, at_least, at_most, event } => {
                NodeKind::IntervalJoin(IntervalJoin {
                    on,
                    left_time: left,
                    right_time: right,
                    at_least,
                    at_most,
                    event,
                })
            }
            JoinShape::Temporal { left, right } => {
                NodeKind::TemporalJoin(TemporalJoin { on, left_time: left, right_time: right })
            }
            JoinShape::Window { left, right } => {
                NodeKind::WindowJoin(WindowJoin { on, left_end: left, right_end: right })
            }
        };
        self.stateful(kind, &[&join.left, &join.right], inputs)
    }

    /// An operator that keeps rows is what it does and what the rows are.
    fn stateful(&mut self, kind: NodeKind, read: &[&Logical], inputs: Vec<usize>) -> usize {
        let types: Vec<Vec<String>> = read
            .iter()
            .map(|input| input.schema().into_iter().map(|(_, t)| t.to_string()).collect())
            .collect();
        let described = format!("{kind:?} {types:?}");
        self.push(kind, &described, inputs)
    }

    fn source(&mut self, table: &Arc<Table>) -> usize {
        let needed = vec![false; table.stored().count()];
        let watermark = table.watermark.as_ref().map(|w| w.expr.clone());
        let columns: Vec<String> =
            table.stored().map(|(_, c)| format!("{} {}", c.name, c.data_type)).collect();
        let late = watermark.as_ref().map(Expr::to_string).unwrap_or_default();
        let described = format!("{} {columns:?} {:?} {late}", table.path, table.connector);
        let source = Source { table: table.clone(), needed, watermark };
        self.push(NodeKind::Source(source), &described, Vec::new())
    }

    /// Adds a node, or finds the one that does the same.
    fn push(&mut self, kind: NodeKind, described: &str, inputs: Vec<usize>) -> usize {
        let id = self.id_of(&kind, described, &inputs);
        match self.nodes.iter().position(|n| n.id == id) {
            Some(index) => index,
            None => self.push_new(kind, described, inputs),
        }
    }

    fn push_new(&mut self, kind: NodeKind, described: &str, inputs: Vec<usize>) -> usize {
        let id = self.id_of(&kind, described, &inputs);
        self.nodes.push(PlanNode { id, kind, inputs });
        self.nodes.len() - 1
    }

    fn id_of(&self, kind: &NodeKind, described: &str, inputs: &[usize]) -> OperatorId {
        let inputs: Vec<OperatorId> =
            inputs.iter().filter_map(|i| self.nodes.get(*i)).map(|n| n.id).collect();
        hash(kind.name(), described, &inputs)
    }

    /// Marks the columns of each source that somebody reads.
    fn mark_needed(&mut self) {
        let mut reads: Vec<(usize, Option<Vec<usize>>)> = Vec::new();
        for node in &self.nodes {
            let columns = match &node.kind {
                NodeKind::Calc(calc) => Some(calc.columns()),
                NodeKind::GroupAggregate(_)
                | NodeKind::IntervalJoin(_)
                | NodeKind::Join(_)
                | NodeKind::Normalize(_)
                | NodeKind::Over(_)
                | NodeKind::Rank(_)
                | NodeKind::Sink(_)
                | NodeKind::Sort(_)
                | NodeKind::Source(_)
                | NodeKind::TemporalJoin(_)
                | NodeKind::Union
                | NodeKind::Unnest(_)
                | NodeKind::WindowAggregate(_)
                | NodeKind::WindowJoin(_)
                | NodeKind::WindowRows(_) => None,
            };
            reads.extend(node.inputs.iter().map(|input| (*input, columns.clone())));
        }
        for (input, columns) in reads {
            let Some(PlanNode { kind: NodeKind::Source(source), .. }) = self.nodes.get_mut(input) else {
                continue;
            };
            let mut columns = columns.unwrap_or_else(|| (0..source.needed.len()).collect());
            if let Some(watermark) = &source.watermark {
                watermark.columns(&mut |index| columns.push(index));
            }
            for index in columns {
                if let Some(needed) = source.needed.get_mut(index) {
                    *needed = true;
                }
            }
        }
    }
}

impl JoinOn {
    fn of(join: &logical::Join) -> Self {
        let (left_width, right_width) = (join.left.schema().len(), join.right.schema().len());
        let (mut left_key, mut right_key, mut null_safe, mut rest) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for condition in join.condition.iter().filter(|c| !is_true(c)) {
            if let Node::Compare(op @ (Comparison::Equal | Comparison::NotDistinct), a, b) = &condition.node {
                let safe = *op == Comparison::NotDistinct;
                match (only(a, left_width), only(b, left_width)) {
                    (Some(Side::Left), Some(Side::Right)) => {
                        left_key.push((**a).clone());
                        right_key.push(moved(b, left_width));
                        null_safe.push(safe);
                        continue;
                    }
                    (Some(Side::Right), Some(Side::Left)) => {
                        left_key.push((**b).clone());
                        right_key.push(moved(a, left_width));
                        null_safe.push(safe);
                        continue;
                    }
                    _ => {}
                }
            }
            rest.push(condition.clone());
        }
        let condition = rest.into_iter().reduce(|a, b| {
            let data_type = DataType::nullable(Type::Boolean);
            Expr::new(Node::And(Box::new(a), Box::new(b)), data_type)
        });
        Self { kind: join.kind, left_key, right_key, null_safe, condition, left_width, right_width }
    }
}

/// The side whose columns an expression reads; `None` if it reads none.
fn only(expr: &Expr, left_width: usize) -> Option<Side> {
    let mut reads = false;
    expr.columns(&mut |_| reads = true);
    reads.then(|| side(expr, left_width))
}

impl Calc {
    fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        for expr in self.condition.iter().chain(&self.project) {
            expr.columns(&mut |index| columns.push(index));
        }
        columns
    }

    fn is_identity(&self, width: usize) -> bool {
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

/// The first eight bytes of a SHA-256: the same on every machine and in every version.
fn hash(kind: &str, described: &str, inputs: &[OperatorId]) -> OperatorId {
    let mut hasher = Sha256::new();
    hasher.update(kind);
    hasher.update([0]);
    hasher.update(described);
    for input in inputs {
        hasher.update([0]);
        hasher.update(input.0.to_be_bytes());
    }
    let digest = hasher.finalize();
    let mut id = [0; 8];
    for (to, from) in id.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    OperatorId(u64::from_be_bytes(id))
}
