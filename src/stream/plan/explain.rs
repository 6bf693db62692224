//! EXPLAIN: a job's operators as text, in the manner of Flink's "Optimized Execution Plan".

use std::fmt::Write as _;

use serde_json::json;

use super::{
    aggregate::AggCall,
    exchange::Exchange,
    logical::SortKey,
    physical::{JobPlan, JoinOn, NodeKind, PlanNode},
};

const HEAD: &str = "== Optimized Execution Plan ==\n";

/// The plan, one tree per sink.
#[must_use]
pub fn explain(plan: &JobPlan) -> String {
    let mut out = String::from(HEAD);
    for (index, node) in plan.nodes.iter().enumerate() {
        if matches!(node.kind, NodeKind::Sink(_)) {
            write_node(plan, index, 0, &mut out);
            out.push('\n');
        }
    }
    out
}

/// The plan of a query that goes nowhere.
#[must_use]
pub fn query(plan: &JobPlan) -> String {
    let mut out = String::from(HEAD);
    let sinks = plan.nodes.iter().filter(|node| matches!(node.kind, NodeKind::Sink(_)));
    sinks.flat_map(|sink| &sink.inputs).for_each(|input| write_node(plan, *input, 0, &mut out));
    out
}

/// The graph in JSON, its nodes numbered from one in the order in which rows pass them.
#[must_use]
pub fn graph(plan: &JobPlan, with_sinks: bool) -> String {
    let shown = |node: &PlanNode| with_sinks || !matches!(node.kind, NodeKind::Sink(_));
    let nodes = plan.nodes.iter().enumerate().filter(|(_, node)| shown(node)).map(|(index, node)| {
        let pact = if matches!(node.kind, NodeKind::Source(_)) {
            "Data Source"
        } else if matches!(node.kind, NodeKind::Sink(_)) {
            "Data Sink"
        } else {
            "Operator"
        };
        let inputs = node.inputs.iter().enumerate().map(|(port, input)| {
            let strategy = match node.kind.exchange(port) {
                Exchange::Columns(_) | Exchange::Exprs(_) => "HASH",
                Exchange::One => "GLOBAL",
                Exchange::Stay => "FORWARD",
            };
            json!({"id": input + 1, "ship_strategy": strategy})
        });
        json!({
            "id": index + 1,
            "type": node.kind.name(),
            "pact": pact,
            "contents": describe(node),
            "parallelism": plan.parallelism,
            "predecessors": inputs.collect::<Vec<_>>(),
        })
    });
    let graph = json!({"nodes": nodes.collect::<Vec<_>>()});
    format!("== Physical Execution Plan ==\n{graph:#}\n")
}

fn write_node(plan: &JobPlan, index: usize, depth: usize, out: &mut String) {
    let Some(node) = plan.nodes.get(index) else { return };
    if depth > 0 {
        let _ = write!(out, "{}+- ", "   ".repeat(depth - 1));
    }
    let _ = writeln!(out, "{} id={}", describe(node), node.id);
    for input in &node.inputs {
        write_node(plan, *input, depth + 1, out);
    }
}

fn describe(node: &PlanNode) -> String {
    match &node.kind {
        NodeKind::Calc(calc) => format!("Calc({calc})"),
        NodeKind::Sink(sink) => {
            let fields: Vec<&str> = sink.table.persisted().map(|c| c.name.as_str()).collect();
            format!("Sink(table=[{}], fields=[{}])", sink.table.path, fields.join(", "))
        }
        NodeKind::Sort(sort) => format!("TemporalSort(orderBy=[{}])", ordered(&sort.order)),
        NodeKind::Source(source) => {
            let stored = source.table.stored().map(|(_, c)| c.name.as_str());
            let fields: Vec<&str> =
                stored.zip(&source.needed).filter(|(_, n)| **n).map(|(name, _)| name).collect();
            let watermark =
                source.watermark.as_ref().map(|w| format!(", watermark=[{w}]")).unwrap_or_default();
            format!(
                "TableSourceScan(table=[[{}]], fields=[{}]{watermark})",
                source.table.path,
                fields.join(", ")
            )
        }
        NodeKind::Union => "Union(all=[true])".to_owned(),
        NodeKind::GroupAggregate(a) => {
            format!("GroupAggregate(groupBy=[{}], select=[{}])", first_columns(a.keys), listed(&a.calls))
        }
        NodeKind::WindowAggregate(a) => format!(
            "WindowAggregate(groupBy=[{}], window=[{}], select=[{}])",
            first_columns(a.keys),
            a.window,
            listed(&a.calls)
        ),
        NodeKind::WindowRows(rows) => format!("WindowTableFunction(window=[{}])", rows.window),
        NodeKind::Over(over) => format!(
            "OverAggregate(partitionBy=[{}], orderBy=[${}], window=[{:?}])",
            columns(&over.partition),
            over.time,
            over.frame
        ),
        NodeKind::Rank(rank) => format!(
            "{}(rankRange=[rankStart={}, rankEnd={}], partitionBy=[{}], orderBy=[{}])",
            node.kind.name(),
            rank.start,
            rank.end,
            columns(&rank.partition),
            ordered(&rank.order)
        ),
        NodeKind::Materialize(plan) => format!("SinkMaterializer(pk=[{}])", columns(&plan.key)),
        NodeKind::Normalize(normalize) => format!("ChangelogNormalize(key=[{}])", columns(&normalize.key)),
        NodeKind::Unnest(unnest) => {
            let ordinality = if unnest.ordinality { "_WITH_ORDINALITY" } else { "" };
            format!("Correlate(invocation=[UNNEST{ordinality}({})])", unnest.array)
        }
        NodeKind::Join(join) => format!("Join({})", joined(&join.on)),
        NodeKind::IntervalJoin(join) => format!(
            "IntervalJoin({}, windowBounds=[isRowTime={}, leftLowerBound={}, leftUpperBound={}])",
            joined(&join.on),
            join.event,
            join.at_least,
            join.at_most
        ),
        NodeKind::TemporalJoin(join) => format!("TemporalJoin({})", joined(&join.on)),
        NodeKind::WindowJoin(join) => format!("WindowJoin({})", joined(&join.on)),
    }
}

fn columns(columns: &[usize]) -> String {
    columns.iter().map(|c| format!("${c}")).collect::<Vec<_>>().join(", ")
}

fn first_columns(count: usize) -> String {
    columns(&(0..count).collect::<Vec<_>>())
}

fn listed(calls: &[AggCall]) -> String {
    calls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn ordered(order: &[SortKey]) -> String {
    let key = |k: &SortKey| format!("${} {}", k.column, if k.descending { "DESC" } else { "ASC" });
    order.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn joined(on: &JoinOn) -> String {
    let pairs = on.left_key.iter().zip(&on.right_key).map(|(l, r)| format!("({l} = {r})"));
    let all: Vec<String> = pairs.chain(on.condition.iter().map(ToString::to_string)).collect();
    format!("joinType=[{}], where=[{}]", on.kind.name(), all.join(" AND "))
}
