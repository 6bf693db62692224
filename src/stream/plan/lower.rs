//! From what a query means to the operators that run it: each relation becomes a node, and equal ones become one.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    catalog::Table,
    join::{Side, moved, side},
    logical::{self, JoinShape, Logical, LogicalInsert, is_true},
    physical::{
        Enforced, GroupAggregate, IntervalJoin, JobPlan, Join, JoinOn, Materialize, NodeKind, Normalize,
        OperatorId, Over, PlanNode, Rank, Settings, Sink, Sort, Source, TemporalJoin, TypeLengths, Unnest,
        WindowAggregate, WindowJoin, WindowRows, merged,
    },
    properties::TimeAttribute,
    types::{DataType, Type},
    window::WindowTime,
};
use crate::stream::expr::{Comparison, Expr, Node};

impl JobPlan {
    /// Plans the INSERTs of one job.
    #[must_use]
    pub fn of(name: String, inserts: &[LogicalInsert], settings: Settings) -> Self {
        let mut builder = Builder { nodes: Vec::new(), settings };
        for insert in inserts {
            builder.insert(insert);
        }
        builder.mark_needed();
        let Settings { checkpoint_ms, parallelism, .. } = settings;
        let nodes = builder.nodes;
        Self { name, nodes, dlq: None, late_topic: None, sync: false, checkpoint_ms, parallelism }
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
        let materializes = insert.materializes(self.settings.upsert_materialize);
        let upsert = insert.table.connector.is_upsert();
        let mut by_key = upsert && !materializes && insert.replaces_by_key();
        let mut input = self.lower(&insert.input, !by_key);
        let mut enforced = self.enforced(&insert.table);
        if materializes {
            input = self.materialize(insert, std::mem::take(&mut enforced), input);
            by_key = true;
        }
        let types = insert.input.schema().into_iter().map(|(_, t)| t).collect();
        // Two INSERTs of the same rows into one table write them twice.
        let described = format!("{} {:?} #{}", insert.table.path, insert.table.connector, self.sinks());
        let sink = Sink { table: insert.table.clone(), types, by_key, enforced };
        self.push_new(NodeKind::Sink(sink), &described, vec![input]);
    }

    fn enforced(&self, table: &Table) -> Enforced {
        let columns = || table.persisted().enumerate();
        let not_null = columns().filter(|(_, c)| !c.data_type.nullable);
        let how = self.settings.type_lengths;
        let lengths = columns().filter(|(_, c)| how != TypeLengths::Ignore && c.data_type.kind.has_length());
        Enforced {
            not_null: not_null.map(|(i, c)| (i, c.name.clone())).collect(),
            drops: self.settings.drops_nulls,
            lengths: lengths.map(|(i, c)| (i, c.name.clone(), c.data_type.kind.clone())).collect(),
            how,
        }
    }

    fn materialize(&mut self, insert: &LogicalInsert, enforced: Enforced, input: usize) -> usize {
        let keys = insert.input.keys().into_iter();
        let row_key = keys.min_by_key(|columns| (columns.len(), columns.clone()));
        let (key, ttl_ms) = (insert.table.persisted_key(), self.settings.ttl_ms);
        let types: Vec<DataType> = insert.input.schema().into_iter().map(|(_, t)| t).collect();
        let described = format!("{key:?} {row_key:?} {ttl_ms:?} {types:?}");
        let kind = NodeKind::Materialize(Materialize { key, row_key, enforced, ttl_ms });
        self.push(kind, &described, vec![input])
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
                let ttl_ms = self.ttl_ms(a.ttl_ms);
                let kind = GroupAggregate { keys: a.keys, calls, retracts, before, ttl_ms };
                self.stateful(NodeKind::GroupAggregate(kind), &[&a.input], vec![input])
            }
            Logical::WindowAggregate(a) => {
                let input = self.lower(&a.input, true);
                let retracts = !a.input.changes().is_insert_only();
                let calls = a.calls.clone();
                let kind =
                    WindowAggregate { window: a.window.clone(), time: a.time, keys: a.keys, calls, retracts };
                self.stateful(NodeKind::WindowAggregate(kind), &[&a.input], vec![input])
            }
            Logical::WindowRows(rows) => {
                let input = self.lower(&rows.input, before);
                let time = match rows.time {
                    WindowTime::Event { column } => Some(column),
                    WindowTime::Attached { .. } | WindowTime::Processing => None,
                };
                let kind =
                    WindowRows { window: rows.window.clone(), time, partition: rows.partition.clone() };
                self.stateful(NodeKind::WindowRows(kind), &[&rows.input], vec![input])
            }
            Logical::Over(over) => {
                let input = self.lower(&over.input, true);
                let key = over.order.first().map_or(0, |key| key.column);
                let event = over.input.times().get(key).copied().flatten() == Some(TimeAttribute::Event);
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
                    zone: zone_of(&rank.input),
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
                let (outer, ordinality) = (unnest.outer, unnest.ordinality);
                let kind = Unnest { array, width, outer, ordinality };
                self.stateful(NodeKind::Unnest(kind), &[&unnest.input], vec![input])
            }
            Logical::Join(join) => self.join(join),
        }
    }

    /// A hint's, or else the session's.
    fn ttl_ms(&self, hint: Option<i64>) -> Option<i64> {
        hint.map_or(self.settings.ttl_ms, |ms| (ms > 0).then_some(ms))
    }

    fn join(&mut self, join: &logical::Join) -> usize {
        // The versions of a table follow each other; what was before is not asked for.
        let right_before = !matches!(join.shape, JoinShape::Temporal { .. });
        let inputs = vec![self.lower(&join.left, true), self.lower(&join.right, right_before)];
        let on = JoinOn::of(join);
        let kind = match join.shape {
            JoinShape::Regular | JoinShape::Undecided => {
                NodeKind::Join(Join { on, ttl_ms: join.ttl_ms.map(|hint| self.ttl_ms(hint)) })
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
                let zone = zone_of(&join.left);
                NodeKind::WindowJoin(WindowJoin { on, left_end: left, right_end: right, zone })
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
                | NodeKind::Materialize(_)
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

/// The zone of the window that all rows belong to.
fn zone_of(plan: &Logical) -> Option<Arc<str>> {
    plan.window().and_then(|columns| columns.window.zone)
}

/// The side whose columns an expression reads; `None` if it reads none.
fn only(expr: &Expr, left_width: usize) -> Option<Side> {
    let mut reads = false;
    expr.columns(&mut |_| reads = true);
    reads.then(|| side(expr, left_width))
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
