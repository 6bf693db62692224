//! How a job runs: a graph of operators with ids that stay while the operators stay.
//!
//! Filters and projections that follow each other become one Calc. Equal parts of several INSERTs are made once.
//! An id is a hash of what the operator does and of its inputs' ids: state under it survives a restart, and an edit
//! of the SQL that leaves the operator unchanged.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    catalog::Table,
    logical::{Logical, LogicalInsert},
    types::{DataType, Type},
};
use crate::stream::{
    datum::Datum,
    expr::{Expr, Node},
};

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
    /// `-- @warren sync=true`.
    pub sync: bool,
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
    Sink(Sink),
    Source(Source),
    Union,
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

impl JobPlan {
    /// Plans the INSERTs of one job.
    #[must_use]
    pub fn of(name: String, inserts: &[LogicalInsert]) -> Self {
        let mut builder = Builder::default();
        for insert in inserts {
            builder.insert(insert);
        }
        builder.mark_needed();
        Self { name, nodes: builder.nodes, dlq: None, sync: false }
    }

    /// Names the job's whole plan: two texts with one fingerprint do the same.
    #[must_use]
    pub fn fingerprint(&self) -> OperatorId {
        let ids: Vec<String> = self.nodes.iter().map(|n| n.id.to_string()).collect();
        hash("job", &ids.join(","), &[])
    }
}

#[derive(Default)]
struct Builder {
    nodes: Vec<PlanNode>,
}

impl Builder {
    fn insert(&mut self, insert: &LogicalInsert) {
        let input = self.lower(&insert.input);
        let types = insert.input.schema().into_iter().map(|(_, t)| t).collect();
        // Two INSERTs of the same rows into one table write them twice.
        let described = format!("{} {:?} #{}", insert.table.path, insert.table.connector, self.sinks());
        let sink = Sink { table: insert.table.clone(), types };
        self.push_new(NodeKind::Sink(sink), &described, vec![input]);
    }

    fn sinks(&self) -> usize {
        self.nodes.iter().filter(|n| matches!(n.kind, NodeKind::Sink(_))).count()
    }

    fn lower(&mut self, plan: &Logical) -> usize {
        match plan {
            Logical::Scan(table) => self.source(table),
            Logical::UnionAll { inputs } => {
                let inputs = inputs.iter().map(|i| self.lower(i)).collect();
                self.push(NodeKind::Union, "", inputs)
            }
            Logical::Filter { .. } | Logical::Project { .. } => {
                let (base, calc) = merged(plan);
                let input = self.lower(base);
                if calc.is_identity(base.schema().len()) {
                    return input;
                }
                let described = calc.to_string();
                self.push(NodeKind::Calc(calc), &described, vec![input])
            }
        }
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
                NodeKind::Sink(_) | NodeKind::Source(_) | NodeKind::Union => None,
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
            Self::Sink(_) => "Sink",
            Self::Source(_) => "TableSourceScan",
            Self::Union => "Union",
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
fn merged(plan: &Logical) -> (&Logical, Calc) {
    match plan {
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
            let always = condition.node == Node::Literal(Datum::Bool(true));
            (base, Calc { condition: (!always).then_some(condition), ..below })
        }
        Logical::Scan(_) | Logical::UnionAll { .. } => (plan, identity(plan)),
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
